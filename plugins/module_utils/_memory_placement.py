# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which layer, and so which tensor and which part of the cache, goes to which GPU (load_tensors in llama.cpp's src/llama-model.cpp)."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._memory_tensors import Tensor


@dataclass(frozen=True)
class Placement:
    layers: tuple[int | None, ...]
    """The GPU of each layer, by its place among those of the service; None for the host."""
    output: int | None
    shares: tuple[float, ...] | None
    """What each GPU has of a tensor that is split; None where tensors are whole."""
    split_cache: bool
    """Whether the cache is split like the tensors."""

    @property
    def offloaded(self) -> int:
        """How many layers are on GPUs, the output layer included, as llama-server counts them."""
        return sum(1 for place in (*self.layers, self.output) if place is not None)


def used_gpus(request: Request, count: int) -> tuple[int, ...]:
    """The GPUs that hold parts of the model, in the order in which they are filled."""
    gpus = tuple(range(count)) if request.devices is None else request.devices
    if request.split_mode == "none" and gpus:
        return gpus[request.main_gpu : request.main_gpu + 1] if request.main_gpu >= 0 else ()
    return gpus


def place(request: Request, layer_count: int, gpu_layers: int, free_mib: Sequence[int]) -> Placement:
    """With so many layers on the GPUs; ``free_mib`` is what is free on each GPU of the service, by which they share by default."""
    gpus = used_gpus(request, len(free_mib))
    given = request.tensor_split
    weights = [(given[index] if index < len(given) else 0.0) if given else float(free_mib[gpu]) for index, gpu in enumerate(gpus)]
    start = max(0, layer_count + 1 - gpu_layers)
    offloaded = min(gpu_layers, layer_count + 1) if gpus and sum(weights) > 0 else 0
    bounds = _bounds(weights) if offloaded else []
    places = [
        gpus[min(bisect.bisect_right(bounds, _float32((layer - start) / offloaded)), len(gpus) - 1)]
        if offloaded and start <= layer < start + offloaded
        else None
        for layer in range(layer_count + 1)
    ]
    shares = None
    if request.split_mode in ("row", "tensor") and offloaded and len(gpus) > 1:
        shares = tuple(weights[gpus.index(gpu)] / sum(weights) if gpu in gpus else 0.0 for gpu in range(len(free_mib)))
    return Placement(tuple(places[:-1]), places[-1], shares, request.split_mode == "tensor")


def _bounds(weights: Sequence[float]) -> list[float]:
    """Where each GPU's part of the layers ends, in the single precision in which llama.cpp calculates."""
    total = 0.0
    sums = []
    for weight in weights:
        total = _float32(total + _float32(weight))
        sums.append(total)
    return [_float32(part / total) for part in sums]


def _float32(value: float) -> float:
    number: float = struct.unpack("f", struct.pack("f", value))[0]
    return number


@dataclass(frozen=True)
class Weights:
    host: int
    gpus: tuple[int, ...]
    """Bytes of each."""
    largest_on_host: Mapping[int | None, int]
    """The largest weight that is on the host, of the layers on each GPU, and of those on the host."""
    computed_on_host: int
    """All weights there but those that are only looked up."""

    def copied(self, first_gpu: int | None) -> int:
        """What the first GPU holds at once of the weights that are on the host: one, or two where the layer is on another GPU."""
        return max((size if place in (None, first_gpu) else 2 * size for place, size in self.largest_on_host.items()), default=0)


def weights(tensors: Iterable[Tensor], placement: Placement, request: Request, gpu_count: int, loaded: int) -> Weights:
    """Where the weights of the first ``loaded`` layers, and of all that belongs to none, are."""
    sizes = [0.0] * (gpu_count + 1)  # the host's at the end
    largest: dict[int | None, int] = {}
    computed = 0
    for tensor in tensors:
        if tensor.layer is not None and tensor.layer >= loaded:
            continue
        gpu = _place_of(tensor, placement, request)
        if gpu is not None and placement.shares and (placement.split_cache or tensor.matrix):
            for index, share in enumerate(placement.shares):
                sizes[index] += tensor.size * share
        elif gpu is not None or not tensor.tied:
            sizes[gpu_count if gpu is None else gpu] += tensor.size
            if gpu is None and tensor.layer is not None:
                layer_place = _layer_place(tensor.layer, placement)
                largest[layer_place] = max(largest.get(layer_place, 0), tensor.size)
                computed += tensor.size
    return Weights(round(sizes[-1]), tuple(round(size) for size in sizes[:-1]), largest, computed)


def _place_of(tensor: Tensor, placement: Placement, request: Request) -> int | None:
    layer = tensor.layer
    if layer is not None and (layer < request.experts_on_host if tensor.expert else tensor.dense and layer < request.dense_on_host):
        return None
    for override in request.overrides:
        if override.pattern.search(tensor.name):
            return override.gpu
    if tensor.input:
        return None
    return placement.output if layer is None else _layer_place(layer, placement)


def _layer_place(layer: int, placement: Placement) -> int | None:
    return placement.layers[min(layer, len(placement.layers) - 1)]
