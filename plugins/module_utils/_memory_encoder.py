# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The projector (mmproj) beside a model: its weights, how many tokens an image becomes, and what encoding one takes.

Read in llama.cpp's tools/mtmd/clip.cpp at commit 0c1e57098.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._memory_header import ModelHeader
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import NOTHING, Range

_F32, _F16 = 4, 2
ORDINARY_PIXELS = 1024  # on each side, of the picture that a slot has to have room for


@dataclass(frozen=True)
class _Projector:
    merge: int
    """Patches that become one token, on each side."""
    least: int = 0
    most: int = 0
    """Tokens of an image; both 0 where all images are brought to the same size."""
    start: int = 0
    """Tokens on each side of the image for which room is made at the start; 0 for the largest."""


# Projectors that scale an image, or bring all to one size. Those that cut it into tiles are left out: their number is not in the header.
_PROJECTORS = {
    "qwen2vl_merger": _Projector(2, 8, 4096, 46),
    "qwen2.5vl_merger": _Projector(2, 8, 4096, 46),
    "qwen3vl_merger": _Projector(2, 8, 4096, 46),
    "ling3vl": _Projector(2, 8, 4096, 46),
    "glm4v": _Projector(2, 8, 4096, 46),
    "muse-glimmer": _Projector(2, 1, 4096, 32),
    "minimax_m3": _Projector(2, 8, 576, 16),
    "pixtral": _Projector(1, 8, 1024, 16),
    "kimivl": _Projector(2, 8, 1024, 16),
    "lfm2": _Projector(2, 64, 256),
    "gemma4v": _Projector(3, 70, 1120, 16),
    "gemma3": _Projector(4),
}


@dataclass(frozen=True)
class Images:
    """How an image becomes tokens."""

    patch: int
    """Pixels on each side."""
    merge: int
    least: int
    most: int
    start: int
    """Tokens for which room is made at the start, whatever the largest image; 0 for those of the largest."""
    side: int
    """Pixels on each side of an image, where all are brought to the same size; else 0."""

    def largest(self, asked: int) -> int:
        """Tokens of the largest image, with the limit that the options set, if they do."""
        return self._fixed() if self.side else max(asked or self.most, 1)

    def at_start(self, asked: int) -> int:
        return self.start or self.largest(asked)

    def smallest(self, asked: int) -> int:
        return self._fixed() if self.side else asked or self.least

    def ordinary(self, least: int, most: int) -> int:
        """Tokens of a picture of ORDINARY_PIXELS on each side."""
        if self.side:
            return self._fixed()
        across = -(-ORDINARY_PIXELS // (self.patch * self.merge))
        return min(max(across**2, self.smallest(least)), self.largest(most))

    def _fixed(self) -> int:
        return (self.side // (self.patch * self.merge)) ** 2


@dataclass(frozen=True)
class Encoding:
    """What a projector takes, in bytes."""

    start: int
    """At the start, which is all that llama-server looks at when it decides what fits."""
    work: Range
    """While it encodes the largest image."""


NO_ENCODING = Encoding(0, NOTHING)


@dataclass(frozen=True)
class Encoder:
    weights: int
    images: Images | None
    """None for a projector of which it is not known how it cuts images, or that has none."""
    embedding: int
    feed_forward: int
    heads: int
    gated: bool
    windows: bool
    """Whether most layers look at a part of the image only, by a mask over all of it."""

    def encoding(self, most: int, flash_attention: bool, *, on_gpu: bool) -> Encoding:
        """With images of at most so many tokens; 0 for what the projector takes."""
        weights = Range.exact(self.weights)
        if self.images is None:
            return Encoding(self.weights, weights)
        start, largest = self.images.at_start(most), self.images.largest(most)
        at_start, at_work = (weights.plus(self._compute(self.images, tokens, flash_attention)) for tokens in (start, max(start, largest)))
        return Encoding(at_start.expected, at_work.plus(Range.exact(self._f16_copies(self.images, largest) if on_gpu else 0)))

    def _compute(self, images: Images, tokens: int, flash_attention: bool) -> Range:
        """What encoding an image of so many tokens takes beside the weights. Found as in _memory_compute.py, for qwen2vl and qwen2.5vl."""
        patches = tokens * images.merge**2
        pixels = 3 * patches * images.patch**2 * _F32
        embedding, feed_forward = (patches * width * _F32 for width in (self.embedding, self.feed_forward * (2 if self.gated else 1)))
        size = 2 * pixels + max(feed_forward + 2 * embedding, 5 * embedding)
        if self.windows:
            size += patches**2 * (2 * _F32 + _F16)
        if not flash_attention:
            size += patches**2 * self.heads * _F32
        return Range(size * 9 // 10, size, size * 13 // 10)

    def _f16_copies(self, images: Images, tokens: int) -> int:
        """What cuBLAS multiplies f16 weights with, and what comes of it (ggml_cuda_mul_mat_cublas_impl); no buffer counts that."""
        return tokens * images.merge**2 * (self.embedding + self.feed_forward) * _F16


def encoder(header: ModelHeader) -> Encoder:
    def number(key: str) -> int:
        value = header.metadata.get(f"clip.vision.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0

    if header.architecture != "clip":
        raise header.not_a("a projector; its architecture is", "Give the mmproj file that belongs to the model")
    return Encoder(
        weights=header.tensor_bytes,
        images=_images(header, number),
        embedding=number("embedding_length"),
        feed_forward=number("feed_forward_length"),
        heads=number("attention.head_count"),
        gated=any(".ffn_gate." in name for name in header.tensors),
        windows=number("n_wa_pattern") > 0,
    )


def _images(header: ModelHeader, number: Callable[[str], int]) -> Images | None:
    kind = header.metadata.get("clip.projector_type") or header.metadata.get("clip.vision.projector_type")
    projector = _PROJECTORS.get(str(kind))
    patch = number("patch_size")
    if projector is None or patch == 0:
        return None
    merge = number("spatial_merge_size") or number("projector.scale_factor") or projector.merge
    side = number("image_size") if projector.most == 0 else 0
    return Images(patch, merge, projector.least, projector.most, projector.start**2, side)
