# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model from the hub brought into its cache, and every file of it proven by its sha256."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

from ansible_collections.baremetal.llm.plugins.module_utils._delivery import Wish, prove
from ansible_collections.baremetal.llm.plugins.module_utils._disk import existing_parent, free_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import Found, RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_errors import explained
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import HubFile, Listing
from ansible_collections.baremetal.llm.plugins.module_utils._hub_plan import Plan, Request, Settled, asked, make_plan, readable
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import Download, HubClient, HubFailure, Watcher, check_size
from ansible_collections.baremetal.llm.plugins.module_utils._hub_records import (
    Proof,
    proof_of,
    read_listing,
    read_proofs,
    write_listing,
    write_proofs,
)
from ansible_collections.baremetal.llm.plugins.module_utils._hub_state import File, State, Wanted, judge
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked
from ansible_collections.baremetal.llm.plugins.module_utils._progress import Meter, ProgressFile

_MIB = 1 << 20
_CHUNK = 4 << 20


class Clients(Protocol):
    """Where the hub's client comes from."""

    def ready(self) -> HubClient | None:
        """The client, if it is there."""

    def provide(self, progress: ProgressFile) -> HubClient:
        """The client, installed if it is not there."""


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do."""

    changed: bool
    plan: Plan
    files: tuple[File, ...]
    fetched: tuple[str, ...] = ()
    downloaded_bytes: int = 0
    warnings: tuple[str, ...] = ()
    asks_for: tuple[Wish, ...] = ()
    """What the controller has to send before it can go on."""


def ensure_present(request: Request, clients: Clients, *, check_mode: bool) -> Outcome:
    plan = make_plan(request, clients.ready())
    if plan.due:
        _check_writable(request.cache)
        _check_fits(request, plan)
    if check_mode or not plan.due:
        to_fetch = tuple(file.path for file in plan.to_fetch)
        warnings, asks_for = plan.settled.warnings, request.asks_for(plan)
        return Outcome(plan.changes, plan, plan.files, to_fetch, _download_bytes(request, plan), warnings, asks_for)
    try:
        return _run(request, clients, plan)
    except OSError as error:
        raise _disk_error(request.cache, error) from error


def _run(request: Request, clients: Clients, plan: Plan) -> Outcome:
    cache = request.cache
    cache.make(cache.own)
    with locked(cache.lock) as lock:
        # Whoever held the lock may have removed or brought some of it.
        cache.make(cache.own)
        with ProgressFile(cache.progress) as progress:
            return _Work(request, clients, progress, lock).run(plan)


def _check_writable(cache: RepoCache) -> None:
    existing = existing_parent(cache.root)
    if not existing.is_dir():
        raise UserError(f"cache_dir: {existing} is not a directory; give one, such as /var/lib/inference/hub")
    for directory in (existing, cache.blobs, cache.snapshots, cache.own):
        if directory.is_dir() and not os.access(directory, os.W_OK | os.X_OK):
            raise UserError(
                f"cache_dir: {directory} can't be written to by the user with the id {os.geteuid()}; run this with become: true, "
                "or give a directory that the user may write to (on a file system that is not mounted read-only)"
            )


def _check_fits(request: Request, plan: Plan) -> None:
    cache, needed = request.cache, _download_bytes(request, plan)
    for file in plan.to_fetch:
        check_size(file.path, file.size or 0)
    available = free_bytes(cache.root)
    if available < needed:
        raise UserError(
            f"cache_dir: what is missing of {request.repo_id} needs {-(-needed // _MIB)} MiB of free disk space below {cache.cache_dir}, "
            f"{available // _MIB} MiB are available; free some, or give a directory on a larger file system"
        )


def _download_bytes(request: Request, plan: Plan) -> int:
    """How much is still to come, without what is there of it from a run that was cut short."""
    sizes = {file.wanted.content: file.size or 0 for file in plan.to_fetch}
    return sum(max(size - _partial_size(request.cache, blob), 0) for blob, size in sizes.items())


def _partial_size(cache: RepoCache, blob: str) -> int:
    try:
        return cache.partial(blob).stat().st_size
    except OSError:
        return 0


@dataclass
class _Work:
    """One run that has the lock."""

    request: Request
    clients: Clients
    progress: ProgressFile
    lock: int
    warnings: list[str] = field(default_factory=list)
    proofs: dict[str, Proof] = field(default_factory=dict)
    fetched: dict[str, str] = field(default_factory=dict)
    """The blobs of the files that came, by path."""
    received: int = 0

    @property
    def cache(self) -> RepoCache:
        return self.request.cache

    def run(self, plan: Plan) -> Outcome:
        client = self.clients.provide(self.progress) if plan.blind else self.clients.ready()
        self.proofs = read_proofs(self.cache)
        first = make_plan(self.request, client, None if plan.blind else plan.settled)
        self.warnings += first.settled.warnings
        self._remember(first.settled)
        self._verify(first)
        # What was read is proven now, or known to be something else.
        now = make_plan(replace(self.request, trust=True), client, first.settled)
        if wishes := self.request.asks_for(now):
            self.cache.tidy(frozenset(wish.digest for wish in wishes))
            return Outcome(False, first, now.files, asks_for=wishes)
        if now.to_fetch and self.request.offline:
            self._adopt(now)
        elif now.to_fetch:
            client = client or self.clients.provide(self.progress)
            now = make_plan(replace(self.request, trust=True), client, now.settled)
            self._remember(now.settled)
            _check_fits(self.request, now)
            self._fetch(now, client)
        return self._finish(first, now)

    def _remember(self, settled: Settled) -> None:
        if settled.listing and read_listing(self.cache, settled.listing.commit) != settled.listing:
            write_listing(self.cache, settled.listing)

    def _finish(self, first: Plan, now: Plan) -> Outcome:
        cache, commit = self.cache, cast(str, now.commit)  # with the client, it is known
        files = []
        for file in now.files:
            blob = self.fetched.get(file.path, file.unlinked_blob)
            if blob is not None and cache.blob_name(commit, file.path) != blob:
                cache.link(commit, file.path, blob)
            done = judge(cache, commit, file.wanted, self.proofs)
            if done.state is not State.PROVEN:
                raise UserError(f"cache_dir: {cache.pointer(commit, file.path)} was changed by somebody else meanwhile; run this again")
            files.append(done)
        if now.ref_due:
            cache.set_ref(self.request.revision, commit)
        for path in cache.access.lacking(readable(cache, commit, files)):
            cache.access.grant(path)
        cache.tidy(frozenset())
        changed = first.changes or bool(self.fetched)
        return Outcome(changed, first, tuple(files), tuple(sorted(self.fetched)), self.received, tuple(self.warnings))

    # Reading what is there

    def _verify(self, plan: Plan) -> None:
        by_place = {found.place: (found, file.wanted) for file in plan.to_verify if (found := file.found)}
        if not by_place:
            return
        total = sum(found.size for found, _wanted in by_place.values())
        self.progress.step(f"verify {self.request.repo_id}", total=total, unit="bytes")
        meter = Meter(self.progress)
        for found, wanted in by_place.values():
            sha256, git_sha1 = self._digests(found, wanted, meter)
            # The state from before the reading: what changes meanwhile has to be read again.
            self.proofs[found.place] = proof_of(found, sha256, git_sha1)
            if not wanted.is_what_was_wanted(sha256, git_sha1):
                expected = wanted.sha256 or wanted.blob
                self.warnings.append(f"{self.cache.root / found.place} was damaged (sha256 {sha256}, not {expected})")
            write_proofs(self.cache, self.proofs)

    def _digests(self, found: Found, wanted: Wanted, meter: Meter) -> tuple[str, str | None]:
        sha256, git_sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % found.size) if wanted.git_sha1 else None
        with open(self.cache.root / found.place, "rb", buffering=0) as content:
            while chunk := content.read(_CHUNK):
                sha256.update(chunk)
                if git_sha1:
                    git_sha1.update(chunk)
                meter.add(len(chunk), wanted.path)
        return sha256.hexdigest(), git_sha1.hexdigest() if git_sha1 else None

    # Bringing what is not

    def _fetch(self, plan: Plan, client: HubClient) -> None:
        # What is missing was looked for at the hub.
        commit, listed = cast(str, plan.commit), cast(Listing, plan.settled.listing).by_path()
        by_blob = {listed[file.path].blob: (listed[file.path], file) for file in plan.to_fetch}
        downloads = [Download(file, self.cache.partial(blob)) for blob, (file, _file) in by_blob.items()]
        self.cache.tidy(frozenset(by_blob))
        total = _download_bytes(self.request, plan)
        self.progress.step(f"fetch {self.request.repo_id}", total=total, unit="bytes")
        meter = Meter(self.progress)
        mismatches: list[UserError] = []

        def complete(download: Download, sha256: str, received: int) -> None:
            self.received += received
            wanted = by_blob[download.file.blob][1].wanted
            if wanted.sha256 not in (None, sha256):
                download.partial.unlink()
                mismatches.append(_other_than_locked(download.file, wanted, sha256, self.request.repo_id))
                return
            self._keep(download.file.blob, sha256, None if download.file.lfs else download.file.blob)

        watcher = Watcher(meter.set, complete, self.warnings.append, meter.pause, self.progress.beat)
        try:
            client.fetch(self.request.repo_id, commit, downloads, watcher, (self.lock,))
        except HubFailure as failure:
            raise explained(failure, asked(self.request, client)) from failure
        if mismatches:
            raise mismatches[0]
        self.fetched = {file.path: listed[file.path].blob for file in plan.to_fetch}

    def _adopt(self, plan: Plan) -> None:
        """Take what the controller has sent."""
        by_sha256 = {cast(str, file.wanted.sha256): file for file in plan.to_fetch}
        self.progress.step(f"verify {self.request.repo_id}", total=sum(file.size or 0 for file in by_sha256.values()), unit="bytes")
        meter = Meter(self.progress)
        for sha256, file in by_sha256.items():
            partial, path = self.cache.partial(sha256), file.path
            prove(partial, sha256, f"{path} of {self.request.repo_id}", lambda count, path=path: meter.add(count, path))  # type: ignore[misc]
            self._keep(sha256, sha256, None)
            self.received += file.size or 0
        self.fetched = {file.path: cast(str, file.wanted.sha256) for file in plan.to_fetch}

    def _keep(self, blob: str, sha256: str, git_sha1: str | None) -> None:
        self.cache.put(self.cache.partial(blob), blob)
        found = cast(Found, self.cache.found(self.cache.blobs / blob))
        self.proofs[found.place] = proof_of(found, sha256, git_sha1)
        write_proofs(self.cache, self.proofs)


def _disk_error(cache: RepoCache, error: OSError) -> UserError:
    if error.errno == errno.ENOSPC:
        return UserError(f"cache_dir: no space was left on the file system of {cache.cache_dir}; free some and run this again")
    return UserError(
        f"cache_dir: {error.filename or cache.root} can't be read or written: {error.strerror or error}; repair or replace the file system"
    )


def _other_than_locked(file: HubFile, wanted: Wanted, sha256: str, repo_id: str) -> UserError:
    return UserError(
        f"expected.files: the lock says sha256 {wanted.sha256} for {file.path}, the hub gave {sha256} for {repo_id}. "
        "A commit never changes, so one of the two is not what it seems: find out which before you write the lock anew"
    )
