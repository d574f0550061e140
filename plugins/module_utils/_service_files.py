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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._service import unit_name
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import UnitStatus
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import CREDENTIAL, DIGEST_VARIABLE, stated_digest

_UNIT_MODE = 0o644
_KEY_MODE = 0o600
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True)
class Content:
    """What the files say; None for a file that is not there."""

    unit: str | None = None
    key: bytes | None = None


def runs(content: Content, status: UnitStatus) -> bool:
    """Whether the unit's process is up and was started with this content."""
    wanted = None if content.unit is None else stated_digest(content.unit)
    running = (status.environment or {}).get(DIGEST_VARIABLE)
    return status.active and running is not None and running == wanted and (status.credentials or {}).get(CREDENTIAL) == content.key


@dataclass(frozen=True)
class ServiceFiles:
    name: str
    unit_directory: Path
    config_directory: Path
    state_directory: Path

    @property
    def unit(self) -> Path:
        return self.unit_directory / unit_name(self.name)

    @property
    def config(self) -> Path:
        return self.config_directory / self.name

    @property
    def key(self) -> Path:
        return self.config / "api-key"

    @property
    def state(self) -> Path:
        return self.state_directory / self.name

    @property
    def _accepted(self) -> tuple[Path, Path]:
        directory = self.config / "accepted"
        return directory / self.unit.name, directory / self.key.name

    def live(self) -> Content:
        return _read(self.unit, self.key)

    def accepted(self) -> Content:
        """What was last accepted; its unit is None where nothing was."""
        return _read(*self._accepted)

    def outdated(self, content: Content) -> list[Path]:
        """The files that writing this content would change, their modes and owners included."""
        return [path for path, data, mode in self._targets(content) if _differs(path, data, mode)]

    def write(self, content: Content) -> None:
        # The key first: a unit must never name a key that is not there.
        self.config_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        _private_directory(self.config)
        for path, data, mode in self._targets(content):
            if _differs(path, data, mode):
                _put(path, data, mode)

    def accept(self, content: Content) -> None:
        """Make this content what :meth:`accepted` gives. The unit goes last: without it, nothing was accepted."""
        unit, key = self._accepted
        for directory in (self.config, unit.parent):
            _private_directory(directory)
        _put(unit, None, _UNIT_MODE)
        _put(key, content.key, _KEY_MODE)
        _put(unit, None if content.unit is None else content.unit.encode(), _UNIT_MODE)

    def enabled(self) -> bool:
        """Whether the unit starts with the host."""
        return any(self._links())

    def everything(self) -> list[Path]:
        """What of the service is there: files, directories and the links that start it with the host."""
        return [path for path in (*self._links(), self.unit, self.config, self.state) if os.path.lexists(path)]

    def remove(self) -> None:
        for path in self.everything():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        # What it shares with other services goes with the last of them, unless somebody keeps something there, such as models.
        for directory in (self.config_directory, self.state_directory):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def other_units(self) -> list[Path]:
        """The units of the other services of this host."""
        return [path for path in sorted(self.unit_directory.glob(unit_name("*"))) if path != self.unit]

    def _links(self) -> list[Path]:
        # A glob of the whole would miss a link whose unit is gone.
        return [path for wants in sorted(self.unit_directory.glob("*.wants")) if os.path.lexists(path := wants / self.unit.name)]

    def _targets(self, content: Content) -> list[tuple[Path, bytes | None, int]]:
        return [
            (self.key, content.key, _KEY_MODE),
            (self.unit, None if content.unit is None else content.unit.encode(), _UNIT_MODE),
        ]


def _read(unit: Path, key: Path) -> Content:
    unit_bytes = _missing_ok(unit.read_bytes)
    return Content(None if unit_bytes is None else unit_bytes.decode(errors="replace"), _missing_ok(key.read_bytes))


def _missing_ok(read: Callable[[], bytes]) -> bytes | None:
    try:
        return read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _differs(path: Path, data: bytes | None, mode: int) -> bool:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return data is not None
    regular = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == mode and status.st_uid == os.geteuid()
    return not regular or path.read_bytes() != data


def _put(path: Path, data: bytes | None, mode: int) -> None:
    if data is not None:
        write_atomic(path, data, mode)
        return
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _private_directory(path: Path) -> None:
    path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    path.chmod(_DIRECTORY_MODE)
