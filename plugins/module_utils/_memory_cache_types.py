# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types that llama.cpp stores keys and values in, and what they take (ggml/src/ggml.c, type_traits)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CacheType:
    name: str
    block: int
    """Elements that are stored together; a row holds whole blocks."""
    bytes_per_block: int

    def row(self, elements: int) -> int:
        """Bytes of so many elements, which fill whole blocks."""
        return elements // self.block * self.bytes_per_block

    @property
    def quantised(self) -> bool:
        return self.block > 1


CACHE_TYPES = {
    kind.name: kind
    for kind in (
        CacheType("f32", 1, 4),
        CacheType("f16", 1, 2),
        CacheType("bf16", 1, 2),
        CacheType("q8_0", 32, 34),
        CacheType("q5_1", 32, 24),
        CacheType("q5_0", 32, 22),
        CacheType("q4_1", 32, 20),
        CacheType("q4_0", 32, 18),
        CacheType("iq4_nl", 32, 18),
    )
}

F16 = CACHE_TYPES["f16"]
