# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amounts of memory and disk, as people read them; what is not known is said to be so, and never shown as nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN = "unknown"
MIB = 1024**2
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Amount:
    """A sum. Where terms of it are not known, it is what the others make: the least that it can be."""

    known: float = 0
    complete: bool = True

    @property
    def exact(self) -> float | None:
        return self.known if self.complete else None

    @property
    def empty(self) -> bool:
        """Whether there is certainly nothing."""
        return self.complete and not self.known

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.known + other.known, self.complete and other.complete)


def total(terms: Iterable[float | None]) -> Amount:
    """The sum of terms, of which None is one that is not known."""
    terms = list(terms)
    return Amount(sum(term for term in terms if term is not None), None not in terms)


def show_bytes(count: float | Amount | None) -> str:
    """``4.36 GiB``, ``0 bytes``, ``unknown``, or ``≥ 4.36 GiB`` where a part of the sum is not known."""
    if isinstance(count, Amount):
        if count.complete:
            return show_bytes(count.known)
        return f"≥ {show_bytes(count.known)}" if count.known else UNKNOWN
    if count is None:
        return UNKNOWN
    if count < 0:
        return f"-{show_bytes(-count)}"
    power = min(max(round(count).bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    if not power:
        return f"{count:.0f} bytes"
    scaled = count / 1024**power
    return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {_UNITS[power]}"


def show_mib(mib: float | Amount | None) -> str:
    """The same of MiB."""
    if isinstance(mib, Amount):
        return show_bytes(Amount(mib.known * MIB, mib.complete))
    return show_bytes(None if mib is None else mib * MIB)


def show_gib(mib: float | Amount | None) -> str:
    """MiB as a bare number of GiB, for a column of them."""
    if isinstance(mib, Amount) and not mib.complete:
        return f"≥ {show_gib(mib.known)}" if mib.known else UNKNOWN
    number = mib.known if isinstance(mib, Amount) else mib
    return UNKNOWN if number is None else f"{number / 1024:.2f}"
