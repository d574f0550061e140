# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A size in bytes that is known exactly, or between two bounds."""

from __future__ import annotations

from typing import NamedTuple

MIB = 1024 * 1024


class Range(NamedTuple):
    low: int
    expected: int
    high: int

    @classmethod
    def exact(cls, size: int) -> Range:
        return cls(size, size, size)

    def plus(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    @property
    def is_exact(self) -> bool:
        return self.low == self.high


NOTHING = Range(0, 0, 0)


def mib(size: int) -> int:
    """In whole MiB, so that what is planned is never less than what is needed."""
    return -(-size // MIB)
