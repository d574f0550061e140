# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of a host's GPUs a service means by its indices and UUIDs, and what is wrong with the choice.

The host's GPUs are taken as the module gpu_info returns them, so that a list that was asked for earlier will do.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service

_MIG = "MIG-"


@dataclass(frozen=True)
class Device:
    """What a service computes on: a GPU, or one of the MIG devices that it is split into."""

    uuid: str | None
    """By which CUDA chooses it; None while no driver tells."""
    gpu: str | None
    """The UUID of the GPU itself."""
    name: str
    index: int | None
    """Of the GPU; a MIG device has none."""
    parts: tuple[str, ...] = ()
    """The MIG devices that a GPU is split into, with their profiles."""

    @property
    def is_mig(self) -> bool:
        return (self.uuid or "").startswith(_MIG)

    def __str__(self) -> str:
        place = f"{self.index} " if self.index is not None and not self.is_mig else ""
        return f"{place}({', '.join(filter(None, (self.name, self.uuid)))})"


def devices(gpus: Iterable[Mapping[str, Any]]) -> list[Device]:
    """Everything that a service can name, each GPU before its MIG devices."""
    found = []
    for gpu in gpus:
        name, uuid = gpu.get("name") or "a GPU of unknown name", gpu.get("uuid")
        parts = gpu.get("mig_devices") or ()
        told = tuple(f"{part['uuid']} ({part['profile']})" for part in parts)
        found.append(Device(uuid, uuid, name, gpu.get("index"), told))
        found += [Device(part["uuid"], uuid, f"{name}, MIG {part['profile']}", None) for part in parts]
    return found


def find(wanted: str, there: Iterable[Device]) -> Device | None:
    """The device with this index or UUID."""
    if wanted.isdecimal():
        return next((device for device in there if device.index == int(wanted)), None)
    return next((device for device in there if device.uuid and device.uuid.lower() == wanted.lower()), None)


def gpu_problems(service: Service, gpus: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """What is wrong with the GPUs that a service asks for on a host that has these.

    What only the driver could tell, and does not, is left to those who ask why it does not.
    """
    gpus = list(gpus)
    there = devices(gpus)
    found = {wanted: find(wanted, there) for wanted in service.gpus}
    # While no driver runs, nobody can tell the UUIDs, nor the MIG devices; nor which index a GPU has that the driver does not show.
    known, counted = all(device.uuid for device in there), all(gpu.get("index") is not None for gpu in gpus)
    missing = [
        wanted
        for wanted, device in found.items()
        if device is None and (counted or int(wanted) >= len(gpus) if wanted.isdecimal() else known)
    ]
    if missing:
        yield _not_there(missing, there)
    for wanted, device in found.items():
        if device and device.parts:
            yield error(
                "gpu_is_split",
                f"gpus: {wanted} ({device.name}) is split into MIG devices, and as a whole no program can use it",
                f"Name one of them: {', '.join(device.parts)}",
            )
    chosen = [device for wanted in service.gpus if (device := found[wanted])]
    if len(set(chosen)) < len(chosen):
        yield error("gpu_twice", f"gpus: {', '.join(service.gpus)} names a GPU twice, which CUDA takes for none", "Name each once")
    if len(chosen) > 1 and any(device.is_mig for device in chosen):
        yield error("gpu_mig_alone", "gpus: a process can use one MIG device, and nothing beside it", "Name that one alone")


def _not_there(missing: Collection[str], there: Collection[Device]) -> Problem:
    verb = "is" if len(missing) == 1 else "are"
    usable = ", ".join(str(device) for device in there if device.uuid or device.index is not None)
    return error(
        "gpu_not_there",
        f"gpus: {', '.join(missing)} {verb} not there; {f'this host has {usable}' if usable else 'this host has no NVIDIA GPU'}",
        "Name one of these by its index or its UUID, or give [] for a service on the CPU"
        if usable
        else "Give [] for a service on the CPU, or see what baremetal.llm.gpu_info says of this host",
    )
