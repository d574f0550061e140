# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service takes of a host's memory, or why nobody can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._bundle_manifest import NotBundledError
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service


def memory_of(service: Service, gpus: Sequence[Mapping[str, Any]], model: object, mmproj: object) -> dict[str, Any]:
    """Its ``plan`` as memory_plan returns it, or None and the ``problem``. ``gpus`` are all of the host."""
    try:
        plan = plan_for(
            model,
            engine=service.engine,
            mmproj=mmproj,
            options=service.options,
            gpus=gpus_of(service, gpus),
            resources={"memory": str(service.resources.memory_bytes)} if service.resources.memory_bytes else None,
        )
    except UserError as reason:
        return {"plan": None, "problem": not_known(reason).as_dict()}
    return {"plan": plan.as_dict(), "problem": None}


def not_known(reason: UserError) -> Problem:
    said = reason.msg.rstrip(".")
    return warning("memory_unknown", f"what it takes of the memory can't be planned: {said}", "Put that right, or leave room for it")


def no_model(reason: UserError) -> Problem:
    """Of a model that nobody gives."""
    if isinstance(reason, NotBundledError):
        return error(
            "model_not_bundled", reason.msg, "Make the bundle anew from the present lock (playbooks/bundle.yml), and bring it again"
        )
    if isinstance(reason, UnavailableError):
        return warning(
            "model_unknown",
            f"the hub can't be asked for the model now: {reason.msg.rstrip('.')}",
            "Until it can, nobody knows whether the model is there, nor what it takes",
        )
    return error("model_unavailable", f"the hub does not give the model: {reason.msg.rstrip('.')}", "Correct model of this service")


def numbered(gpus: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """GPUs with the indices that they will have: while no driver runs they have none, and are counted in the order of the bus."""
    found = [dict(gpu) for gpu in gpus]
    if all(gpu.get("index") is None for gpu in found):
        return [{**gpu, "index": index} for index, gpu in enumerate(found)]
    return found


def gpus_of(service: Service, gpus: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [_gpu(wanted, gpus) for wanted in service.gpus]


def _gpu(wanted: str, gpus: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    for gpu in gpus:
        if str(gpu.get("index")) == wanted or str(gpu.get("uuid") or "").lower() == wanted.lower():
            return gpu
    raise UserError(f"gpus: {wanted} is none of the GPUs whose memory is known here")
