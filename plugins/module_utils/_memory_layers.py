# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each layer of a model keeps for each token, or for each slot, by its header (llama.cpp's src/llama-hparams.cpp)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._memory_architectures import FAMILIES, Family, Recurrent, Window
from ansible_collections.baremetal.llm.plugins.module_utils._memory_header import ModelHeader

_STATE_BYTES = 4  # states are kept as f32, whatever the types of the cache


@dataclass(frozen=True)
class Layer:
    attends: bool = False
    """Whether it has a cache of keys and values."""
    key: int = 0
    """Elements of the key of one token, over all heads."""
    value: int = 0
    key_head: int = 0
    value_head: int = 0
    """Elements of one head, which a quantised type has to divide."""
    windowed: bool = False
    index: int = 0
    """Elements of the key by which tokens are picked."""
    state_bytes: int = 0
    """The state of one slot."""


@dataclass(frozen=True)
class Shape:
    """What of a model's header the memory beside the weights depends on."""

    architecture: str
    layers: tuple[Layer, ...]
    """All that the file has, those that only draft included."""
    drafting: int
    """How many of them, the last, only predict further tokens; their weights are left out unless they are asked to draft."""
    window: int
    caches: bool
    has_output: bool
    latent: bool
    """Keys and values are one compressed latent: no value is cached (multi-head latent attention)."""
    widest_value: int
    """Elements of the value of one token in the layer that has most."""
    trained_context: int
    embedding: int
    vocabulary: int
    heads: int
    query: int
    """Elements of the queries of one token, over all heads; of a latent's, as wide as it is."""
    feed_forward: int
    """The widest layer's, without experts."""
    experts_used: int
    expert_feed_forward: int
    inner: int
    """Elements that recurrent layers compute with for one token."""
    deepstack: int
    """How often an image's embedding is as wide as a token's, beside the first."""

    @property
    def loaded(self) -> int:
        """How many layers' weights are loaded where nothing drafts."""
        return len(self.layers) - self.drafting


def shape(header: ModelHeader) -> Shape | None:
    """None for an architecture of which it is not known what llama.cpp keeps."""
    family = FAMILIES.get(header.architecture or "")
    if family is None or header.architecture is None:
        return None
    count = _required(header, "block_count")
    if not 0 < count <= 512:  # LLAMA_MAX_LAYERS
        raise header.damaged(f"{header.architecture}.block_count is {count}")
    drafting = header.number("nextn_predict_layers", 0) or 0
    if drafting >= count:
        raise header.damaged(f"{header.architecture}.nextn_predict_layers is {drafting} of {count} layers")
    window, windowed = _windows(header, family.window, count, count - drafting)
    sizes = _Sizes(header, count)
    return Shape(
        architecture=header.architecture,
        layers=tuple(_layers(header, family, sizes, windowed, count - drafting)),
        drafting=drafting,
        window=window,
        caches=family.cache and family.recurrent is not Recurrent.ALL,
        has_output=family.output,
        latent=sizes.latent,
        widest_value=max(sizes.layer(number, windowed[number]).value for number in range(count)),
        trained_context=_required(header, "context_length"),
        embedding=sizes.embedding,
        vocabulary=header.number("vocab_size") or header.length("tokenizer.ggml.tokens") or 0,
        heads=max(sizes.heads),
        query=max(heads * max(sizes.key, sizes.windowed_key) for heads in sizes.heads),
        feed_forward=max(sizes.feed_forward),
        experts_used=max(header.numbers("expert_used_count", count) or [0]),
        expert_feed_forward=max(header.numbers("expert_feed_forward_length", count) or [0]),
        inner=header.number("ssm.inner_size") or sizes.embedding,
        deepstack=header.number("n_deepstack_layers") or 0,
    )


class _Sizes:
    """Heads and their sizes, layer by layer, with llama.cpp's defaults."""

    def __init__(self, header: ModelHeader, count: int) -> None:
        self.embedding = _required(header, "embedding_length")
        self.heads = header.numbers("attention.head_count", count) or [0] * count
        self.kv_heads = header.numbers("attention.head_count_kv", count) or self.heads
        self.feed_forward = header.numbers("feed_forward_length", count) or [0] * count
        # The first layer decides; a model without attention has no heads at all.
        default = self.embedding // self.heads[0] if self.heads[0] else 0
        key, value = header.number("attention.key_length"), header.number("attention.value_length")
        self.key = (default if key is None else key) if self.heads[0] else 0
        self.value = (default if value is None else value) if self.heads[0] else 0
        self.windowed_key = header.number("attention.key_length_swa") or self.key
        self.windowed_value = header.number("attention.value_length_swa") or self.value
        self.latent = bool(header.number("attention.key_length_mla")) and bool(header.number("attention.value_length_mla"))

    def layer(self, index: int, windowed: bool) -> Layer:
        key, value = (self.windowed_key, self.windowed_value) if windowed else (self.key, self.value)
        heads = self.kv_heads[index]
        return Layer(
            attends=True,
            key=key * heads,
            value=0 if self.latent else value * heads,
            key_head=key,
            value_head=0 if self.latent else value,
            windowed=windowed,
        )


