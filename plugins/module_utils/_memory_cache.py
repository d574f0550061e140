# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of keys and values as llama.cpp lays it out (src/llama-kv-cache.cpp, -iswa.cpp, -dsa.cpp, src/llama-memory-recurrent.cpp)."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._memory_layers import Layer, Shape
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import Request

_CELLS_STEP = 256


@dataclass(frozen=True)
class Cells:
    """How many tokens each part of the cache holds."""

    streams: int
    """Parts: one for all slots, or one for each."""
    tokens: int
    """Of each part, in layers that see the whole context."""
    windowed: int
    """Of each part, in layers with a sliding window."""
    states: int

    @property
    def total(self) -> int:
        return self.streams * self.tokens


def cells(shape: Shape, request: Request, context: int) -> Cells:
    """For a context of so many tokens in all."""
    shared = request.context
    tokens = shared.tokens_of(context)
    micro_batch = min(request.batch, request.micro_batch, context)
    windowed = _padded(min(tokens, shape.window * (shared.slots if shared.unified else 1) + micro_batch))
    return Cells(
        streams=1 if shared.unified else shared.slots,
        tokens=tokens,
        windowed=tokens if request.whole_windows else windowed,
        states=max(1, shared.slots),
    )


def _padded(tokens: int) -> int:
    return -(-tokens // _CELLS_STEP) * _CELLS_STEP


def layer_bytes(shape: Shape, layer: Layer, request: Request, size: Cells) -> int:
    """What one layer keeps for all slots."""
    tokens = size.streams * (size.windowed if layer.windowed else size.tokens)
    return tokens * token_bytes(shape, layer, request) + size.states * layer.state_bytes


def token_bytes(shape: Shape, layer: Layer, request: Request) -> int:
    """What one layer keeps for one token."""
    if not layer.attends:
        return 0
    # Without flash attention the values lie transposed, and those of all layers alike; a latent has none.
    value = layer.value if request.flash_attention or shape.latent else shape.widest_value
    return request.key.row(layer.key) + request.value.row(value) + request.key.row(layer.index)


def bytes_per_token(shape: Shape, request: Request) -> int:
    """By how much all layers' caches grow with each token of context; those with a sliding window don't."""
    return sum(token_bytes(shape, layer, request) for layer in shape.layers if not layer.windowed or request.whole_windows)
