# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle packed: everything that the lock names fetched and proven, and what it no longer names removed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._bundle_manifest import LOCK, MODELS, SOURCES, SUMS, WHEELS, render_sums
from ansible_collections.baremetal.llm.plugins.module_utils._bundle_plan import (
    Bundle,
    Item,
    ModelItem,
    Plan,
    Request,
    SourceItem,
    WheelItem,
    check_fits,
    download_bytes,
    locked_models,
    make_plan,
    with_lock,
)
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import sha256_of, sync_directory, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._hub_errors import Asked, explained
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import LockedModel
from ansible_collections.baremetal.llm.plugins.module_utils._hub_present import Clients
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import Download, HubClient, HubFailure, Watcher, check_size
from ansible_collections.baremetal.llm.plugins.module_utils._hub_records import Proof, proof_of, read_proofs, write_proofs
from ansible_collections.baremetal.llm.plugins.module_utils._hub_state import wanted_of_lock
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked
from ansible_collections.baremetal.llm.plugins.module_utils._progress import Meter, ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._source import Identity, SourceCache, fetch
from ansible_collections.baremetal.llm.plugins.module_utils._wheel_download import download

_CHUNK = 4 << 20
_SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do."""

    plan: Plan
    changed: bool
    sums: dict[str, str]
    fetched: tuple[str, ...]
    removed: tuple[str, ...]
    downloaded_bytes: int = 0
    warnings: tuple[str, ...] = ()


def ensure_packed(bundle: Bundle, request: Request, clients: Clients, *, check_mode: bool) -> Outcome:
    bundle.check()
    plan = make_plan(bundle, request)
    if plan.changes:
        bundle.check_writable()
        check_fits(bundle, plan)
        for item in plan.fetch:
            check_size(item.place, item.size or 0)
    try:
        if check_mode:
            return _predicted(bundle, request, plan)
        if not plan.due:
            return Outcome(plan, False, with_lock(plan.sums, request), (), ())
        with _locked(bundle) as job:
            return _Packing(bundle, request, clients, job).run(plan)
    except OSError as error:
        raise _disk_error(bundle, error) from error


def verify(bundle: Bundle, request: Request, clients: Clients, *, check_mode: bool) -> Outcome:
    """Read every file again, whatever was proven before. What is damaged becomes known as such, so that the next run fetches it."""
    bundle.check()
    plan = make_plan(bundle, replace(request, trust=False))
    outcome = Outcome(plan, False, with_lock(plan.sums, request), (), ())
    if check_mode:
        return outcome
    bundle.check_writable()
    try:
        with _locked(bundle) as job:
            damaged = _Packing(bundle, request, clients, job).verify(plan)
    except OSError as error:
        raise _disk_error(bundle, error) from error
    lost = sorted({*damaged, *(item.place for item in plan.fetch)})
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise UserError(
            f"inference_bundle: of {bundle.root}, {', '.join(lost[:_SHOWN])}{more} is damaged or missing; run this on a connected machine "
            "without inference_bundle_verify, which fetches it, and bring it again",
            damaged=lost,
        )
    return outcome


@contextlib.contextmanager
def _locked(bundle: Bundle) -> Iterator[Job]:
    bundle.own.mkdir(parents=True, exist_ok=True)
    with (
        locked(bundle.lock) as lock,
        open(bundle.log, "w", encoding="utf-8", opener=_private) as log,
        ProgressFile(bundle.progress) as progress,
    ):
        yield Job(log, progress, (lock,))


def _predicted(bundle: Bundle, request: Request, plan: Plan) -> Outcome:
    fetched = tuple(sorted(item.place for item in plan.fetch))
    return Outcome(plan, plan.changes, with_lock(plan.sums, request), fetched, plan.stale, download_bytes(bundle, plan))


def _private(path: str, flags: int) -> int:
    # pip and git name where they fetch from, perhaps with a password that is not masked.
    return os.open(path, flags, 0o600)


def _disk_error(bundle: Bundle, error: OSError) -> UserError:
    where = f"inference_bundle: {error.filename or bundle.root}"
    if error.errno == errno.ENOSPC:
        return UserError(f"{where}: no space was left on its file system; free some and run this again, it goes on from what has arrived")
    return UserError(f"{where} can't be read or written: {error.strerror or error}; repair or replace the file system")


def _unwritable(bundle: Bundle, failure: HubFailure) -> Exception:
    if failure.kind == "space":
        return OSError(errno.ENOSPC, failure.detail)
    return UserError(
        f"inference_bundle: {failure.path} can't be written below {bundle.root}: {failure.detail}; repair its file system, or take one "
        "that holds files of this size (FAT ends at 4 GiB, exFAT and ext4 do not)",
        **failure.details,
    )


@dataclass
class _Packing:
    """One run that has the lock."""

    bundle: Bundle
    request: Request
    clients: Clients
    job: Job
    proofs: dict[str, Proof] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    received: int = 0

    def run(self, first: Plan) -> Outcome:
        bundle = self.bundle
        self.warnings += [f"{bundle.path(place)} was damaged, and is fetched again" for place in self.verify(first)]
        # What was read is proven now, or known to be something else; and somebody else may have been here.
        now = make_plan(bundle, self.request)
        if now.unproven:
            raise UserError(f"inference_bundle: {bundle.path(now.unproven[0])} was changed by somebody else meanwhile; run this again")
        check_fits(bundle, now)
        self._tidy(now.fetch)
        try:
            self._fetch_sources([item for item in now.fetch if isinstance(item, SourceItem)])
            self._fetch_wheels([item for item in now.fetch if isinstance(item, WheelItem)])
            self._fetch_models(now.fetch)
        finally:
            shutil.rmtree(bundle.work, ignore_errors=True)
        sums = with_lock({place: self.proofs[place].sha256 for place in now.items}, self.request)
        if now.changes:
            write_atomic(bundle.path(LOCK), self.request.lock_text.encode(), 0o644)
            write_atomic(bundle.path(SUMS), render_sums(sums).encode(), 0o644)
        self._remove(now.stale)
        fetched = tuple(sorted(item.place for item in now.fetch))
        return Outcome(first, now.changes, sums, fetched, now.stale, self.received, tuple(self.warnings))

    # Reading what is there

    def verify(self, plan: Plan) -> list[str]:
        """The places of what is not what it should be."""
        self.proofs = read_proofs(self.bundle)
        found = {place: there for place in plan.unproven if (there := self.bundle.found(place))}
        if not found:
            return []
        self.job.progress.step("verify the bundle", total=sum(there.size for there in found.values()), unit="bytes")
        meter, damaged = Meter(self.job.progress), []
        for place, there in found.items():
            digest = hashlib.sha256()
            with open(self.bundle.path(place), "rb", buffering=0) as content:
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
                    meter.add(len(chunk), place)
            # The state from before the reading: what changes meanwhile has to be read again.
            self.proofs[place] = proof_of(there, digest.hexdigest(), None)
            if digest.hexdigest() != plan.sums[place]:
                damaged.append(place)
            write_proofs(self.bundle, self.proofs)
        return damaged

    # Bringing what is not

    def _tidy(self, wanted: Sequence[Item]) -> None:
        """Remove what killed runs have left that is of no use any more."""
        shutil.rmtree(self.bundle.work, ignore_errors=True)
        (self.bundle.work / "tmp").mkdir(parents=True)
        keep = {self.bundle.partial(item.sha256) for item in wanted if item.sha256}
        for partial in self.bundle.own.glob("*.partial"):
            if partial not in keep:
                partial.unlink()
        wheels = {self._wheels(item.toolkit, item.machine) for item in wanted if isinstance(item, WheelItem)}
        for left in self.bundle.own.glob("wheels-*"):
            if left not in wheels:
                shutil.rmtree(left)

    def _wheels(self, toolkit: str, machine: str) -> Path:
        """Where pip brings wheels to; what it has brought before it was killed, it does not bring again."""
        return self.bundle.own / f"wheels-{toolkit}-{machine}"

    def _fetch_sources(self, items: Sequence[SourceItem]) -> None:
        cache = SourceCache(self.bundle.work / "sources")
        for number, item in enumerate(items):
            work = self.bundle.work / f"source-{number}"
            work.mkdir()
            fetch(item.source, Identity(item.digest, ""), cache, work, self.job)
            archive = cache.archive(item.digest)
            self.received += archive.stat().st_size
            self._put(archive, item.place, sha256_of(archive))

    def _fetch_wheels(self, items: Sequence[WheelItem]) -> None:
        for toolkit, machine in sorted({(item.toolkit, item.machine) for item in items}):
            missing = {item.wheel: item for item in items if (item.toolkit, item.machine) == (toolkit, machine)}
            into, what = self._wheels(toolkit, machine), f"CUDA {toolkit}"
            into.mkdir(exist_ok=True)
            no_space = f"inference_bundle: no space was left on the file system of {self.bundle.root} while {what} came; free some"
            wheels = download(list(missing), into, self.bundle.work, self.job, what, no_space=no_space, machine=machine)
            for wheel, path in zip(missing, wheels, strict=True):
                self.received += wheel.size
                self._put(path, missing[wheel].place, wheel.sha256)
            shutil.rmtree(into)

    def _fetch_models(self, items: tuple[Item, ...]) -> None:
        models = locked_models(items)
        if not models:
            return
        client = self.clients.provide(self.job.progress)
        for key, model in models.items():
            self._fetch_model(key.partition("@")[0], model, client)

    def _fetch_model(self, repo_id: str, model: LockedModel, client: HubClient) -> None:
        progress, partial = self.job.progress, self.bundle.partial
        asked = Asked(repo_id, model.commit, client.endpoint, client.token is not None, self.bundle.root, client.python, client.own)
        try:
            listing = client.look(repo_id, model.commit)
            wanted_of_lock([file.path for file in model.files], model, listing, repo_id)
            # A content that is there under several names comes once.
            files = {file.sha256: file for file in model.files}
            places = {sha256: [file for file in model.files if file.sha256 == sha256] for sha256 in files}
            downloads = [Download(listing.by_path()[file.path], partial(sha256)) for sha256, file in files.items()]
            left = sum(file.size - min(_size(partial(sha256)), file.size) for sha256, file in files.items())
            progress.step(f"fetch {repo_id}", total=left, unit="bytes")
            meter, strange = Meter(progress), list[UserError]()

            def complete(ended: Download, sha256: str, received: int) -> None:
                self.received += received
                if ended.partial != partial(sha256):
                    ended.partial.unlink()
                    strange.append(_other_than_locked(ended.file.path, repo_id, model.commit, sha256))
                    return
                first, *others = (ModelItem(repo_id, model.commit, file).place for file in places[sha256])
                self._put(ended.partial, first, sha256)
                for other in others:
                    shutil.copyfile(self.bundle.path(first), partial(sha256))
                    self._put(partial(sha256), other, sha256)

            watcher = Watcher(meter.set, complete, self.warnings.append, meter.pause, progress.beat)
            client.fetch(repo_id, model.commit, downloads, watcher, self.job.keep_open)
        except HubFailure as failure:
            if failure.kind in ("space", "disk"):
                raise _unwritable(self.bundle, failure) from failure
            raise explained(failure, asked) from failure
        if strange:
            raise strange[0]

    def _put(self, path: Path, place: str, sha256: str) -> None:
        """Give a proven content its place, once it is on disk."""
        dest = self.bundle.path(place)
        dest.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(0o644)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(path, dest)
        sync_directory(dest.parent)
        if found := self.bundle.found(place):
            self.proofs[place] = proof_of(found, sha256, None)
        write_proofs(self.bundle, self.proofs)

    # Removing what is no longer named

    def _remove(self, places: Sequence[str]) -> None:
        for place in places:
            self.bundle.path(place).unlink()
            self.proofs.pop(place, None)
        write_proofs(self.bundle, self.proofs)
        for top in (MODELS, SOURCES, WHEELS):
            for directory, _subdirectories, _names in os.walk(self.bundle.path(top), topdown=False):
                with contextlib.suppress(OSError):  # it holds something
                    os.rmdir(directory)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _other_than_locked(path: str, repo_id: str, commit: str, sha256: str) -> UserError:
    return UserError(
        f"{path} of {repo_id} at {commit} is not what the lock says: the hub gave sha256 {sha256}. A commit never changes, so one of the "
        "two is not what it seems: find out which before you write the lock anew"
    )
