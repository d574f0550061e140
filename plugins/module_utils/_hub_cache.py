# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's cache of one repository: the layout that the hub's own clients, llama.cpp and vLLM share.

::

    <cache_dir>/models--<organisation>--<name>/
        blobs/<blob>                  contents; since 1.33, the hub's client may make it a link to <cache_dir>/blobs/<2 digits>/<hash>
        snapshots/<commit>/<path>     links to blobs
        refs/<revision>               the commit that a branch or tag named when it was last asked for
        .baremetal-llm/               what this collection keeps: proofs, listings, downloads under way, progress, the lock

Everything here appears in one step, so that a reader never sees a part of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._files import sync_directory
from ansible_collections.baremetal.llm.plugins.module_utils._hub_access import Access
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import is_commit

DEFAULT_CACHE = "/var/lib/inference/hub"


@dataclass(frozen=True)
class Found:
    """A content that is there. ``place`` is where it really lies, relative to the repository's directory."""

    place: str
    size: int
    mtime_ns: int
    inode: int


class RepoCache:
    def __init__(self, cache_dir: str | os.PathLike[str], repo_id: str, access: Access | None = None) -> None:
        self.cache_dir = Path(cache_dir)
        self.access = access or Access()
        self.repo_id = repo_id
        self.root = self.cache_dir / f"models--{repo_id.replace('/', '--')}"
        self.blobs = self.root / "blobs"
        self.refs = self.root / "refs"
        self.snapshots = self.root / "snapshots"
        self.own = self.root / ".baremetal-llm"
        self.lock = self.own / "lock"
        self.progress = self.own / "progress.json"
        self._scratch = self.own / "new"

    # What is there

    def commit_of(self, revision: str) -> str | None:
        """The commit that ``revision`` is, as far as this cache knows."""
        if is_commit(revision):
            return revision
        try:
            commit = (self.refs / revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return commit if is_commit(commit) else None

    def commits(self) -> list[str]:
        try:
            return sorted(os.listdir(self.snapshots))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def snapshot(self, commit: str) -> Path:
        return self.snapshots / commit

    def pointer(self, commit: str, path: str) -> Path:
        return self.snapshots / commit / path

    def paths(self, commit: str) -> list[str]:
        """The files that the snapshot names, whether their contents are there or not."""
        top = self.snapshot(commit)
        return sorted(
            os.path.relpath(os.path.join(directory, name), top) for directory, _subdirectories, names in os.walk(top) for name in names
        )

    def found(self, path: Path) -> Found | None:
        """The content that a pointer or blob leads to."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return Found(self.place(path), status.st_size, status.st_mtime_ns, status.st_ino)

    def place(self, path: Path) -> str:
        return os.path.relpath(os.path.realpath(path), os.path.realpath(self.root))

    def blob_name(self, commit: str, path: str) -> str | None:
        """The blob that a pointer names, even when it is not there."""
        try:
            target = os.readlink(self.pointer(commit, path))
        except OSError:
            return None
        directory, name = os.path.split(os.path.normpath(os.path.join(os.path.dirname(self.pointer(commit, path)), target)))
        return name if directory == os.path.normpath(self.blobs) else None

    def partial(self, blob: str) -> Path:
        """Where a download waits until it is complete and proven; the next run goes on from there."""
        return self.own / f"{blob}.partial"

    # Changing it; the caller holds the lock

    def make(self, directory: Path) -> None:
        self.access.make_directory(directory, self.cache_dir)

    def put(self, partial: Path, blob: str) -> None:
        """Give a proven content its name, once it is on disk."""
        self.make(self.blobs)
        self.access.take(partial)
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(partial, self.blobs / blob)
        sync_directory(self.blobs)

    def link(self, commit: str, path: str, blob: str) -> None:
        pointer = self.pointer(commit, path)
        self.make(pointer.parent)
        self._scratch.unlink(missing_ok=True)
        self._scratch.symlink_to(os.path.relpath(self.blobs / blob, pointer.parent))
        os.replace(self._scratch, pointer)
        sync_directory(pointer.parent)

    def set_ref(self, revision: str, commit: str) -> None:
        reference = self.refs / revision
        self.make(reference.parent)
        # Not beside it: the hub's clients take every file below refs for a revision.
        self._scratch.unlink(missing_ok=True)
        self._scratch.write_text(commit, encoding="ascii")
        self.access.take(self._scratch)
        os.replace(self._scratch, reference)

    def tidy(self, keep: frozenset[str] | None = None) -> None:
        """Remove what killed runs have left; of the downloads those that are of other blobs than ``keep``, where that is given."""
        downloads = self.own.glob("*.partial") if keep is not None else ()
        for path in (*downloads, *self.own.glob(".*"), self._scratch):
            if path.name.removesuffix(".partial") not in (keep or ()):
                path.unlink(missing_ok=True)

    def directories(self, commit: str, paths: list[str]) -> Iterator[Path]:
        """The directories on the way to these files, as far as they are there."""
        parents = {parent for path in paths for parent in self.pointer(commit, path).parents if self.snapshots in parent.parents}
        for directory in (self.cache_dir, self.root, self.blobs, self.refs, self.snapshots, *sorted(parents)):
            if directory.is_dir():
                yield directory

    def remove_all(self) -> None:
        """Remove the repository, with what its clients keep beside it; and the cache, where nothing is left in it."""
        locks = self.cache_dir / ".locks"
        shutil.rmtree(locks / self.root.name, ignore_errors=True)
        shutil.rmtree(self.root)
        for directory in (locks, self.cache_dir):
            with contextlib.suppress(OSError):
                directory.rmdir()
