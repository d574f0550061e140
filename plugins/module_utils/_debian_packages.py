# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages: which are installed, as dpkg tells it, and how apt is told to keep them.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

QUERY = ("dpkg-query", "--show", "--showformat=${db:Status-Status}\t${Package}\t${Version}\t${Provides}\n")


class Installed(NamedTuple):
    name: str
    version: str
    provides: tuple[str, ...]


def installed(output: str) -> Iterator[Installed]:
    """From what :data:`QUERY` prints."""
    for line in output.splitlines():
        status, name, version, provides = line.split("\t")
        if status == "installed":
            yield Installed(name, version, tuple(provided.split()[0] for provided in provides.split(",") if provided.strip()))


def missing(names: Sequence[str], output: str) -> list[str]:
    """The ``names`` that nothing installed is or provides; ``output`` is what :data:`QUERY` prints."""
    there = {name for package in installed(output) for name in (package.name, *package.provides)}
    # As apt takes them: with a version (cmake=3.25) or an architecture (gcc:amd64).
    return [name for name in names if name.partition("=")[0].partition(":")[0] not in there]


def pin(names: Iterable[str], version: str, explanation: str) -> str:
    """For apt_preferences: of all versions there are, apt takes this one, up or down. That is what a priority of 1000 means."""
    return f"Explanation: {explanation}\nPackage: {' '.join(names)}\nPin: version {version}\nPin-Priority: 1000\n"
