# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Will a service fit, on which GPU, and with what left: before anything is installed, downloaded or started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._memory_gpus import planned_gpus
from ansible_collections.baremetal.llm.plugins.module_utils._memory_llama_server import LlamaServer
from ansible_collections.baremetal.llm.plugins.module_utils._memory_measured import Measured
from ansible_collections.baremetal.llm.plugins.module_utils._memory_result import Plan
from ansible_collections.baremetal.llm.plugins.module_utils._memory_suggestions import OtherFile
from ansible_collections.baremetal.llm.plugins.module_utils._memory_vllm import plan_vllm
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import ENGINES, Service, parse

Measure = Callable[[Sequence[str]], Mapping[str, Measured]]
"""Asks llama-fit-params with these arguments; a UserError where it can't tell."""


def plan_for(
    model: object,
    *,
    engine: str = "llama_server",
    mmproj: object = None,
    options: Mapping[str, Any] | None = None,
    gpus: Sequence[object] | None = None,
    resources: Mapping[str, Any] | None = None,
    quantisations: Iterable[object] | None = None,
    measure: Measure | None = None,
) -> Plan:
    """The plan from what people write. What is empty counts as left out, as a variable that nobody has set gives it."""
    cards = planned_gpus(gpus or ())
    others = [_other_file(entry, index) for index, entry in enumerate(quantisations or ())]
    service, problems = _service(engine, options or {}, len(cards), resources or {}, with_projector=bool(mmproj))
    if engine == "llama_server":
        server = LlamaServer.of(model, mmproj, service, cards)
        measured = None
        if measure is not None:
            try:
                measured = measure(server.measuring())
            except UserError as reason:
                problems.append(_not_calibrated(reason))
        plan = server.plan(others, measured)
    elif engine == "vllm":
        plan = plan_vllm(model, service.options, cards, service.resources.memory_bytes)
    else:
        raise UserError(f"engine is {engine!r}. Use {' or '.join(ENGINES)}.")
    return replace(plan, problems=[*problems, *plan.problems])


def _not_calibrated(reason: UserError) -> Problem:
    return warning("calibration_failed", f"llama.cpp itself could not be asked: {reason.msg}", "The plan stands, with wider estimates")


def _service(
    engine: str, options: Mapping[str, Any], gpu_count: int, resources: Mapping[str, Any], *, with_projector: bool
) -> tuple[Service, list[Problem]]:
    """The service as far as memory goes, and what is wrong with what it says; the rest is made up."""
    model = {"file": "/model.gguf", **({"mmproj": "/mmproj.gguf"} if with_projector else {})}
    raw = {"name": "plan", "port": 8080, "model": model, "gpus": list(range(gpu_count)), "options": options, "resources": resources}
    if engine == "vllm":
        raw["manager"] = "compose"  # what systemd would not take in an option, Compose does
    service, problems = parse(raw)
    if service is None:
        raise AssertionError("a dict is read as a service, whatever is wrong in it")
    return service, problems


def _other_file(entry: object, index: int) -> OtherFile:
    where = f"quantisations[{index}]"
    if not isinstance(entry, Mapping):
        raise UserError(f"{where} is {entry!r}. Give a dict with its path and its size in bytes.")
    name, size = entry.get("path") or entry.get("file"), entry.get("size")
    if not name or isinstance(size, bool) or not isinstance(size, int) or size <= 0:
        raise UserError(f"{where} has the path {name!r} and the size {size!r}. Give both, the size in bytes.")
    return OtherFile(str(name), size)
