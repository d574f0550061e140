# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a reader never sees half-written, even when the power goes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

_CHUNK = 1 << 20  # bytes


class FileChange(NamedTuple):
    """What a file said, and what it is to say: nothing is that it is not there."""

    path: str
    before: str
    after: str

    def diff(self) -> dict[str, str]:
        """As Ansible shows it."""
        return {"before_header": self.path, "after_header": self.path, "before": self.before, "after": self.after}


def write_atomic(path: str | os.PathLike[str], data: bytes, mode: int, uid: int | None = None, gid: int | None = None) -> None:
    """Replace ``path`` with ``data`` in one step; the mode and owner are set before it can be seen under its name."""
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if uid is not None or gid is not None:
                os.fchown(file.fileno(), -1 if uid is None else uid, -1 if gid is None else gid)
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(target.parent)


def symlink_atomic(path: str | os.PathLike[str], target: str) -> None:
    """Make ``path`` a symbolic link to ``target`` in one step, whatever was there before."""
    link = Path(path)
    with tempfile.TemporaryDirectory(prefix=f".{link.name}.", dir=link.parent) as directory:
        temporary = Path(directory, link.name)
        temporary.symlink_to(target)
        os.replace(temporary, link)
    sync_directory(link.parent)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names inside a directory survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text_or_none(path: str | os.PathLike[str]) -> str | None:
    """The file's text, or None where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


def sha256_of(path: str | os.PathLike[str]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
