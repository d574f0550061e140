# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model from the hub takes: which commit and which files are meant, and how they stand in the cache.

A plan never changes anything, and asks the hub only for what the host does not know: a commit whose files are there and proven costs no
question and no look at a content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._delivery import Delivery, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_choice import chosen, is_glob, matches
from ansible_collections.baremetal.llm.plugins.module_utils._hub_errors import Asked, explained
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import Listing, LockedModel, is_commit
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubClient, HubFailure
from ansible_collections.baremetal.llm.plugins.module_utils._hub_records import Proof, read_listing, read_proofs
from ansible_collections.baremetal.llm.plugins.module_utils._hub_state import (
    File,
    State,
    Wanted,
    judge,
    wanted_of_listing,
    wanted_of_lock,
    wanted_of_snapshot,
)

_SHOWN = 5


@dataclass(frozen=True)
class Request:
    """What is wanted. Without ``trust`` no proof of an earlier run counts."""

    cache: RepoCache
    revision: str
    patterns: tuple[str, ...] = ()
    lock: LockedModel | None = None
    offline: bool = False
    delivery: Delivery | None = None
    trust: bool = True
    with_token: bool = False

    @property
    def repo_id(self) -> str:
        return self.cache.repo_id

    def asks_for(self, plan: Plan) -> tuple[Wish, ...]:
        """What the controller is to send from its bundle, which has only what a lock names."""
        if self.delivery is None or self.lock is None:
            return ()
        sent = self.delivery.delivered
        wanted = {file.wanted.sha256: file.path for file in plan.to_fetch if file.wanted.sha256}
        return tuple(Wish(sha256, f"{name} of {self.repo_id}") for sha256, name in wanted.items() if sha256 not in sent)


