# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a service computes on its GPUs, which its health does not tell: llama-server falls back to the CPU and is healthy there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import ALL_LAYERS
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import App, Apps

# What llama.cpp says when it does without a GPU, and what to do then; the first that is found counts. Of its commit 0c1e57098:
_TELLING = (
    # ggml/src/ggml-cuda/ggml-cuda.cu: ggml_cuda_init, CUDA_CHECK and ggml_cuda_device_malloc
    (r"cudaMalloc failed", "Free memory of that GPU (`nvidia-smi` names who holds it), or lower ctx_size"),
    (r"no kernel image is available", "Build llama.cpp for this GPU's compute capability (cuda_architectures)"),
    (r"failed to initialize CUDA|CUDA error", "See what baremetal.llm.gpu_info says of the driver"),
    # ggml/src/ggml-backend-reg.cpp
    (r"failed to load .*cuda", "Build llama.cpp again: a library that it needs is not there"),
    # common/arg.cpp, where n_gpu_layers is given; a build for CUDA says so too, after what is above
    (r"no usable GPU found|compiled without GPU support", "Build llama.cpp with backend: cuda"),
)
_REMEDY = "Build llama.cpp with backend: cuda if this release was built for the CPU; otherwise see what baremetal.llm.gpu_info says."
# src/llama-model.cpp; at the default verbosity nothing is said of layers.
_WHY_NOT_ALL = (
    "See with `nvidia-smi` who else holds memory there, and with log_verbosity: 4 in its options how many layers it puts there; "
    "then free memory, or choose a smaller model or context."
)
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_LINES = 3  # of the journal, in a message


@dataclass(frozen=True)
class EngineOnGpu:
    """What an engine does without the GPUs that it was given, or with less of them, and what to do then."""

    without: str
    remedy: str
    with_less: str
    less_remedy: str
    advice: Callable[[Sequence[str]], str]
    """What to do about the trouble that its log tells of; nothing where it tells of none."""


def telling(journal: Sequence[str]) -> str:
    """What to do about the trouble with GPUs that the journal tells of, with the lines that do; nothing where it tells of none."""
    for pattern, remedy in _TELLING:
        lines = [line.strip() for line in journal if re.search(pattern, line, re.IGNORECASE)]
        if lines:
            return f"{remedy}. Its journal says: {' / '.join(lines[:_LINES])}"
    return ""


LLAMA_SERVER_ON_GPU = EngineOnGpu(
    without="it computes on the CPU",
    remedy=_REMEDY,
    with_less=": the CPU computes the rest",
    less_remedy=_WHY_NOT_ALL,
    advice=telling,
)


@dataclass(frozen=True)
class GpuUse:
    """What the host says of the unit and the GPUs."""

    apps: Apps
    mine: frozenset[int]
    """Those of the processes on GPUs that are the unit's."""
    journal: Sequence[str] = ()
    """What the unit has said since it was started, the model's loading included."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Of the GPUs, by UUID."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """The GPU that a MIG device is a part of, by the device's UUID."""
    engine: EngineOnGpu = LLAMA_SERVER_ON_GPU

    def holdings(self, uuid: str) -> list[App]:
        """The unit's processes with memory there. What nvidia-smi cannot tell counts: it shows no process that has none."""
        places = {uuid, self.parents.get(uuid)}
        return [app for app in self.apps.found if app.gpu in places and app.pid in self.mine and app.memory_mib != 0]

    def label(self, uuid: str) -> str:
        name = self.names.get(uuid) or self.names.get(self.parents.get(uuid, ""))
        return f"{uuid} ({name})" if name else uuid


def judge_gpus(asked: Sequence[str], layers: str | None, planned_mib: int | None, use: GpuUse) -> Check:
    """Memory on each of the GPUs, as much in all as was planned, and as many layers as were asked for where the journal shows them."""
    held = {uuid: use.holdings(uuid) for uuid in asked}
    unused = [use.label(uuid) for uuid in asked if not held[uuid]]
    if unused and use.apps.failure:
        detail = f"nvidia-smi does not tell whether the process uses {', '.join(unused)}: {use.apps.failure}"
        return Check("gpu", False, detail, "See what baremetal.llm.gpu_info says of the driver.")
    if unused:
        rest = use.engine.without if len(unused) == len(asked) else "it computes on the others alone"
        remedy = use.engine.advice(use.journal) or use.engine.remedy
        return Check("gpu", False, f"the process holds no memory on {', '.join(unused)}: {rest}", remedy)
    offloaded = offloaded_layers(use.journal)
    if offloaded and layers:
        count, of = offloaded
        if count < (of if layers == ALL_LAYERS else min(int(layers), of)):
            detail = f"{count} of the model's {of} layers are on the GPU, you asked for {layers}: the CPU computes the rest"
            meant = f"set n_gpu_layers: {count}" if count else "gpus: []"
            return Check("gpu", False, detail, f"Free GPU memory, choose a smaller model or context, or {meant} if that is meant.")
    sizes = [app.memory_mib for uuid in asked for app in held[uuid]]
    known = [size for size in sizes if size is not None]
    if planned_mib and len(known) == len(sizes) and sum(known) < planned_mib:
        # CUDA's own share is in it: a process that computes nothing there holds some hundred MiB.
        where = ", ".join(map(use.label, asked))
        planned = f"the weights and the cache that were planned for there take {planned_mib} MiB"
        detail = f"the process holds {sum(known)} MiB on {where}, but {planned}{use.engine.with_less}"
        return Check("gpu", False, detail, use.engine.less_remedy)
    detail = ", ".join(f"{_memory(held[uuid])} on {use.label(uuid)}" for uuid in asked)
    return Check("gpu", True, detail + (f", {offloaded[0]} of {offloaded[1]} layers" if offloaded else ""))


def offloaded_layers(journal: Sequence[str]) -> tuple[int, int] | None:
    """How many layers of how many are on GPUs: of the model itself, which is loaded before one that drafts for it."""
    match = next(filter(None, map(_OFFLOADED.search, journal)), None)
    return (int(match[1]), int(match[2])) if match else None


def _memory(apps: Sequence[App]) -> str:
    known = [app.memory_mib for app in apps if app.memory_mib is not None]
    return f"{sum(known)} MiB" if known else "memory"