def _layers(header: ModelHeader, family: Family, sizes: _Sizes, windowed: Sequence[bool], main: int) -> Iterator[Layer]:
    count = len(windowed)
    recurrent = _recurrent(header, family, sizes, count, main)
    state = _state_bytes(header, sizes) if any(recurrent) else 0
    attending = _attending(header, family, sizes, recurrent, main)
    index = (header.number("attention.indexer.key_length") or 0) if family.indexer else 0
    picking = _picking(header, count, main) if index else [False] * count
    for number in range(count):
        layer = sizes.layer(number, windowed[number]) if attending[number] else Layer(windowed=windowed[number])
        yield replace(layer, index=index if attending[number] and picking[number] else 0, state_bytes=state if recurrent[number] else 0)


def _attending(header: ModelHeader, family: Family, sizes: _Sizes, recurrent: Sequence[bool], main: int) -> list[bool]:
    """Which layers have a cache of keys and values (create_memory in src/llama-model.cpp)."""
    count = len(recurrent)
    kind = family.recurrent
    if not family.cache or kind is Recurrent.ALL:
        return [False] * count
    if kind is Recurrent.WITHOUT_KV_HEADS:
        return [not state for state in recurrent]
    if kind is Recurrent.WITHOUT_KV_HEADS_AND_FEED_FORWARD:
        return [not state and sizes.feed_forward[number] == 0 for number, state in enumerate(recurrent)]
    last = main
    if family.layers_with_cache is not None:
        last = min(last, family.layers_with_cache)
    if family.counts_sharing_layers:
        last = min(last, count - (header.number("attention.shared_kv_layers") or 0))
    beside = kind is Recurrent.ALL_BESIDE_ATTENTION
    return [number < last and (beside or not state) for number, state in enumerate(recurrent)]


def _recurrent(header: ModelHeader, family: Family, sizes: _Sizes, count: int, main: int) -> list[bool]:
    """Which layers keep a state for each slot."""
    kind = family.recurrent
    if kind in (Recurrent.ALL, Recurrent.ALL_BESIDE_ATTENTION):
        return [number < main for number in range(count)]
    if kind is Recurrent.WITHOUT_KV_HEADS:
        return [number < main and sizes.kv_heads[number] == 0 for number in range(count)]
    if kind is Recurrent.WITHOUT_KV_HEADS_AND_FEED_FORWARD:
        return [number < main and sizes.kv_heads[number] == 0 == sizes.feed_forward[number] for number in range(count)]
    if kind is Recurrent.ALL_BUT_INTERVAL:
        listed = header.numbers("attention.recurrent_layers", count)
        interval = header.number("full_attention_interval") or family.interval
        return [number < main and (bool(listed[number]) if listed else (number + 1) % interval != 0) for number in range(count)]
    return [False] * count


def _state_bytes(header: ModelHeader, sizes: _Sizes) -> int:
    """The state of one layer for one slot (n_embd_r and n_embd_s)."""
    heads = sizes.heads[0]
    convolution = max(0, (header.number("ssm.conv_kernel") or 0) - 1)
    inner, state = header.number("ssm.inner_size") or 0, header.number("ssm.state_size") or 0
    groups = header.number("ssm.group_count") or 0
    if head := header.number("wkv.head_size"):
        shifts = header.number("token_shift_count", 2) or 0
        elements = (shifts + head) * sizes.embedding
    elif short := header.number("shortconv.l_cache"):
        elements = sizes.embedding * (short - 1) + state * inner
    elif head := header.number("kda.head_dim"):
        elements = 3 * (convolution or 3) * heads * head + head * head * heads
    elif header.architecture == "minimax-01":
        elements = sizes.key * sizes.key * heads
    else:
        elements = convolution * (inner + 2 * groups * state) + state * inner
    return elements * _STATE_BYTES


def _windows(header: ModelHeader, window: Window | None, count: int, main: int) -> tuple[int, list[bool]]:
    """The window in tokens, and which layers have it."""
    whole = [False] * count
    if window is None or (window.block_count is not None and window.block_count != main):
        return 0, whole
    tokens = header.number("attention.sliding_window", window.default) or 0
    if tokens == 0:
        return 0, whole
    tokens = window.fixed or tokens
    listed = header.value("attention.sliding_window_pattern")
    if isinstance(listed, (list, tuple)):
        return tokens, [bool(value) for value in header.numbers("attention.sliding_window_pattern", count) or whole]
    period = header.number("attention.sliding_window_pattern", window.period)
    if period is None:
        raise header.damaged(f"{header.architecture}.attention.sliding_window_pattern is missing")
    return tokens, [number < main and _looks_back(number, period, window.whole_first) for number in range(count)]


def _looks_back(number: int, period: int, whole_first: bool) -> bool:
    if period == 0:
        return True
    return number % period != 0 if whole_first else number % period < period - 1


def _picking(header: ModelHeader, count: int, main: int) -> list[bool]:
    """Which layers pick tokens themselves; the others use what an earlier one has picked."""
    if header.architecture != "glm-dsa":
        return [True] * count
    if listed := header.numbers("attention.indexer.types", main):
        return [bool(value) for value in listed] + [False] * (count - main)
    if (header.number("context_length") or 0) < 2**20:  # before GLM 5.2
        return [True] * count
    return [number < 2 or number % 4 == 2 for number in range(count)]


def _required(header: ModelHeader, key: str) -> int:
    value = header.number(key)
    if value is None:
        raise header.damaged(f"{header.architecture}.{key} is missing")
    return value
