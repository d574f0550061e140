# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GPUs of a service as the host's CDI specifications name them, and what changes when these give something else.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import (
    DIRECTORIES,
    NVIDIA_GPU,
    CdiSpec,
    device_paths,
    generate,
    read_specs,
)
from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import CdiAccess
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import Device


class CdiHost:
    """The CDI specifications of this host."""

    def __init__(self, directories: Iterable[str] = DIRECTORIES) -> None:
        self._directories = tuple(directories)

    def access(self, gpus: GpuAccess) -> CdiAccess:
        """By UUID where the specification has UUIDs; so a card that changes its slot is no other one's."""
        specs = read_specs(self._directories)[0]
        listed = _names(specs)
        names = tuple(f"{NVIDIA_GPU}={named(device, listed) or device.uuid or device.index}" for device in gpus.devices)
        # Without their numbers, which may be others at the next boot: Docker looks them up anew at each start.
        paths = sorted({path for name in names for path in device_paths(specs, name)})
        return CdiAccess(names, hashlib.sha256("\n".join(paths).encode()).hexdigest())

    def problems(self, gpus: GpuAccess, severity: Severity) -> Iterator[Problem]:
        listed = _names(read_specs(self._directories)[0])
        missing = [device for device in gpus.devices if named(device, listed) is None]
        if missing:
            place = " or ".join(self._directories)
            there = f"it lists {', '.join(listed)}" if listed else f"there is none for {NVIDIA_GPU} in {place}"
            yield Problem(
                "cdi_device_missing",
                severity,
                f"gpus: the CDI specification, by which Docker gives devices to containers, has no {', '.join(map(str, missing))}; {there}",
                f"Write it anew with `{generate()}`, as the role container_runtime does",
            )


def named(device: Device, listed: Iterable[str]) -> str | None:
    """The name that a specification has for it."""
    by_name = {name.lower(): name for name in listed}
    wanted = [device.uuid, None if device.is_mig or device.index is None else str(device.index)]
    return next((by_name[name.lower()] for name in wanted if name is not None and name.lower() in by_name), None)


def _names(specs: Iterable[CdiSpec]) -> list[str]:
    """What can be asked for of NVIDIA's GPUs: indices, UUIDs, `all`."""
    return list(dict.fromkeys(name for spec in specs if spec.kind == NVIDIA_GPU for name in spec.devices))
