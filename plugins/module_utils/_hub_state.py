# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the files that are wanted stand in the cache: a few looks at each, and none at its content."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import Found, RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import Listing, LockedFile, LockedModel
from ansible_collections.baremetal.llm.plugins.module_utils._hub_records import Proof

SHA1_DIGITS, SHA256_DIGITS = 40, 64


class State(str, enum.Enum):
    PROVEN = "proven"
    """There, and it was read to the end since it last changed."""
    UNPROVEN = "unproven"
    """There, and to be read before it is trusted."""
    WRONG = "wrong"
    """There, but it is something else."""
    MISSING = "missing"


@dataclass(frozen=True)
class Wanted:
    """A file that is to be there. What nobody has told about it yet is None."""

    path: str
    size: int | None = None
    sha256: str | None = None
    blob: str | None = None

    @property
    def content(self) -> str:
        """What tells the content from others, as far as it is known."""
        return self.blob or self.sha256 or self.path

    @property
    def git_sha1(self) -> str | None:
        """What the content is known by where nobody tells its sha256."""
        return self.blob if self.sha256 is None and self.blob is not None and len(self.blob) == SHA1_DIGITS else None

    def is_what_was_wanted(self, sha256: str, git_sha1: str | None) -> bool:
        """Whether a content with these checksums is this file. One of which nothing is known is taken as it is."""
        return self.sha256 in (None, sha256) and self.git_sha1 in (None, git_sha1)


@dataclass(frozen=True)
class File:
    """``unlinked_blob`` is the name of a content that is there without the snapshot naming it."""

    wanted: Wanted
    state: State
    found: Found | None = None
    sha256: str | None = None
    unlinked_blob: str | None = None

    @property
    def path(self) -> str:
        return self.wanted.path

    @property
    def size(self) -> int | None:
        return self.wanted.size if self.wanted.size is not None else self.found.size if self.found else None

    @property
    def to_fetch(self) -> bool:
        return self.state in (State.MISSING, State.WRONG)


def wanted_of_lock(names: Iterable[str], lock: LockedModel, listing: Listing | None, repo_id: str) -> list[Wanted]:
    """With the hub's listing of the same commit, both must say the same; it adds how the contents are called in a cache."""
    locked = {file.path: file for file in lock.files}
    listed = listing.by_path() if listing else {}
    wanted = []
    for name in names:
        file, known = locked[name], listed.get(name)
        if listing and known is None:
            raise UserError(f"expected.files: {name} is not in {repo_id} at {lock.commit}, so the lock is not of this model; write it anew")
        if known is not None:
            check_same(file, known.size, known.sha256, f"{repo_id} at {lock.commit}", "expected.files: ")
        wanted.append(Wanted(name, file.size, file.sha256, known.blob if known else None))
    return wanted


def check_same(locked: LockedFile, size: int, sha256: str | None, repo: str, where: str = "") -> None:
    """What the hub says of a file has to be what the lock says; ``where`` begins the message that it is not."""
    for what, ours, theirs in (("size", locked.size, size), ("sha256", locked.sha256, sha256)):
        if theirs is not None and ours != theirs:
            raise UserError(
                f"{where}the lock says {what} {ours} for {locked.path}, the hub says {theirs} for {repo}. "
                "A commit never changes, so one of the two is not what it seems: find out which before you write the lock anew"
            )


def wanted_of_listing(names: Iterable[str], listing: Listing) -> list[Wanted]:
    files = listing.by_path()
    return [Wanted(name, files[name].size, files[name].sha256, files[name].blob) for name in names]


def wanted_of_snapshot(names: Iterable[str], cache: RepoCache, commit: str) -> list[Wanted]:
    """When nobody can be asked: what the cache itself says about the files that it has."""
    wanted = []
    for name in names:
        blob = cache.blob_name(commit, name)
        wanted.append(Wanted(name, sha256=blob if blob and len(blob) == SHA256_DIGITS else None, blob=blob))
    return wanted


def judge(cache: RepoCache, commit: str, wanted: Wanted, proofs: Mapping[str, Proof], *, trust: bool = True) -> File:
    """How one file stands; without ``trust`` no proof counts."""
    found, unlinked = cache.found(cache.pointer(commit, wanted.path)), None
    # Another revision may have brought the same content.
    for blob in (wanted.blob, wanted.sha256):
        if found is None and blob is not None:
            found, unlinked = cache.found(cache.blobs / blob), blob
    if found is None:
        return File(wanted, State.MISSING)
    file = File(wanted, State.UNPROVEN, found, unlinked_blob=unlinked)
    if wanted.size is not None and found.size != wanted.size:
        return replace(file, state=State.WRONG)
    proof = proofs.get(found.place)
    if proof is None or not proof.holds_for(found):
        return file
    if wanted.git_sha1 is not None and proof.git_sha1 is None:
        return file
    if not wanted.is_what_was_wanted(proof.sha256, proof.git_sha1):
        return replace(file, state=State.WRONG)
    return replace(file, state=State.PROVEN if trust else State.UNPROVEN, sha256=proof.sha256)
