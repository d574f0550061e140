# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model taken out of the hub's cache: exactly what no other revision and no other model needs.

Contents go before the names of files, and these before the name of the revision, so that the next run finds what one that was cut short
has left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_shards import shard_names
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_choice import matches
from ansible_collections.baremetal.llm.plugins.module_utils._hub_records import forget_listing, has_listing, read_proofs, write_proofs
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked

_SHARED_BLOB = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")


@dataclass(frozen=True)
class Removal:
    """What is to go. ``pointers`` are paths by commit; of the commits ``gone`` nothing is left then, and with ``whole`` of any."""

    pointers: dict[str, list[str]]
    blobs: tuple[str, ...]
    gone: tuple[str, ...]
    whole: bool

    @property
    def due(self) -> bool:
        return self.whole or bool(self.pointers or self.gone)

    @property
    def paths(self) -> list[str]:
        return sorted({path for paths in self.pointers.values() for path in paths})


def plan_removal(cache: RepoCache, revision: str | None, patterns: Sequence[str]) -> Removal:
    """Without a revision, all of them are meant; without patterns, all files."""
    there = {commit: cache.paths(commit) for commit in cache.commits()}
    meant = list(there) if revision is None else [commit for commit in [cache.commit_of(revision)] if commit]
    pointers = {commit: paths for commit in meant if (paths := _meant(there.get(commit, []), patterns))}
    left = {commit: [path for path in paths if path not in pointers.get(commit, ())] for commit, paths in there.items()}
    needed = {cache.blob_name(commit, path) for commit, paths in left.items() for path in paths}
    unneeded = {cache.blob_name(commit, path) for commit, paths in pointers.items() for path in paths} - needed
    whole = cache.root.is_dir() and not any(left.values())
    blobs = _names(cache.blobs) if whole else sorted(blob for blob in unneeded if blob)
    gone = [commit for commit in meant if not left.get(commit) and (commit in there or has_listing(cache, commit) or _refs(cache, commit))]
    return Removal(pointers, tuple(blobs), tuple(gone), whole)


def ensure_absent(cache: RepoCache, revision: str | None, patterns: Sequence[str], *, check_mode: bool) -> Removal:
    removal = plan_removal(cache, revision, patterns)
    if check_mode or not removal.due:
        return removal
    if not os.access(cache.root, os.W_OK | os.X_OK):
        raise UserError(
            f"cache_dir: {cache.root} can't be written to by the user with the id {os.geteuid()}; run this with become: true, "
            "or mount its file system writable"
        )
    with locked(cache.lock):
        # Whoever held the lock may have brought or removed some of it.
        _remove(cache, plan_removal(cache, revision, patterns))
    return removal


def _remove(cache: RepoCache, removal: Removal) -> None:
    for blob in removal.blobs:
        _remove_shared(cache, blob, frozenset(removal.blobs))
    if removal.whole:
        cache.remove_all()
        return
    cache.tidy()
    for blob in removal.blobs:
        (cache.blobs / blob).unlink(missing_ok=True)
        cache.partial(blob).unlink(missing_ok=True)
    write_proofs(cache, {place: proof for place, proof in read_proofs(cache).items() if cache.found(cache.root / place)})
    for commit, paths in removal.pointers.items():
        for path in paths:
            cache.pointer(commit, path).unlink(missing_ok=True)
            _remove_empty(cache.pointer(commit, path).parent, cache.snapshots)
    for commit in removal.gone:
        for directory, _subdirectories, _names_in_it in os.walk(cache.snapshot(commit), topdown=False):
            os.rmdir(directory)
        forget_listing(cache, commit)
        for reference in _refs(cache, commit):
            reference.unlink()
            _remove_empty(reference.parent, cache.root)


def _refs(cache: RepoCache, commit: str) -> list[Path]:
    """The branches and tags that name a commit."""
    files = [Path(directory, name) for directory, _subdirectories, names in os.walk(cache.refs) for name in names]
    return [file for file in files if cache.commit_of(os.path.relpath(file, cache.refs)) == commit]


def _meant(paths: Sequence[str], patterns: Sequence[str]) -> list[str]:
    if not patterns:
        return list(paths)
    found = {path for path in paths if any(matches(pattern, path) for pattern in patterns)}
    return [path for path in paths if path in found or not found.isdisjoint(shard_names(path))]


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_empty(directory: Path, top: Path) -> None:
    """Remove a directory and those above it, as far as they are empty."""
    while directory != top and top in directory.parents:
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent


# --- contents that repositories share -----------------------------------------------------------------------------------
#
# Since 1.33 the hub's client can keep contents once for all repositories; a repository's blob is then a link to it. Beside each lie a
# list of the links, and a lock.


def _remove_shared(cache: RepoCache, blob: str, going: frozenset[str]) -> None:
    """Remove the shared content behind a blob unless something that stays leads to it."""
    content = _shared_content(cache.blobs / blob, cache.cache_dir)
    if content is None:
        return
    mine = {cache.blobs / name for name in going}
    with _shared_lock(content):
        if not set(_links_to(content, cache.cache_dir)) - mine:
            content.unlink(missing_ok=True)
            content.with_name(f"{content.name}.refs").unlink(missing_ok=True)


def _shared_content(blob: Path, cache_dir: Path) -> Path | None:
    try:
        target = os.path.normpath(os.path.join(blob.parent, os.readlink(blob)))
    except OSError:
        return None
    shared = cache_dir / "blobs"
    place = os.path.relpath(target, shared)
    return shared / place if _SHARED_BLOB.fullmatch(place) else None


def _links_to(content: Path, cache_dir: Path) -> Iterator[Path]:
    for blobs in cache_dir.glob("*--*/blobs"):
        for name in _names(blobs):
            if _shared_content(blobs / name, cache_dir) == content:
                yield blobs / name


@contextlib.contextmanager
def _shared_lock(content: Path) -> Iterator[None]:
    """The lock that the hub's clients take, too."""
    try:
        descriptor = os.open(content.with_name(f"{content.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:  # the whole directory has gone
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