@dataclass(frozen=True)
class Settled:
    """What the revision is. ``listing`` is None where only the hub could tell and it was not asked."""

    commit: str | None
    listing: Listing | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run would do. ``blind`` is one that the hub could not be asked for, because its client is still to be installed."""

    settled: Settled
    files: tuple[File, ...]
    commit_before: str | None = None
    before: Mapping[str, str] = field(default_factory=dict)
    ref_due: bool = False
    lacking: tuple[Path, ...] = ()
    blind: bool = False

    @property
    def commit(self) -> str | None:
        return self.settled.commit

    @property
    def to_verify(self) -> list[File]:
        return [file for file in self.files if file.state is State.UNPROVEN]

    @property
    def to_fetch(self) -> list[File]:
        return [file for file in self.files if file.to_fetch]

    @property
    def long(self) -> bool:
        """Whether there is something to wait for."""
        return bool(self.blind or self.to_verify or self.to_fetch)

    @property
    def changes(self) -> bool:
        """Whether anything would be different afterwards. That something is proven is no difference."""
        return bool(self.blind or self.to_fetch or self.ref_due or self.lacking or any(file.unlinked_blob for file in self.files))

    @property
    def due(self) -> bool:
        return self.long or self.changes


def make_plan(request: Request, client: HubClient | None, settled: Settled | None = None) -> Plan:
    """Compare what is wanted with what is there; ``settled`` is what has been found out before."""
    cache = request.cache
    _check_against_lock(request)
    settled = settled or _settle(request, client)
    commit = settled.commit
    if commit is None:
        return Plan(settled, (), *_before(request, (), read_proofs(cache)), blind=True)
    proofs = read_proofs(cache)
    files = _judged(request, commit, settled.listing, proofs)
    incomplete = any(file.to_fetch for file in files)
    if incomplete and settled.listing is None and client is not None and not request.offline:
        settled = replace(settled, listing=_look(request, client, commit))
        files = _judged(request, commit, settled.listing, proofs)
    if incomplete and request.offline and not (request.delivery and request.lock):
        raise _incomplete_offline(request, commit, files)
    commit_before, before = _before(request, [file.path for file in files], proofs)
    return Plan(
        settled,
        tuple(files),
        commit_before,
        before,
        cache.commit_of(request.revision) != commit,
        tuple(cache.access.lacking(readable(cache, commit, files))),
        blind=settled.listing is None and not request.offline and (incomplete or not request.lock),
    )


def _check_against_lock(request: Request) -> None:
    lock = request.lock
    if lock and is_commit(request.revision) and request.revision != lock.commit:
        raise UserError(
            f"revision: {request.revision} is wanted of {request.repo_id}, but the lock (expected) is of {lock.commit}; "
            "write the lock anew, or go back to the revision that it is of"
        )


def _settle(request: Request, client: HubClient | None) -> Settled:
    cache, revision = request.cache, request.revision
    commit = request.lock.commit if request.lock else revision if is_commit(revision) else None
    if commit is not None:
        listing = read_listing(cache, commit)
        if request.lock or listing or request.offline or client is None:
            return Settled(commit, listing)
        return Settled(commit, _look(request, client, commit))
    known = cache.commit_of(revision)
    if request.offline:
        if known is None:
            raise UserError(
                f"revision: what {revision!r} of {request.repo_id} is can't be asked for offline, and {cache.refs} does not know it; "
                "give a commit (40 hexadecimal digits) or a lock, or run this once without offline"
            )
        return Settled(known, read_listing(cache, known))
    if client is None:
        return Settled(None)
    try:
        listing = client.look(request.repo_id, revision)
    except HubFailure as failure:
        return _last_known(request, client, known, failure)
    return Settled(listing.commit, listing)


def _last_known(request: Request, client: HubClient, commit: str | None, failure: HubFailure) -> Settled:
    """What the revision was when the hub could last be asked, if that is complete; a failure that will not pass by itself is told."""
    error = explained(failure, asked(request, client))
    listing = read_listing(request.cache, commit) if commit and failure.transient else None
    if commit is None or listing is None:
        raise error
    if any(file.to_fetch for file in _judged(request, commit, listing, read_proofs(request.cache))):
        raise error
    return Settled(commit, listing, (f"{error.msg}. The last known {request.revision}, {commit}, is complete and was taken",))


def _look(request: Request, client: HubClient, revision: str) -> Listing:
    try:
        return client.look(request.repo_id, revision)
    except HubFailure as failure:
        raise explained(failure, asked(request, client)) from failure


def _judged(request: Request, commit: str, listing: Listing | None, proofs: Mapping[str, Proof]) -> list[File]:
    return [judge(request.cache, commit, one, proofs, trust=request.trust) for one in _wanted(request, commit, listing)]


def _wanted(request: Request, commit: str, listing: Listing | None) -> list[Wanted]:
    cache, repo_id = request.cache, request.repo_id
    if request.lock:
        names = chosen(request.patterns, [file.path for file in request.lock.files], f"the lock (expected) of {repo_id}")
        return wanted_of_lock(names, request.lock, listing, repo_id)
    if listing:
        names = chosen(request.patterns, [file.path for file in listing.files], f"{repo_id} at {_called(request, commit)}")
        return wanted_of_listing(names, listing)
    there = cache.paths(commit)
    if request.offline:
        if not there:
            raise UserError(
                f"offline: {cache.snapshot(commit)} is not there, so nothing of {repo_id} at {commit} is on this host; "
                "run this once without offline, or bring the files here"
            )
        return wanted_of_snapshot(chosen(request.patterns, there, f"the copy of {repo_id} on this host"), cache, commit)
    # Before the hub has been asked, names are all that is known.
    return wanted_of_snapshot([name for name in request.patterns if not is_glob(name)], cache, commit)


def _called(request: Request, commit: str) -> str:
    return commit if request.revision == commit else f"{request.revision} ({commit})"


def _incomplete_offline(request: Request, commit: str, files: Iterable[File]) -> UserError:
    lost = [f"{file.path} ({file.state.value})" for file in files if file.to_fetch]
    return UserError(
        f"offline: the copy of {request.repo_id} at {commit} on this host is not complete: {', '.join(lost[:_SHOWN])}"
        f"{f' and {len(lost) - _SHOWN} more' if len(lost) > _SHOWN else ''}; run this once without offline, or bring the files here"
    )


def _before(request: Request, paths: Sequence[str], proofs: Mapping[str, Proof]) -> tuple[str | None, dict[str, str]]:
    """What the revision was before: its commit and, by path, the checksum of each file or how else it stands."""
    cache = request.cache
    commit = cache.commit_of(request.revision)
    there = cache.paths(commit) if commit else []
    files = {}
    for path in there:
        if commit and (path in paths or not request.patterns or any(matches(pattern, path) for pattern in request.patterns)):
            found = cache.found(cache.pointer(commit, path))
            proof = proofs.get(found.place) if found else None
            files[path] = proof.sha256 if proof and found and proof.holds_for(found) else "unproven" if found else "missing"
    return commit if there else None, files


def readable(cache: RepoCache, commit: str, files: Iterable[File]) -> list[Path]:
    """All that a service has to be able to read."""
    contents = [cache.root / file.found.place for file in files if file.found and not file.to_fetch]
    return [*cache.directories(commit, [file.path for file in files]), *contents]


def asked(request: Request, client: HubClient) -> Asked:
    return Asked(request.repo_id, request.revision, client.endpoint, request.with_token, request.cache.cache_dir, client.python, client.own)
