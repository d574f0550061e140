# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of one service on the host: written atomically, kept once they are proven, put back, removed.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic

_KEY_MODE = 0o600
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True)
class Content:
    """What the files say; None for a file that is not there."""

    definition: str | None = None
    """What the manager reads, such as a unit."""
    key: bytes | None = None

    @classmethod
    def of(cls, definition: str, api_key: str | None) -> Content:
        return cls(definition, None if api_key is None else f"{api_key}\n".encode())


@dataclass(frozen=True)
class Change:
    """From what the files say to what they shall say."""

    before: Content
    after: Content
    outdated: tuple[Path, ...] = ()
    """Those that it writes or removes, for their modes and owners as well."""


class FileDiff(NamedTuple):
    path: str
    before: str
    after: str


@dataclass(frozen=True)
class ServiceFiles:
    definition: Path
    config: Path
    """The directory of the service for root alone."""
    state: Path
    """The service's home."""
    definition_mode: int = 0o644
    key_owner: tuple[int, int] | None = None
    """The account that reads the key itself; None where root does, and hands it on."""

    @property
    def key(self) -> Path:
        return self.config / "api-key"

    @property
    def _accepted(self) -> tuple[Path, Path]:
        directory = self.config / "accepted"
        return directory / self.definition.name, directory / self.key.name

    def live(self) -> Content:
        return _read(self.definition, self.key)

    def accepted(self) -> Content:
        """What was last accepted; its definition is None where nothing was."""
        return _read(*self._accepted)

    def change_to(self, content: Content) -> Change:
        outdated = tuple(target.path for target in self._targets(content) if _differs(target))
        return Change(self.live(), content, outdated)

    def holding(self, content: Content) -> list[Path]:
        """The files that there are with this content."""
        return [path for path, part in ((self.definition, content.definition), (self.key, content.key)) if part is not None]

    def diffs(self, change: Change) -> tuple[FileDiff, ...]:
        """The definition as it was and will be; of the key only that it differs."""
        before, after = change.before, change.after
        diffs = []
        if before.definition != after.definition:
            diffs.append(FileDiff(str(self.definition), before.definition or "", after.definition or ""))
        if before.key != after.key:
            told = "" if before.key is None else "api-key: set\n", "" if after.key is None else "api-key: changed\n"
            diffs.append(FileDiff(str(self.key), *told))
        return tuple(diffs)

    def write(self, content: Content) -> None:
        # The key first: a definition must never name a key that is not there.
        self.config.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _private_directory(self.config)
        for target in self._targets(content):
            if _differs(target):
                _put(target)

    def accept(self, content: Content) -> None:
        """Make this content what :meth:`accepted` gives. The definition goes last: without it, nothing was accepted."""
        definition, key = self._accepted
        for directory in (self.config, definition.parent):
            _private_directory(directory)
        _put(_Target(definition, None, self.definition_mode))
        _put(_Target(key, content.key, _KEY_MODE))
        _put(_Target(definition, _encoded(content.definition), self.definition_mode))

    def everything(self) -> list[Path]:
        """What of the service is there, files and directories."""
        return [path for path in (self.definition, self.config, self.state) if os.path.lexists(path)]

    def remove(self, links: Iterable[Path] = ()) -> None:
        """Remove everything, and before that what the manager has made of it elsewhere."""
        for path in (*links, *self.everything()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        # What it shares with other services goes with the last of them, unless somebody keeps something there, such as models.
        for directory in (self.config.parent, self.state.parent):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def _targets(self, content: Content) -> list[_Target]:
        return [
            _Target(self.key, content.key, _KEY_MODE, self.key_owner),
            _Target(self.definition, _encoded(content.definition), self.definition_mode),
        ]


class _Target(NamedTuple):
    """A file as it shall be; without data it shall not be there."""

    path: Path
    data: bytes | None
    mode: int
    owner: tuple[int, int] | None = None


def _read(definition: Path, key: Path) -> Content:
    read = _missing_ok(definition.read_bytes)
    return Content(None if read is None else read.decode(errors="replace"), _missing_ok(key.read_bytes))


def _missing_ok(read: Callable[[], bytes]) -> bytes | None:
    try:
        return read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _differs(target: _Target) -> bool:
    try:
        status = target.path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return target.data is not None
    owned = status.st_uid == os.geteuid() if target.owner is None else (status.st_uid, status.st_gid) == target.owner
    regular = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == target.mode and owned
    return not regular or target.path.read_bytes() != target.data


def _put(target: _Target) -> None:
    if target.data is not None:
        write_atomic(target.path, target.data, target.mode, *(target.owner or ()))
        return
    with contextlib.suppress(FileNotFoundError):
        target.path.unlink()


def _private_directory(path: Path) -> None:
    path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    path.chmod(_DIRECTORY_MODE)
