# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may read a cache: everybody on the host, or the members of one group."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


@dataclass(frozen=True)
class Access:
    """With a group, directories pass it on to what is made in them. Rights that somebody has given beyond that are left."""

    group: str | None = None
    gid: int | None = None

    @property
    def file_mode(self) -> int:
        return 0o644 if self.gid is None else 0o640

    @property
    def directory_mode(self) -> int:
        return 0o755 if self.gid is None else 0o750 | stat.S_ISGID

    def make_directory(self, path: Path, top: Path) -> None:
        """Make a directory, with those on the way to it from ``top`` on; what is there is left as it is."""
        if path.is_dir():
            return
        if path == top:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        else:
            self.make_directory(path.parent, top)
        path.mkdir(exist_ok=True)
        self._own(path)
        path.chmod(self.directory_mode)

    def take(self, path: Path) -> None:
        """Make a new file one that these users may read, and nobody else."""
        self._own(path)
        path.chmod(self.file_mode)

    def lacking(self, paths: Iterable[Path]) -> list[Path]:
        """Those that not everybody who is meant to can read."""
        return [path for path in paths if self._missing(os.stat(path))]

    def grant(self, path: Path) -> None:
        self._own(path)
        status = os.stat(path)
        if missing := self._missing(status):
            path.chmod(stat.S_IMODE(status.st_mode) | missing)

    def _own(self, path: Path) -> None:
        if self.gid is None or os.stat(path).st_gid == self.gid:
            return
        try:
            os.chown(path, -1, self.gid)
        except PermissionError as error:
            raise UserError(
                f"group: {path} can't be given to the group {self.group} by the user with the id {os.geteuid()} ({error.strerror}); "
                "run this with become: true, or name a group that the user is in"
            ) from error

    def _missing(self, status: os.stat_result) -> int:
        """The rights that are missing; all of them where the group is another."""
        mode = self.directory_mode if stat.S_ISDIR(status.st_mode) else self.file_mode
        needed = mode & ~stat.S_IWUSR
        if self.gid is not None and status.st_gid != self.gid:
            return needed
        return needed & ~stat.S_IMODE(status.st_mode)


def access_of(group: str | None) -> Access:
    if group is None:
        return Access()
    try:
        return Access(group, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise UserError(f"group: there is no group {group!r} on this host; create it first, or leave group out") from None
