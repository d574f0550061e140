# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Debian packages are installed, as dpkg tells it."""

from __future__ import annotations

from collections.abc import Sequence

QUERY = ("dpkg-query", "--show", "--showformat=${db:Status-Status}\t${Package}\t${Provides}\n")


def missing(names: Sequence[str], output: str) -> list[str]:
    """The ``names`` that nothing installed is or provides; ``output`` is what :data:`QUERY` prints."""
    installed = set()
    for line in output.splitlines():
        status, _tab, rest = line.partition("\t")
        package, _tab, provides = rest.partition("\t")
        if status == "installed":
            installed.update({package, *(provided.split()[0] for provided in provides.split(",") if provided.strip())})
    # As apt takes them: with a version (cmake=3.25) or an architecture (gcc:amd64).
    return [name for name in names if name.partition("=")[0].partition(":")[0] not in installed]
