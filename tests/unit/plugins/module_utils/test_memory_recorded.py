# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan against how the real llama-server lays out models on GPUs.

Recorded from llama-server at commit 0c1e57098, built for CUDA 13.0: what it prints when it fits a model into memory, for which it asks the
CUDA library for the memory of the GPUs and allocates nothing. There was no GPU: the library's answers, and only they, were made up (GPUs of
compute capability 8.6 with the memory that each case names). MiB; model and context are rounded down.

And recorded on a GPU (tests/gpu): an H200 with driver 580.159.04, built with CUDA 13.0. The buffers as llama-server prints them, and what
nvidia-smi says that the process holds: once it is healthy, and after a prompt of 3000 tokens and then one in each slot, or after a picture
of 1792×1792 pixels. ``fit_params`` is what llama-fit-params prints of its compute buffer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._memory_measured import Measured
from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB
from ansible_collections.baremetal.llm.tests import gpu_memory
from ansible_collections.baremetal.llm.tests import model_blueprints as models

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/llama_server"
CASES = json.loads((FIXTURES / "memory.json").read_text("utf-8"))
ON_A_GPU = json.loads((FIXTURES / "on_a_gpu.json").read_text("utf-8"))
MODELS = {name: blueprint.info() for name, blueprint in models.in_full().items()}
LOADED = {name: blueprint.info() for name, blueprint in models.to_load().items()}
H200 = {"index": 0, "name": "NVIDIA H200", "compute_capability": "9.0", "memory_mib": 143771}
H200_RESERVED_MIB = 616  # memory.reserved of its nvidia-smi


def near(planned: int, printed: int) -> bool:
    """Planned sizes are rounded up, printed ones down."""
    return printed <= planned <= printed + 2


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['model']}-{len(case['gpus'])}-{'-'.join(map(str, case['options'].values()))}"
)
def test_what_llama_server_says(case: dict[str, Any]) -> None:
    options = {"fit": "off", **case["options"]}
    if len(set(case["gpus"])) > 1:  # they share by what is free, and the plan knows less to be free than all
        options["tensor_split"] = ",".join(map(str, case["gpus"]))
    plan = plan_for(MODELS[case["model"]], options=options, gpus=[{"memory_mib": memory} for memory in case["gpus"]]).as_dict()
    estimates = {estimate["figure"]: estimate for estimate in plan["estimates"]}
    places = {f"CUDA{index}": (f"gpus[{index}]", gpu) for index, gpu in enumerate(plan["gpus"])}
    places["Host"] = ("host", plan["host"])
    if options.get("split_mode") == "none":  # llama-server then knows but the one
        places = {f"CUDA{options['main_gpu']}": places[f"CUDA{options['main_gpu']}"], "Host": places["Host"]}
    if options.get("device") == "none":
        places = {"Host": places["Host"]}
    assert set(places) == set(case["devices"])
    for device, (weights, cache, compute) in case["devices"].items():
        name, planned = places[device]
        if options.get("device") != "none":  # the CPU's copies of weights are printed apart
            assert near(planned["weights_mib"], weights), (device, planned)
        assert near(planned["kv_cache_mib"], cache), (device, planned)
        estimate = estimates.get(f"{name}.compute_mib", {"low_mib": planned["compute_mib"], "high_mib": planned["compute_mib"] + 1})
        assert estimate["low_mib"] - 1 <= compute <= estimate["high_mib"], (device, estimate)


def test_there_are_enough_of_them() -> None:
    assert len(CASES) > 80 and {case["model"] for case in CASES} == set(MODELS)
    assert {len(case["gpus"]) for case in CASES} == {1, 2, 3, 4}
    assert len(ON_A_GPU) > 30 and {case["model"] for case in ON_A_GPU} == set(LOADED)


def planned_on_the_h200(case: dict[str, Any], **more: Any) -> dict[str, Any]:
    projector = models.qwen2vl_projector().info() if case.get("projector") else None
    return plan_for(LOADED[case["model"]], mmproj=projector, options=case["options"], gpus=[H200], **more).as_dict()


@pytest.mark.parametrize("case", ON_A_GPU, ids=lambda case: f"{case['model']}-{'-'.join(map(str, case['options'].values()))}")
def test_what_it_holds_of_a_gpu(case: dict[str, Any]) -> None:
    plan = planned_on_the_h200(case)
    gpu_memory.compare(plan, case["buffers"], case["worked"])
    gpu = plan["gpus"][0]
    assert H200_RESERVED_MIB <= gpu["driver_mib"] <= H200_RESERVED_MIB + 50
    # What is left is never less than what is planned to be left.
    assert gpu["free_mib"] <= H200["memory_mib"] - H200_RESERVED_MIB - case["worked"], gpu


@pytest.mark.parametrize("case", ON_A_GPU, ids=lambda case: f"{case['model']}-{'-'.join(map(str, case['options'].values()))}")
def test_what_the_installed_program_prints_narrows_the_plan_and_no_more(case: dict[str, Any]) -> None:
    """It counts the odds of a word for each token of a batch, and so up to 1 GiB more than llama-server takes."""
    printed = case["buffers"] | {"compute": case["fit_params"]}
    measured = {"CUDA0": Measured(*(int(printed[part]) * MIB for part in ("weights", "cache", "compute")))}
    gpu_memory.compare(planned_on_the_h200(case, measure=lambda arguments: measured), case["buffers"], case["worked"])
