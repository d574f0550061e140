# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The buffers that llama.cpp computes in.

llama.cpp lays out one batch at its largest and keeps what is alive at once. There is no formula for that, but few tensors decide: in each
phase of a layer those of the width of the embedding, of the queries, of the feed-forward network, and the mask of attention. How often each
counts was found by having llama.cpp lay out models of many shapes (its server at commit 0c1e57098, CUDA backend, which for this needs no
GPU): what most architectures have in common agreed within 4 MiB. Mixtures of experts, latents and states agree less well, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._memory_cache import Cells, layer_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layers import Shape
from ansible_collections.baremetal.llm.plugins.module_utils._memory_placement import Placement
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB, NOTHING, Range
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import Request

_F32, _F16 = 4, 2
_COPIES = 4  # of what goes from one GPU to the next, so that they work on several batches at once (GGML_SCHED_MAX_COPIES)
_SLACK = 4 * MIB


@dataclass(frozen=True)
class Batch:
    """A model at work, with the widths of what is alive, in bytes for one batch."""

    shape: Shape
    request: Request
    cells: Cells
    placement: Placement
    gpus: Sequence[int]
    """Those that are used, in their order."""
    context: int

    @property
    def tokens(self) -> int:
        """Of one physical batch, which is shared out evenly."""
        slots = self.request.context.slots
        return -(-min(self.context, self.request.batch, self.request.micro_batch) // slots) * slots

    def wide(self, elements: int) -> int:
        return elements * self.tokens * _F32

    @property
    def embedding(self) -> int:
        return self.wide(self.shape.embedding)

    @property
    def query(self) -> int:
        return self.wide(self.shape.query)

    @property
    def key(self) -> int:
        return self.wide(max(layer.key for layer in self.shape.layers))

    @property
    def windowed(self) -> set[bool]:
        """The kinds of attention: with a sliding window, without, or both."""
        return {layer.windowed for layer in self.shape.layers if layer.attends}

    @property
    def mask(self) -> int:
        """What each token of the batch may look at; layers with a sliding window have one of their own."""
        cells = [self.cells.windowed if windowed else self.cells.tokens for windowed in self.windowed]
        if not self.shape.caches and self.shape.heads:
            cells = [self.tokens]
        return sum(cells) * self.tokens * (_F16 if self.request.flash_attention else _F32)

    @property
    def places(self) -> int:
        """Without flash attention, where in the cache each element of the values goes."""
        return 0 if self.request.flash_attention or not self.shape.caches else 2 * self.key * len(self.windowed)

    @property
    def scores(self) -> int:
        """Without flash attention, how much each token of the batch looks at each cell, for each head."""
        if self.request.flash_attention:
            return 0
        cells = self.cells.tokens if self.shape.caches else self.tokens
        return cells * self.tokens * self.shape.heads * _F32

    @property
    def first_gpu(self) -> int | None:
        """The first that is used, also where nothing of the model is on it."""
        return next(iter(self.gpus), None)

    @property
    def keeps_states(self) -> bool:
        return any(layer.state_bytes for layer in self.shape.layers)

    @property
    def pipelined(self) -> bool:
        """Whether several GPUs work on several batches at once (pipeline_parallel in llama_context)."""
        asked, placement = self.request, self.placement
        whole = placement.offloaded == len(placement.layers) + 1
        several = len({*placement.layers, placement.output}) > 1
        return several and whole and asked.split_mode == "layer" and asked.cache_on_gpu and not asked.moves_tensors


def gpu_compute(batch: Batch, gpu: int, copied: int) -> Range:
    """On one GPU. ``copied`` is what the first holds at once of the weights that are on the host."""
    placement = batch.placement
    layers = [number for number, place in enumerate(placement.layers) if place == gpu]
    # At a large batch, the first GPU also computes with what is on the host, and copies weights and caches for that.
    helps = gpu == batch.first_gpu and copied > 0
    if not layers and not helps:
        return Range(0, _odds(batch).expected, _odds(batch).high + _SLACK) if placement.output == gpu else NOTHING
    size = _phases(
        batch,
        copies=_f16_copies(batch) + _cache_copies(batch, helps),
        moved=copied if helps else 0,
        # Of the last layer, only those tokens go through the feed-forward network that a word is to follow.
        whole_layers=helps or layers != [len(placement.layers) - 1],
    )
    extra = 0
    if batch.pipelined:
        # The inputs go to the first; each after it gets two tensors from the one before.
        passed = batch.embedding + (batch.wide(batch.shape.inner) if batch.keeps_states else 0)
        extra = (_COPIES - 1) * (batch.mask + batch.places) + (1 if gpu == batch.first_gpu else 2) * _COPIES * passed
    room = size.expected // 20 + _SLACK
    if helps or not batch.request.cache_on_gpu:
        room += 3 * batch.embedding + 2 * batch.query + 4 * batch.key
    # What is computed with a tensor that lies elsewhere is computed elsewhere.
    least = size.low * (7 if batch.request.moves_tensors else 9) // 10
    return Range(least, size.expected + extra, size.high + extra + room)


def host_compute(batch: Batch, *, alone: bool) -> Range:
    """On the host: all of it where there is no GPU, or else what goes to the first."""
    if alone:
        size, more = _phases(batch), batch.embedding + batch.places
        return Range(size.low, size.expected + more, size.high + more + _SLACK)
    embeddings = 1 + batch.shape.deepstack
    inputs = batch.mask + (1 + embeddings) * batch.embedding
    if batch.pipelined:
        inputs = _COPIES * batch.mask + (1 + _COPIES * embeddings) * batch.embedding
    inputs += batch.places * (_COPIES if batch.pipelined else 1)
    if None not in batch.placement.layers and batch.request.cache_on_gpu:
        return Range(inputs, inputs + MIB, inputs + _SLACK)
    if batch.keeps_states:
        # States are computed with where they are.
        whole = _phases(batch)
        return Range(inputs, (inputs + whole.expected) // 2, inputs + whole.high)
    passed = 2 * batch.query + 2 * batch.key
    return Range(inputs, inputs + passed // 2, inputs + passed + _SLACK)


def _phases(batch: Batch, copies: int = 0, moved: int = 0, *, whole_layers: bool = True) -> Range:
    """What is alive at once in the widest phase."""
    phases = [_attention(batch, copies), _states(batch), _odds(batch)]
    if whole_layers:
        phases += [_feed_forward(batch), _experts(batch)]
    widest = Range(*(max(bounds) for bounds in zip(*phases, strict=True)))
    heaviest = Range(*(max(bounds) for bounds in zip(_feed_forward(batch), _experts(batch), strict=True)))
    with_weight = Range(widest.low, max(widest.expected, heaviest.expected + moved), max(widest.high, heaviest.high + moved))
    kept = batch.mask + batch.shape.deepstack * batch.embedding
    return with_weight.plus(Range(batch.mask, kept, kept))


def _attention(batch: Batch, copies: int) -> Range:
    embedding, query, key = batch.embedding, batch.query, batch.key
    shape = batch.shape
    if not shape.heads:
        return NOTHING
    if not shape.caches:  # keys and values are nowhere else, and in two types
        return Range.exact(2 * embedding + query + 7 * key // 2 + batch.scores)
    if shape.latent:
        rotated = query if batch.request.key.quantised else 0
        return Range(2 * embedding + 2 * query, 2 * embedding + 3 * query + rotated, 2 * embedding + 4 * query + rotated).plus(
            Range.exact(copies + batch.scores)
        )
    base = 2 * embedding + 2 * query + copies + batch.scores
    if batch.scores:
        return Range.exact(base + 2 * key)
    least = base - (copies if "f32" in (batch.request.key.name, batch.request.value.name) else 0)
    # Keys and values find room in what is free again, unless they are nearly as wide as the queries; quantised ones are rotated.
    more = key if 2 * key >= query else 0
    rotated = query if batch.request.key.quantised or batch.request.value.quantised else 0
    return Range(least, base + more, base + 2 * more + rotated)


def _cache_copies(batch: Batch, helps: bool) -> int:
    """The largest layer's cache, where it is on the host and yet attended to on the GPU."""
    if batch.request.cache_on_gpu and not helps:
        return 0
    layers = zip(batch.shape.layers, batch.placement.layers, strict=True)
    on_host = [layer for layer, place in layers if layer.attends and (place is None or not batch.request.cache_on_gpu)]
    return max((layer_bytes(batch.shape, layer, batch.request, batch.cells) for layer in on_host), default=0)


def _f16_copies(batch: Batch) -> int:
    """On a GPU, what is cached in another type is attended to as f16 (ggml_cuda_flash_attn_ext_get_alloc_size)."""
    asked = batch.request
    if not asked.flash_attention:
        return 0
    sizes = [
        (batch.cells.windowed if layer.windowed else batch.cells.tokens)
        * ((layer.key if asked.key.name != "f16" else 0) + (layer.value if asked.value.name != "f16" and not batch.shape.latent else 0))
        for layer in batch.shape.layers
        if layer.attends
    ]
    return max(sizes, default=0) * batch.cells.streams * _F16


def _feed_forward(batch: Batch) -> Range:
    wide = 3 * batch.wide(batch.shape.feed_forward) + 2 * batch.embedding
    return Range(wide, wide + batch.query, wide + batch.query)


def _experts(batch: Batch) -> Range:
    """Each token goes through several experts, and their results are alive together."""
    used = batch.shape.experts_used
    if not used:
        return NOTHING
    embedding, results = batch.embedding, used * batch.embedding
    inner = used * batch.wide(batch.shape.expert_feed_forward or batch.shape.feed_forward)
    dense = 3 * inner + 2 * embedding
    return Range(
        max(dense, 5 * results // 4 + inner + 2 * embedding),
        max(dense + batch.query, 2 * results + 2 * inner + 2 * embedding),
        max(dense + batch.query, 2 * results + 3 * inner + 3 * embedding + batch.query),
    )


def _states(batch: Batch) -> Range:
    state = max(layer.state_bytes for layer in batch.shape.layers)
    if not state:
        return NOTHING
    kept, inner = 2 * batch.embedding + batch.cells.states * state, batch.wide(batch.shape.inner)
    return Range(kept + 4 * inner, kept + 6 * inner, kept + 9 * inner)


def _odds(batch: Batch) -> Range:
    """Of each word to come next: for one token of each slot, or for all where embeddings are asked for."""
    asked, shape = batch.request, batch.shape
    outputs = batch.tokens if asked.embedding else min(batch.tokens, asked.context.slots)
    return Range.exact(outputs * ((shape.vocabulary if shape.has_output else 0) + shape.embedding) * _F32)
