# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bundle is to hold by its lock, compared with what is there. Nothing is changed here, nor asked over the network."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._bundle_manifest import (
    LOCK,
    MODELS,
    SOURCES,
    SUMS,
    WHEELS,
    model_place,
    parse_sums,
    render_sums,
    source_place,
    wheel_place,
)
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock, LockedSource, render
from ansible_collections.baremetal.llm.plugins.module_utils._disk import existing_parent, free_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import Found
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import LockedFile, LockedModel
from ansible_collections.baremetal.llm.plugins.module_utils._hub_records import read_proofs
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source
from ansible_collections.baremetal.llm.plugins.module_utils._wheel_download import Wheel, wheels_of

# Nobody tells before how large an archive of llama.cpp is; they are about half of this.
_SOURCE_BYTES = 150 << 20


# --- what belongs into it -----------------------------------------------------------------------------------------------


class Item(Protocol):
    """A file of it. What nobody tells about it before it is there is None."""

    @property
    def place(self) -> str: ...

    @property
    def sha256(self) -> str | None: ...

    @property
    def size(self) -> int | None: ...


@dataclass(frozen=True)
class ModelItem:
    repo_id: str
    commit: str
    file: LockedFile

    @property
    def place(self) -> str:
        return model_place(self.repo_id, self.commit, self.file.path)

    @property
    def sha256(self) -> str | None:
        return self.file.sha256

    @property
    def size(self) -> int | None:
        return self.file.size


@dataclass(frozen=True)
class SourceItem:
    """A commit does not tell what the sha256 of its archive will be."""

    source: Source
    digest: str

    @property
    def size(self) -> int | None:
        return None

    @property
    def place(self) -> str:
        return source_place(self.digest)

    @property
    def sha256(self) -> str | None:
        return None if self.source.kind == "git" else self.digest


@dataclass(frozen=True)
class WheelItem:
    toolkit: str
    machine: str
    wheel: Wheel

    @property
    def place(self) -> str:
        return wheel_place(f"{self.wheel.package}-{self.wheel.version}-{self.machine}.whl")

    @property
    def sha256(self) -> str | None:
        return self.wheel.sha256

    @property
    def size(self) -> int | None:
        return self.wheel.size


@dataclass(frozen=True)
class Request:
    """What is wanted. Without ``trust`` no proof of an earlier run counts."""

    lock: DeployLock
    machines: tuple[str, ...]
    trust: bool = True

    @property
    def lock_text(self) -> str:
        return render(self.lock)

    def items(self) -> Iterator[Item]:
        """What hosts would fetch; files that they hold themselves, such as an archive given by its path, are not part of it."""
        for locked in self.lock.llama_cpp:
            source = _source(locked)
            if source.remote:
                yield SourceItem(source, locked.digest)
        for version in self.lock.cuda_toolkits:
            for machine in self.machines:
                for wheel in wheels_of(version, machine):
                    yield WheelItem(version, machine, wheel)
        for key, entry in self.lock.models.items():
            for file in entry.model.files:
                yield ModelItem(key.rpartition("@")[0], entry.model.commit, file)


def _source(locked: LockedSource) -> Source:
    if locked.kind == "git":
        return Source("git", version=locked.version, repo=locked.place)
    if locked.kind == "pypi":
        return Source("pypi", version=locked.version, name=locked.place, sha256=locked.digest)
    place = {"url": locked.place} if "://" in locked.place else {"path": locked.place}
    return Source(locked.kind, version=locked.version, sha256=locked.digest, **place)


# --- what is there ------------------------------------------------------------------------------------------------------


