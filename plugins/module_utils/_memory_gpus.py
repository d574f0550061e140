# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of GPUs, and what of it a model can't have: the driver's share and the CUDA context of the process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_names import identify

# The driver keeps back a part of what nvidia-smi calls memory.total, growing with the size: 377 MiB of 12288 (RTX 3060), 468 of 23034 (L4),
# 484 of 24564 (RTX 4090), 505 of 32607 (RTX 5090), 598 to 640 of 97887 (RTX PRO 6000), and no more of 143771 (H200): 616, as
# memory.reserved says. The others' source: memory.total less memory.used and memory.free, and less the total that llama.cpp prints, in logs
# of llama.cpp's and of other projects' users.
_DRIVER_MIB = 450
_DRIVER_MIB_PER_GIB = 2
_DRIVER_MIB_AT_MOST = 640

# A process's CUDA context with its kernels and streams, by the major compute capability from which on it takes so much. Measured on an H200
# (tests/gpu): 587 to 593 MiB once the model is loaded, of which an empty context is 518. The others are what llama-server's own breakdown
# calls "unaccounted" at its end: 451 to 456 on RTX 4090 (llama.cpp pull request 15860), 705 to 753 on RTX PRO 6000 Blackwell.
_CONTEXT_MIB = {10: 700, 9: 587, 0: 450}

# What is added once it computes: 15 to 53 MiB where quantised weights and flash attention are all there is, 106 to 142 with cuBLAS, which
# multiplies f16 and f32 (the routers of experts, too), up to 190 without flash attention. On the H200, in 30 settings of 10 architectures.
_WORK_MIB = (12, 200)

# memory.total as nvidia-smi prints it, for hosts whose driver is still to come. GPUs with ECC switched on, as servers have it.
_MEMORY_MIB = {
    r"a2": 15356,
    r"a10g?": 23028,
    r"a30": 24576,
    r"a40|l40s?": 46068,
    r"l4": 23034,
    r"t4": 15360,
    r"h100 80gb hbm3": 81559,
    r"h200": 143771,
    r"(geforce )?rtx 3060": 12288,
    r"(geforce )?rtx 3090( ti)?": 24576,
    r"(geforce )?rtx 4090": 24564,
    r"(geforce )?rtx 5090": 32607,
    r"rtx pro 6000 blackwell.*": 97887,
}


@dataclass(frozen=True)
class PlannedGpu:
    label: str
    memory_mib: int
    capability: int
    """The major number of its compute capability; 0 where that is unknown."""

    @property
    def driver_mib(self) -> int:
        return min(_DRIVER_MIB + _DRIVER_MIB_PER_GIB * self.memory_mib // 1024, _DRIVER_MIB_AT_MOST)

    @property
    def context_mib(self) -> int:
        """What the CUDA context of a process takes."""
        return next(size for since, size in _CONTEXT_MIB.items() if self.capability >= since)

    @property
    def process_mib(self) -> tuple[int, int]:
        """The least and the most that a llama-server at work takes beside the buffers that it counts."""
        return self.context_mib + _WORK_MIB[0], self.context_mib + _WORK_MIB[1]

    @property
    def overhead_mib(self) -> int:
        return self.driver_mib + self.process_mib[1]


def planned_gpus(entries: Iterable[object]) -> list[PlannedGpu]:
    return [_gpu(entry, f"gpus[{index}]") for index, entry in enumerate(entries)]


def _gpu(entry: object, where: str) -> PlannedGpu:
    if not isinstance(entry, Mapping):
        raise UserError(f"{where} is {entry!r}. Give a dict with its memory_mib, as gpu_info returns it.")
    name = "" if entry.get("name") is None else str(entry["name"])
    label = f"GPU {entry['index']}" if isinstance(entry.get("index"), int) else where
    label = f"{label} ({name})" if name else label
    memory = entry.get("memory_mib")
    if memory is None:
        memory = _memory_of(name)
        if memory is None:
            raise UserError(
                f"{label} has no memory_mib, and {name!r} is none of the GPUs whose memory is known without a driver. "
                "Give memory_mib, from `nvidia-smi --query-gpu=memory.total --format=csv,nounits`."
            )
    if isinstance(memory, bool) or not re.fullmatch(r"[1-9]\d{0,7}", str(memory)):
        raise UserError(f"{label} has memory_mib: {memory!r}. Give its memory in MiB as a whole number, such as 23028.")
    return PlannedGpu(label, int(str(memory)), _capability(name, entry.get("compute_capability")))


def _memory_of(name: str) -> int | None:
    words = re.sub(r"[\s_-]+", " ", name).strip().lower()
    simplified = re.sub(r"^((nvidia|tesla|grid) )+", "", words)
    return next((size for pattern, size in _MEMORY_MIB.items() if re.fullmatch(pattern, simplified)), None)


def _capability(name: str, told: object) -> int:
    major = re.match(r"\d+", str(told or ""))
    if major:
        return int(major[0])
    model = identify(name)
    return model.capability.major if model else 0
