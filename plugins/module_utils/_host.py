# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that is looked at: files that are read, and programs that are asked.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed, run
from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic

# Left out of PATH when a user logs in who is not root.
_SYSTEM_PATH = ("/usr/sbin", "/sbin")
# Of small programs.
_SECONDS = 10.0


class Host:
    """``root`` stands for /, ``path`` for PATH. Paths may begin with a slash or not."""

    environment: ClassVar[Mapping[str, str]] = {}
    """What programs are told beside PATH."""

    def __init__(self, root: Path = Path("/"), path: str | None = None) -> None:
        self._root = root
        self._path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_PATH)) if path is None else path

    def place(self, path: str | Path) -> Path:
        """Where a file of the host is."""
        return self._root / str(path).lstrip("/")

    def read(self, path: str | Path) -> str:
        """The text of a file, none where it cannot be read: what this user may not see is told by other sources."""
        with contextlib.suppress(OSError):
            return self.text(path) or ""
        return ""

    def text(self, path: str | Path) -> str | None:
        """The text of a file that is decided upon: None only where there is none."""
        try:
            return self.place(path).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, directory: str | Path) -> list[str]:
        """What is in a directory, nothing where it cannot be seen."""
        try:
            return sorted(os.listdir(self.place(directory)))
        except OSError:
            return []

    def os_release(self) -> dict[str, str]:
        """Which distribution it runs."""
        pairs = (line.partition("=") for line in self.read("etc/os-release").splitlines())
        return {name: value.strip("\"'") for name, equals, value in pairs if equals}

    def write(self, path: str, text: str, mode: int | None = None) -> None:
        """Without a mode it keeps the one that it has, or is for everybody to read."""
        target = self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode is None:
            mode = target.stat().st_mode & 0o7777 if target.exists() else 0o644
        write_atomic(target, text.encode(), mode)

    def program(self, name: str) -> str | None:
        """Where a program is, if it is there."""
        return shutil.which(name, path=self._path)

    def run(self, *argv: str, timeout: float = _SECONDS) -> Completed | None:
        """None where there is no such program."""
        program = self.program(argv[0])
        return run([program, *argv[1:]], env={"PATH": self._path, **self.environment}, timeout=timeout) if program else None
