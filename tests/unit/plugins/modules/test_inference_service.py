# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module makes of its parameters and of what the domain returns; what is done is the domain's, and tested there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.module_utils import _service_host, _systemd_service
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.modules import inference_service
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_service_host import KEY, ServiceHost

CODE = re.compile(r'\b(?:error|warning|Problem)\(\s*"(\w+)"')
USED = (
    "_option_problems",
    "_service",
    "_service_change",
    "_service_gpu_host",
    "_service_gpus",
    "_service_host",
    "_service_neighbours",
    "_service_request",
    "_systemd_service",
    "_llama_server_options",
    "_compose_service",
    "_container_image",
    "_docker",
    "_service_cdi",
    "_vllm_host_rules",
    "_vllm_model_host",
    "_vllm_options",
    "_vllm_rules",
)
RETURNED = yaml.safe_load(inference_service.RETURN)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceHost:
    monkeypatch.setattr(_service_host, "_HIDDEN", ())  # the tests' own files are below /tmp
    monkeypatch.setattr(_systemd_service, "STATE_ROOT", f"{tmp_path}/")
    return ServiceHost(tmp_path)


@pytest.fixture
def run(host: ServiceHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def runner(*, check: bool = False, diff: bool = False, **arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(inference_service, "Systemd", lambda: host.systemd)
        given = {**host.arguments(**arguments), "_ansible_check_mode": check, "_ansible_diff": diff}
        with patch_module_args(given), pytest.raises(SystemExit):
            inference_service.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return runner


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"group": None, "binary": None}, {"group": "inference", "binary": ""}),
        ({"group": "llm", "binary": "/b"}, {"group": "llm", "binary": "/b"}),
    ],
)
def test_the_parameters_become_a_request(parameters: dict[str, Any], expected: dict[str, str]) -> None:
    rest: dict[str, Any] = {
        "state": "present",
        "service": {"name": "chat"},
        "user": "inference",
        "unit_directory": "/u",
        "config_directory": "/c",
        "state_directory": "/s",
        "hub_cache": "/h",
    }
    assert inference_service.request_of({**rest, **parameters}) == Request(**rest, **expected)


def test_each_state_returns_what_is_described(run: Any) -> None:
    for state in ("present", "on_trial", "accepted", "reverted", "started", "stopped", "absent"):
        result = run(state=state)
        assert "failed" not in result
        returned = {
            "always",
            "with O(service.manager=systemd)",
            f"with O(state={state})",
            *([] if state == "absent" else ["unless O(state=absent)"]),
        }
        described = {name for name, value in RETURNED.items() if value["returned"] in returned}
        assert set(result) - {"changed", "invocation"} == described, state


def test_every_code_is_documented() -> None:
    utils = Path(inference_service.__file__).parents[1] / "module_utils"
    made = {code for name in USED for code in CODE.findall((utils / f"{name}.py").read_text("utf-8"))}
    described = RETURNED["problems"]["contains"]["code"]["description"]
    assert set(re.findall(r"V\((\w+)\)", " ".join(described))) == made


def test_a_diff_is_told_where_one_is_asked_for(host: ServiceHost, run: Any) -> None:
    assert "diff" not in run(check=True)
    unit, key = run(diff=True)["diff"]
    assert unit == {"before_header": str(host.unit), "after_header": str(host.unit), "before": "", "after": host.unit.read_text()}
    assert key == {"before_header": str(host.key), "after_header": str(host.key), "before": "", "after": "api-key: changed\n"}
    assert run(diff=True)["diff"] == []


def test_in_check_mode_nothing_is_written(host: ServiceHost, run: Any) -> None:
    before = host.snapshot()
    assert run(check=True)["changed"]
    assert host.snapshot() == before


def test_the_key_is_nowhere_in_the_result(run: Any) -> None:
    assert KEY not in json.dumps(run(diff=True))


def test_what_is_found_is_returned_and_warned_of(host: ServiceHost, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(inference_service.AnsibleModule, "warn", lambda self, text: warned.append(text))
    result = run(service=host.service(image="x"))
    (problem,) = result["problems"]
    assert problem["code"] == "setting_ignored" and problem["severity"] == "warning"
    assert warned == [f"{problem['message']}. {problem['remedy']}."]


def test_what_is_wrong_fails(host: ServiceHost, run: Any) -> None:
    result = run(service=host.service(options={"ctx_sise": 1}))
    assert result["failed"]
    assert result["msg"] == "options.ctx_sise: this build of llama-server has no --ctx-sise. Did you mean ctx_size?"
    assert [problem["code"] for problem in result["problems"]] == ["option_unknown"]


def test_what_a_program_said_is_passed_on_with_what_was_found_before(host: ServiceHost, run: Any) -> None:
    host.systemd.refuses = "Unknown key name"
    result = run(service=host.service(image="x"))
    assert result["failed"] and result["rc"] == 1 and "Unknown key name" in result["msg"]
    assert [problem["code"] for problem in result["problems"]] == ["setting_ignored"]