class Bundle:
    """The directory. What is not for hosts is in a hidden one: proofs, downloads under way, progress, a log, the lock."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.own = self.root / ".baremetal-llm"
        self.lock = self.own / "lock"
        self.progress = self.own / "progress.json"
        self.log = self.own / "bundle.log"
        self.work = self.own / "work"

    def path(self, place: str) -> Path:
        return self.root / place

    def partial(self, sha256: str) -> Path:
        """Where a download waits until it is complete and proven; the next run goes on from there."""
        return self.own / f"{sha256}.partial"

    def check(self) -> None:
        """Refuse a directory that holds anything else: it is tidied without asking."""
        if not self.root.is_absolute():
            raise UserError(f"inference_bundle: {self.root} is not an absolute path; give one from / on")
        existing = existing_parent(self.root)
        if not existing.is_dir():
            raise UserError(f"inference_bundle: {existing} is not a directory; give the path of one, or one that does not exist yet")
        if existing == self.root and any(self.root.iterdir()) and not (self.own.is_dir() or self.path(SUMS).is_file()):
            raise UserError(f"inference_bundle: {self.root} is not empty and no bundle, so it is left alone; give a directory of its own")

    def check_writable(self) -> None:
        existing = existing_parent(self.root)
        for directory in (existing, self.own, *(self.root / name for name in (MODELS, SOURCES, WHEELS))):
            if directory.is_dir() and not os.access(directory, os.W_OK | os.X_OK):
                raise UserError(
                    f"inference_bundle: {directory} can't be written to by the user with the id {os.geteuid()}; "
                    "give a directory that the user may write to, on a file system that is not mounted read-only"
                )

    def sums(self) -> dict[str, str]:
        return parse_sums(read_text_or_none(self.path(SUMS)) or "")

    def found(self, place: str) -> Found | None:
        try:
            status = os.lstat(self.path(place))
        except OSError:
            return None
        return Found(place, status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else None

    def places(self) -> Iterator[str]:
        """All that is there for hosts, links and half-made directories included."""
        for top in (MODELS, SOURCES, WHEELS):
            for directory, subdirectories, names in os.walk(self.root / top):
                links = [name for name in subdirectories if os.path.islink(os.path.join(directory, name))]
                for name in (*names, *links):
                    yield os.path.relpath(os.path.join(directory, name), self.root)


# --- what is to be done -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a run would do. ``sums`` are those of the files that are there, ``unproven`` those of them that are to be read first."""

    items: Mapping[str, Item]
    sums: Mapping[str, str]
    unproven: tuple[str, ...]
    fetch: tuple[Item, ...]
    stale: tuple[str, ...]
    manifest_due: bool

    @property
    def changes(self) -> bool:
        """Whether anything would be different afterwards. That something is proven is no difference."""
        return bool(self.fetch or self.stale or self.manifest_due)

    @property
    def due(self) -> bool:
        return bool(self.changes or self.unproven)

    @property
    def long(self) -> bool:
        """Whether there is something to wait for."""
        return bool(self.fetch or self.unproven)


def make_plan(bundle: Bundle, request: Request) -> Plan:
    known, proofs = bundle.sums(), read_proofs(bundle)
    items = {item.place: item for item in request.items()}
    sums, unproven, fetch = {}, [], []
    for place, item in items.items():
        found, sha256 = bundle.found(place), item.sha256 or known.get(place)
        proof = proofs.get(place)
        proven = bool(found and proof and proof.holds_for(found))
        if found is None or sha256 is None or item.size not in (None, found.size) or (proof and proven and proof.sha256 != sha256):
            fetch.append(item)
            continue
        sums[place] = sha256
        if not (proven and request.trust):
            unproven.append(place)
    texts = {LOCK: request.lock_text, SUMS: render_sums(with_lock(sums, request))}
    manifest_due = any(read_text_or_none(bundle.path(place)) != text for place, text in texts.items())
    stale = tuple(sorted(place for place in bundle.places() if place not in items))
    return Plan(items, sums, tuple(unproven), tuple(fetch), stale, manifest_due)


def with_lock(sums: Mapping[str, str], request: Request) -> dict[str, str]:
    return {**sums, LOCK: hashlib.sha256(request.lock_text.encode()).hexdigest()}


def download_bytes(bundle: Bundle, plan: Plan) -> int:
    """How much is still to come, without what is there of it from a run that was cut short."""
    sizes = {item.sha256 or item.place: item.size or 0 for item in plan.fetch}
    return sum(max(size - _size(bundle.partial(sha256)), 0) for sha256, size in sizes.items())


def check_fits(bundle: Bundle, plan: Plan) -> None:
    needed = download_bytes(bundle, plan) + _SOURCE_BYTES * sum(item.size is None for item in plan.fetch)
    available = free_bytes(bundle.root)
    if available < needed:
        raise UserError(
            f"inference_bundle: what is missing in {bundle.root} needs {-(-needed >> 20)} MiB of free disk space, "
            f"{available >> 20} MiB are available; free some, or give a directory on a larger file system"
        )


def locked_models(items: tuple[Item, ...]) -> dict[str, LockedModel]:
    """The files that are wanted of each repository, by its name and commit as ``name@commit``."""
    models: dict[str, LockedModel] = {}
    for item in items:
        if isinstance(item, ModelItem):
            key = f"{item.repo_id}@{item.commit}"
            models[key] = LockedModel(item.commit, (*models.get(key, LockedModel("", ())).files, item.file))
    return models


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
