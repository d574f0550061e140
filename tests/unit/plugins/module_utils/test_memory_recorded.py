# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan against how the real llama-server lays out models on GPUs.

Recorded from llama-server at commit 0c1e57098, built for CUDA 13.0: what it prints when it fits a model into memory, for which it asks the
CUDA library for the memory of the GPUs and allocates nothing. There was no GPU: the library's answers, and only they, were made up (GPUs of
compute capability 8.6 with the memory that each case names). MiB; model and context are rounded down.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for
from ansible_collections.baremetal.llm.tests import model_blueprints as models

CASES = json.loads((Path(__file__).resolve().parents[1] / "fixtures/llama_server/memory.json").read_text("utf-8"))
MODELS = {name: blueprint.info() for name, blueprint in models.in_full().items()}


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
