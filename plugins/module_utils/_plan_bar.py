# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of a GPU as a bar: what takes how much of its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import GpuUse

FREE = "free_mib"
NOT_KNOWN = "not_known"
_DIGITS = 4


@dataclass(frozen=True)
class Segment:
    kind: str
    """One of PARTS, FREE or NOT_KNOWN."""
    percent: float


@dataclass(frozen=True)
class Bar:
    segments: tuple[Segment, ...]
    """Their percents add up to 100."""
    limit: float | None
    """At how many percent the memory of the GPU ends, where more than that is taken."""


def bar_of(use: GpuUse) -> Bar:
    if use.memory_mib is None:
        return Bar((Segment(NOT_KNOWN, 100.0),), None)
    lengths = dict(_lengths(use, use.memory_mib))
    scale = sum(lengths.values())
    if not scale:
        return Bar((Segment(NOT_KNOWN, 100.0),), None)
    segments, begin, reached = [], 0.0, 0.0
    for kind, length in lengths.items():
        reached += length
        end = round(100 * reached / scale, _DIGITS)
        segments.append(Segment(kind, round(end - begin, _DIGITS)))
        begin = end
    return Bar(tuple(segments), round(100 * use.memory_mib / scale, _DIGITS) if use.lacking else None)


def _lengths(use: GpuUse, memory_mib: float) -> Iterator[tuple[str, float]]:
    for name, amount in use.parts.items():
        if amount.known:
            yield name, amount.known
    if use.free_mib is None and memory_mib > use.used.known:
        yield NOT_KNOWN, memory_mib - use.used.known
    if use.free_mib is not None and use.free_mib > 0:
        yield FREE, use.free_mib
