# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A large file that came from the controller: recognised by size and time, proven by its checksum when it arrives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._disk import existing_parent, free_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import sha256_of, sync_directory

_MIB = 1 << 20
_MODE = 0o644


@dataclass(frozen=True)
class Version:
    """What tells one version of a file from another without reading it: size in bytes and time of modification in seconds."""

    size: int
    modified: int


def version_of(path: str | os.PathLike[str]) -> Version | None:
    """None where there is no such file."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Version(status.st_size, int(status.st_mtime))


def check_room(dest: Path, size: int) -> None:
    """Refuse a file that does not fit beside the one that it replaces, before it is sent."""
    available = free_bytes(dest.parent)
    if available < size:
        raise UserError(
            f"dest: {dest} needs {size // _MIB + 1} MiB of free disk space under {existing_parent(dest.parent)}, "
            f"{available // _MIB} MiB are available; free some, or give a directory on a larger file system",
            path=str(dest),
        )


def staged_path(dest: Path) -> Path:
    """Where it is sent to: on the file system where it is to stay, so that it is there once and not twice."""
    return dest.with_name(f".{dest.name}.received")


def prepare(dest: Path) -> None:
    """Make the directory that it is sent to."""
    dest.parent.mkdir(mode=0o755, parents=True, exist_ok=True)


def install(dest: Path, modified: int, sha256: str) -> None:
    """Put a received file into its place, in one step and only if it arrived whole."""
    staged = staged_path(dest)
    arrived = sha256_of(staged)
    if arrived != sha256:
        staged.unlink()
        raise UserError(f"dest: {dest} arrived damaged (sha256 {arrived} instead of {sha256}); run it again", path=str(dest))
    os.chown(staged, os.geteuid(), os.getegid())
    staged.chmod(_MODE)
    with open(staged, "rb") as file:
        os.fsync(file.fileno())
    # Last, because it is what the next run goes by.
    os.utime(staged, (modified, modified))
    os.replace(staged, dest)
    sync_directory(dest.parent)
