# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The room for something that is still to be written, before its directory is there."""

from __future__ import annotations

import os
from pathlib import Path


def existing_parent(path: Path) -> Path:
    """The path, or what there is of it so far; a link counts, wherever it leads."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def free_bytes(path: Path) -> int:
    """What is free for everybody on the file system that the path is on, or will be."""
    status = os.statvfs(next(place for place in (path, *path.parents) if place.exists()))
    return status.f_bavail * status.f_frsize
