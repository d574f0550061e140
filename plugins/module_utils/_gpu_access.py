# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a unit needs so that its process computes on NVIDIA GPUs, and on none but those that were asked for.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import Device

SMI = "/usr/bin/nvidia-smi"
MODPROBE = "/usr/bin/nvidia-modprobe"
"""Where the driver packages of NVIDIA, Debian and Ubuntu put them."""

PERSISTENCED = "nvidia-persistenced.service"
MODULE_UNIT = "modprobe@nvidia_uvm.service"
"""systemd's own way to load a module. CUDA needs nvidia-uvm, which on many hosts only its first user loads."""

GROUP = "video"
"""Owns the device nodes where Debian's driver packages make them; with NVIDIA's own, they are open to everybody."""

# The node for control has the same major number and mode as those of the GPUs, so it stands for them.
_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm")
_TEST = "/usr/bin/test"
_SHELL = "/bin/sh"

ROOT = "+"
"""Before a command: as root and outside the sandbox, apart from DevicePolicy=."""
NEVER_MIND = "-"
"""Before a command: whether it fails does not matter."""

Command = tuple[str, tuple[str, ...]]
"""The prefix that systemd reads, and the words."""


@dataclass(frozen=True)
class GpuAccess:
    """The devices of one service, in the order in which the process counts them, and the programs of its unit."""

    devices: tuple[Device, ...]
    smi: str = SMI
    modprobe: str = MODPROBE
    of_host: tuple[Mapping[str, Any], ...] = ()
    """All GPUs of the host, as gpu_info describes them."""
    driver_version: str | None = None

    @property
    def visible(self) -> str:
        """CUDA_VISIBLE_DEVICES: by UUID, as an index is another GPU's once a card fails or changes its slot."""
        return ",".join(device.uuid or str(device.index) for device in self.devices)


def waiting(access: GpuAccess) -> Iterator[Command]:
    """The commands that make what the process will open, and fail while it cannot."""
    # What a setuid program does for other users' processes; NoNewPrivileges= keeps it from doing so for this one.
    yield ROOT + NEVER_MIND, (access.modprobe, "-u")
    for gpu in dict.fromkeys(device.gpu or str(device.index) for device in access.devices):
        # As root, it also makes the nodes that are missing.
        yield ROOT, (access.smi, f"--id={gpu}", "--query-gpu=name,uuid", "--format=csv,noheader")
    for uuid in (device.uuid for device in access.devices if device.is_mig):
        # Nothing but the list shows MIG devices, and it never fails for want of one.
        yield ROOT, (_SHELL, "-c", f"{access.smi} -L | grep -F {uuid}")
    for node in _NODES:
        yield "", (_TEST, "-w", node)


def is_cpu_build(manifest: object) -> bool:
    """Whether a release's manifest says that its binaries know no GPU."""
    inputs = manifest.get("inputs") if isinstance(manifest, dict) else None
    return isinstance(inputs, dict) and inputs.get("backend") == "cpu"


def names(devices: Sequence[Device]) -> str:
    """Without their indices, which may be others at the next boot."""
    return ", ".join(f"{device.uuid or device.index} ({device.name})" for device in devices)
