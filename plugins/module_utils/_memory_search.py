# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The most, or the least, with which something still holds."""

from __future__ import annotations

from collections.abc import Callable


def largest(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The largest number for which it holds, where it holds for all smaller ones as well; None where it holds for none."""
    if low > high or not holds(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def smallest(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number for which it holds, where it holds for all larger ones as well; None where it holds for none."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
