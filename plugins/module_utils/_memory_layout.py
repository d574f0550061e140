# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A llama-server service laid out in memory: what each of its GPUs holds, and the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._memory_cache import Cells, cells, layer_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._memory_compute import Batch, gpu_compute, host_compute
from ansible_collections.baremetal.llm.plugins.module_utils._memory_encoder import NO_ENCODING, Encoder, Encoding
from ansible_collections.baremetal.llm.plugins.module_utils._memory_gpus import PlannedGpu
from ansible_collections.baremetal.llm.plugins.module_utils._memory_header import ModelHeader
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layers import Shape
from ansible_collections.baremetal.llm.plugins.module_utils._memory_placement import Placement, place, used_gpus, weights
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB, NOTHING, Range
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._memory_tensors import Tensor, layers_of


@dataclass(frozen=True)
class Case:
    header: ModelHeader
    tensors: tuple[Tensor, ...]
    shape: Shape | None
    """None for an architecture of which only the weights are known."""
    encoder: Encoder | None
    gpus: tuple[PlannedGpu, ...]
    request: Request

    def asking(self, **changes: object) -> Case:
        """The same with another request."""
        return replace(self, request=replace(self.request, **changes))  # type: ignore[arg-type]

    @property
    def layer_count(self) -> int:
        return len(self.shape.layers) if self.shape else layers_of(self.tensors)


@dataclass(frozen=True)
class Usage:
    """What one GPU, or the host, holds. The cache and compute buffers of an unknown architecture are unknown."""

    weights: int
    encoder: Encoding
    cache: int | None
    compute: Range | None

    @property
    def known(self) -> Range:
        total = Range.exact(self.weights + (self.cache or 0)).plus(self.encoder.work)
        return total.plus(self.compute or NOTHING)


@dataclass(frozen=True)
class Layout:
    case: Case
    context: int
    """Tokens in all; 0 where that is unknown."""
    placement: Placement
    cells: Cells | None
    gpus: tuple[Usage, ...]
    host: Usage
    computed_on_host: int
    """Of the host's weights, those that the CPU computes with."""

    def free(self, index: int) -> Range:
        """Bytes that are left on a GPU: with all at its least, as expected, with all at its most; negative for what is missing."""
        gpu, used = self.case.gpus[index], self.gpus[index].known
        if not used.high:
            return Range.exact(gpu.memory_mib * MIB)
        left = (gpu.memory_mib - gpu.driver_mib) * MIB
        least_context, most_context = gpu.process_mib
        return Range(
            left - used.low - least_context * MIB,
            left - used.expected - most_context * MIB,
            left - used.high - most_context * MIB,
        )

    @property
    def in_use(self) -> Sequence[int]:
        """The GPUs on which there is something."""
        return [index for index, usage in enumerate(self.gpus) if usage.known.high]

    @property
    def fits(self) -> bool:
        return all(self.free(index).expected >= 0 for index in self.in_use)

    @property
    def keeps_targets(self) -> bool:
        """Whether each GPU keeps as much free as --fit-target says, as far as llama-server can tell at its start."""
        targets = self.case.request.fit_target_mib
        return all(self._free_at_start(index) >= targets[min(index, len(targets) - 1)] * MIB for index in self.in_use)

    def _free_at_start(self, index: int) -> int:
        encoder = self.gpus[index].encoder
        return self.free(index).expected + encoder.work.expected - encoder.start

    @property
    def stays_as_asked(self) -> bool:
        """Whether it fits, and llama-server sees no reason to put less on the GPUs."""
        asked = self.case.request
        return self.fits and (self.keeps_targets or not asked.fit or asked.gpu_layers is not None)

    @property
    def least_free(self) -> int:
        """On the fullest GPU."""
        return min((self.free(index).expected for index in self.in_use), default=0)


def lay_out(case: Case, context: int, gpu_layers: int) -> Layout:
    """With a context of so many tokens, and so many layers on the GPUs, the output layer included."""
    asked, shape, count = case.request, case.shape, len(case.gpus)
    placement = place(asked, case.layer_count, gpu_layers, [gpu.memory_mib - gpu.overhead_mib for gpu in case.gpus])
    loaded = case.layer_count if asked.drafts or shape is None else shape.loaded
    held = weights(case.tensors, placement, asked, count, loaded)
    encoders, host_encoder = _encoders(case)
    if shape is None:
        unknown = tuple(Usage(size, encoder, None, None) for size, encoder in zip(held.gpus, encoders, strict=True))
        return Layout(case, 0, placement, None, unknown, Usage(held.host, host_encoder, None, None), held.computed_on_host)
    size = cells(shape, asked, context)
    caches = _caches(case, shape, placement, size)
    computing = used_gpus(asked, count)
    batch = Batch(shape, asked, size, placement, computing, context)
    copied = held.copied(batch.first_gpu)
    gpus = tuple(
        Usage(held.gpus[gpu], encoders[gpu], caches[gpu], gpu_compute(batch, gpu, copied) if gpu in computing else NOTHING)
        for gpu in range(count)
    )
    host = Usage(held.host, host_encoder, caches[count], host_compute(batch, alone=not computing))
    return Layout(case, context, placement, size, gpus, host, held.computed_on_host)


def _encoders(case: Case) -> tuple[list[Encoding], Encoding]:
    """What the projector takes on each GPU, and on the host: it is whole, on the first GPU if there is one."""
    on_gpus = [NO_ENCODING] * len(case.gpus)
    if case.encoder is None:
        return on_gpus, NO_ENCODING
    asked = case.request
    on_gpu = asked.encoder_on_gpu and bool(case.gpus) and asked.devices != ()
    size = case.encoder.encoding(asked.image_max_tokens, asked.flash_attention, on_gpu=on_gpu)
    if not on_gpu:
        return on_gpus, size
    on_gpus[asked.devices[0] if asked.devices else 0] = size
    return on_gpus, NO_ENCODING


def _caches(case: Case, shape: Shape, placement: Placement, size: Cells) -> list[int]:
    """Bytes of the cache on each GPU, and on the host at the end."""
    caches = [0] * (len(case.gpus) + 1)
    for number, layer in enumerate(shape.layers):
        kept = layer_bytes(shape, layer, case.request, size)
        gpu = placement.layers[number] if case.request.cache_on_gpu else None
        if gpu is None:
            caches[-1] += kept
        elif placement.shares and placement.split_cache:
            for index, share in enumerate(placement.shares):
                caches[index] += round(kept * share)
        else:
            caches[gpu] += kept
    return caches
