# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the directory of a model that is more than one file.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from pathlib import Path

_DEEPEST = 2
"""How many names a path in a model has at most; what lies deeper is not read."""


def files(top: str) -> list[str]:
    """The names of all files that are in the directory, relative to it; a link to nothing is none."""
    found: list[str] = []
    for directory, subdirectories, names in os.walk(top):
        place = os.path.relpath(directory, top)
        depth = 1 if place == "." else 1 + len(Path(place).parts)
        if depth >= _DEEPEST:
            subdirectories.clear()
        found += (os.path.normpath(os.path.join(place, name)) for name in names if os.path.isfile(os.path.join(directory, name)))
    return sorted(found)
