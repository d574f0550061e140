# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.module_utils import _cuda_conflicts, _cuda_plan
from ansible_collections.baremetal.llm.plugins.modules import cuda_plan


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(check_mode: bool = False, **args: Any) -> dict[str, Any]:
        with patch_module_args({**args, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            cuda_plan.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_plan_changes_nothing_and_is_the_same_in_check_mode(ask: Any, check_mode: bool) -> None:
    gpus = [{"index": 0, "name": "NVIDIA A10", "compute_capability": "8.6", "memory_mib": 23028}, {"name": "NVIDIA GeForce RTX 5090"}]
    result = ask(check_mode, gpus=gpus, toolkit_version=12.8, driver_version="570.172.08", host_compiler="gcc 12", cmake_version="3.25.1")
    assert {key: value for key, value in result.items() if key != "invocation"} == {
        "changed": False,
        "cuda_architectures": ["86-real", "120a-real"],
        "toolkit": {"min": "12.8", "max": "12.9", "chosen": "12.8"},
        "driver": {"min": "570", "max": None, "open_required": True},
        "gpus": [
            {"name": "NVIDIA A10", "family": "Ampere", "compute_capability": "8.6"},
            {"name": "NVIDIA GeForce RTX 5090", "family": "Blackwell", "compute_capability": "12.0"},
        ],
        "problems": [],
    }


def test_a_conflict_is_an_answer_and_no_failure(ask: Any) -> None:
    result = ask(gpus=[{"compute_capability": "12.0"}], toolkit_version="12.2", driver_kernel_module="proprietary")
    assert not result.get("failed")
    assert [problem["code"] for problem in result["problems"]] == ["toolkit_too_old", "open_modules_required"]
    assert set(result["problems"][0]) == {"code", "severity", "message", "remedy"}
    assert result["msg"].startswith("2 problems:\n- CUDA 12.2 doesn't know the GPU of compute capability 12.0")
    assert result["toolkit"]["chosen"] is None


def test_what_nobody_has_set_is_left_out(ask: Any) -> None:
    bare = ask(gpus=[{"name": "NVIDIA A10"}])
    empty = dict.fromkeys(("toolkit_version", "driver_version", "host_compiler", "cmake_version"), "")
    assert bare["problems"] == [] and bare["driver"]["min"] == "580"
    assert {**ask(gpus=[{"name": "NVIDIA A10"}], cuda_architectures=[], **empty), "invocation": None} == {**bare, "invocation": None}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "missing required arguments: gpus"),
        ({"gpus": [], "toolkit_version": "13"}, "toolkit_version is '13', which is not a version; write it like 13.0 or 12.8.1"),
        ({"gpus": [], "driver_version": "new"}, "driver_version is 'new', which is not a version; write it like 580.126.09 or 580"),
        ({"gpus": [], "cmake_version": "4"}, "cmake_version is '4'"),
        ({"gpus": [], "host_compiler": "icc 2023"}, "host_compiler is 'icc 2023', of which nothing is known; write it like 'gcc 12'"),
        ({"gpus": [], "driver_kernel_module": "nouveau"}, "value of driver_kernel_module must be one of: open, proprietary, none"),
    ],
)
def test_what_cannot_be_understood_fails(ask: Any, args: dict[str, Any], message: str) -> None:
    result = ask(**args)
    assert result["failed"] and message in result["msg"]


def test_every_code_is_documented() -> None:
    sources = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (_cuda_conflicts, _cuda_plan))
    codes = set(re.findall(r'(?:error|warning)\(\s*"([a-z_]+)"', sources))
    documented = cuda_plan.RETURN[cuda_plan.RETURN.index("    code:") : cuda_plan.RETURN.index("    severity:")]
    assert codes == set(re.findall(r"V\(([a-z_]+)\)", documented))
