# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that holds the CUDA toolkits of the package index, one per version, each of them complete or not there at all.

::

    <prefix>/<version>/                the toolkit; with .baremetal-llm.json, which says what it was made of and what has to be there
    <prefix>/.baremetal-llm/           {work/,wheels/}  install.log  progress.json  lock; hidden, so that nobody takes it for a toolkit
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._disk import existing_parent
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, sync_directory, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked
from ansible_collections.baremetal.llm.plugins.module_utils._prefix import check_path

_MANIFEST = ".baremetal-llm.json"


class ToolkitStore:
    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self.prefix = Path(prefix)
        self._own = self.prefix / ".baremetal-llm"
        self.work = self._own / "work"
        self.log = self._own / "install.log"
        self.progress = self._own / "progress.json"
        self._wheels = self._own / "wheels"

    def check_prefix(self) -> None:
        check_path(self.prefix, "/opt/cuda")
        existing = existing_parent(self.prefix)
        if not existing.is_dir():
            raise UserError(f"prefix: {existing} is not a directory; give a prefix below one, such as /opt/cuda")

    def check_writable(self) -> None:
        existing = existing_parent(self.prefix)
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(
                f"prefix: {existing} can't be written to by the user with the id {os.geteuid()}; "
                "run this with become: true, or give a prefix that the user may write to"
            )

    # What is there

    def root(self, version: str) -> Path:
        return self.prefix / version

    def is_there(self, version: str) -> bool:
        return os.path.lexists(self.root(version))

    def versions(self) -> list[str]:
        """Those that this module has made."""
        return sorted(manifest.parent.name for manifest in self.prefix.glob(f"*/{_MANIFEST}"))

    def check_own(self, version: str) -> None:
        """Refuse a directory that somebody else has made."""
        if self.is_there(version) and not (self.root(version) / _MANIFEST).is_file():
            raise UserError(
                f"prefix: {self.root(version)} was not made by cuda_toolkit, so it is left alone; give another prefix, "
                "or use it as it is (role cuda_toolkit: cuda_toolkit_source: existing)"
            )

    def packages(self, version: str) -> dict[str, str]:
        """What the toolkit was made of, package -> version."""
        known = self._manifest(version).get("packages")
        return {str(name): str(of) for name, of in known.items()} if isinstance(known, Mapping) else {}

    def made_of(self, version: str) -> object:
        return self._manifest(version).get("made_of")

    def damaged(self, version: str) -> list[str]:
        """The files of the toolkit that are missing or were cut short."""
        files = self._manifest(version).get("files")
        known = files if isinstance(files, Mapping) else {_MANIFEST: None}
        root = os.fspath(self.root(version))
        return [name for name, size in known.items() if _size(f"{root}/{name}") != size]

    def has_remains(self) -> bool:
        """Whether a removal was cut short, once the toolkit was out of sight."""
        return any(self.work.glob("old-*"))

    # Changing it; the caller holds the lock

    def locked(self) -> AbstractContextManager[int]:
        return locked(self._own / "lock")

    def new_work(self) -> Path:
        self.clear_work()
        (self.work / "tmp").mkdir(parents=True)
        return self.work

    def clear_work(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)

    def wheels_of(self, version: str) -> Path:
        return self._wheels / version

    def wheels(self, version: str) -> Path:
        """Where the wheels of this version wait to be unpacked; what a killed run has fetched is not fetched again."""
        directory = self.wheels_of(version)
        directory.mkdir(parents=True, exist_ok=True)
        for other in self._wheels.iterdir():
            if other.name != version:
                shutil.rmtree(other)
        return directory

    def clear_wheels(self) -> None:
        shutil.rmtree(self._wheels, ignore_errors=True)

    def add(self, version: str, staged: Path, made_of: object, packages: Mapping[str, str]) -> None:
        """Make ``staged`` the toolkit ``version``: it appears complete and on disk, or not at all."""
        manifest = {"made_of": made_of, "packages": packages, "files": dict(_files(staged))}
        write_atomic(staged / _MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode(), 0o644)
        # Once for its 2000 files is much quicker than for each of them.
        os.sync()
        self._discard(version)
        os.rename(staged, self.root(version))
        sync_directory(self.prefix)

    def remove(self, versions: Iterable[str]) -> None:
        """Remove these toolkits, and with the last one what this module keeps under the prefix."""
        for version in versions:
            self._discard(version)
        self.clear_work()
        if not self.versions():
            shutil.rmtree(self._own)
            with contextlib.suppress(OSError):
                self.prefix.rmdir()

    def _discard(self, version: str) -> None:
        """In one step out of sight, then away."""
        if self.is_there(version):
            self.work.mkdir(parents=True, exist_ok=True)
            os.rename(self.root(version), self.work / f"old-{version}")
            shutil.rmtree(self.work / f"old-{version}")

    def _manifest(self, version: str) -> dict[str, object]:
        try:
            manifest = json.loads(read_text_or_none(self.root(version) / _MANIFEST) or "{}")
        except ValueError:
            return {}
        return manifest if isinstance(manifest, dict) else {}


def _files(root: Path) -> Iterator[tuple[str, int | None]]:
    """Each file with its size, each symbolic link with None."""
    for directory, subdirectories, names in os.walk(root):
        for name in (*names, *(name for name in subdirectories if Path(directory, name).is_symlink())):
            path = Path(directory, name)
            yield str(path.relative_to(root)), _size(path)


def _size(path: str | os.PathLike[str]) -> int | None:
    """The size of a file, None for a symbolic link that leads somewhere, -1 for nothing."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            os.stat(path)
            return None
        return status.st_size
    except OSError:
        return -1
