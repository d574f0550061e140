# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock made of what the inventory wants, of the lock before, and of what the hub and the repositories say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock, LockedSource, LockEntry
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_choice import chosen
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import MissingRevisionError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import HubFile, Listing, LockedFile, LockedModel
from ansible_collections.baremetal.llm.plugins.module_utils._hub_state import check_same
from ansible_collections.baremetal.llm.plugins.module_utils._lock_wanted import Wanted, WantedImage, WantedModel
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source

_SHOWN_DIGITS = 12


class World(Protocol):
    """What is asked outside of this machine."""

    def look(self, model: WantedModel, revision: str) -> Listing: ...

    def sha256(self, model: WantedModel, commit: str, file: HubFile) -> str: ...

    def image_digest(self, image: WantedImage) -> str:
        """What the registry has under the tag now, for all platforms."""

    def digest(self, source: Source) -> str:
        """The commit that a branch or tag is at now, or the sha256 of a version on the package index."""


@dataclass(frozen=True)
class Mode:
    """``update`` asks anew what is locked already. ``keep`` leaves what none of these hosts wants, because others may."""

    update: bool = False
    keep: bool = False


def settled(hosts: Sequence[Wanted], before: DeployLock, world: World, mode: Mode) -> DeployLock:
    wants: dict[str, list[WantedModel]] = {}
    for model in sorted((model for host in hosts for model in host.models), key=lambda model: not model.token):
        wants.setdefault(model.key, []).append(model)  # one with a token first, for it asks for all of them
    others = before if mode.keep else DeployLock()
    models = {key: _model(wants[key], before.models.get(key), world, mode) for key in sorted(wants)}
    return DeployLock(
        models={**others.models, **models},
        llama_cpp=_sources([host.source for host in hosts if host.source], before, others, world, mode),
        cuda_toolkits=_merged(others.cuda_toolkits, (host.cuda_toolkit for host in hosts)),
        nvidia_drivers=_merged(others.nvidia_drivers, (host.nvidia_driver for host in hosts)),
        images={**others.images, **_images([image for host in hosts for image in host.images], before, world, mode)},
    )


def _merged(others: Iterable[str], versions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*others, *filter(None, versions)}))


# --- models -------------------------------------------------------------------------------------------------------------


def _model(wants: Sequence[WantedModel], before: LockEntry | None, world: World, mode: Mode) -> LockEntry:
    first = wants[0]
    try:
        listing = _listing(first, before, world, mode)
        names = {name for want in wants for name in chosen(want.files, listing.by_path(), f"{first.repo_id} at {listing.commit}")}
        if before and mode.keep:
            names.update(chosen([file.path for file in before.model.files], listing.by_path(), f"{first.repo_id} at {listing.commit}"))
        known = {file.path: file for file in before.model.files} if before and before.model.commit == listing.commit else {}
        files = tuple(_file(first, listing, name, known.get(name), world) for name in sorted(names))
    except UserError as failed:
        who = ", ".join(sorted({f"{want.service} on {want.host}" for want in wants}))
        raise UserError(f"{first.key} ({who}): {failed.msg}", **failed.details) from None
    services = {want.service for want in wants} | set(before.services if before and mode.keep else ())
    return LockEntry(LockedModel(listing.commit, files), tuple(sorted(services)))


def _listing(model: WantedModel, before: LockEntry | None, world: World, mode: Mode) -> Listing:
    if before is None or mode.update:
        return world.look(model, model.revision)
    try:
        return world.look(model, before.model.commit)
    except MissingRevisionError as failed:
        remedy = f"it is the commit that the lock has; take what {model.revision} is now with -e inference_lock_update=true"
        raise UserError(f"{failed.msg.partition(';')[0]}; {remedy}") from None


def _file(model: WantedModel, listing: Listing, name: str, known: LockedFile | None, world: World) -> LockedFile:
    file = listing.by_path()[name]
    if known:
        check_same(known, file.size, file.sha256, f"{model.repo_id} at {listing.commit}")
    sha256 = file.sha256 or (known.sha256 if known else world.sha256(model, listing.commit, file))
    return LockedFile(name, file.size, sha256)


# --- sources of llama.cpp -----------------------------------------------------------------------------------------------


def _sources(sources: Sequence[Source], before: DeployLock, others: DeployLock, world: World, mode: Mode) -> tuple[LockedSource, ...]:
    found: list[LockedSource] = []
    for source in sorted(sources, key=lambda source: not source.own_digest):  # what one host settles answers for another that does not
        if not any(locked.is_of(source) for locked in found):
            found.append(LockedSource.of(source, _digest(source, before, world, mode)))
    names = {locked.name for locked in found}
    return tuple(sorted([*found, *(locked for locked in others.llama_cpp if locked.name not in names)]))


def _digest(source: Source, before: DeployLock, world: World, mode: Mode) -> str:
    if source.own_digest:
        return source.own_digest
    known = before.lookup_source(source)
    # A version of a package on an index never changes.
    if known and (source.kind == "pypi" or not mode.update):
        return known.digest
    return world.digest(source)


# --- images ------------------------------------------------------------------------------------------------------------


def _images(wants: Sequence[WantedImage], before: DeployLock, world: World, mode: Mode) -> dict[str, str]:
    """Those with a digest of their own need no lock."""
    by_key: dict[str, list[WantedImage]] = {}
    for want in wants:
        if not want.image.digest:
            by_key.setdefault(want.key, []).append(want)
    return {key: _image(key, by_key[key], before, world, mode) for key in sorted(by_key)}


def _image(key: str, wants: Sequence[WantedImage], before: DeployLock, world: World, mode: Mode) -> str:
    known = before.images.get(key)
    if known and not mode.update:
        return known
    try:
        return world.image_digest(wants[0])
    except UserError as failed:
        who = ", ".join(sorted({f"{want.service} on {want.host}" for want in wants}))
        raise UserError(f"{key} ({who}): {failed.msg}", **failed.details) from None


# --- what moved ---------------------------------------------------------------------------------------------------------


def moves(before: DeployLock, after: DeployLock) -> list[str]:
    """For people: a line for each entry that is new, gone or other than before."""
    was, is_now = _told(before), _told(after)
    return [
        f"{name}: {was[name]} → {is_now[name]}" if name in was and name in is_now else f"{name}: {is_now.get(name, 'gone')}"
        for name in sorted({*was, *is_now})
        if was.get(name) != is_now.get(name)
    ]


def _told(lock: DeployLock) -> dict[str, str]:
    models = {key: _summary(entry) for key, entry in lock.models.items()}
    sources = {" ".join(filter(None, source.name)): source.digest[:_SHOWN_DIGITS] for source in lock.llama_cpp}
    toolkits = {f"CUDA toolkit {version}": "chosen" for version in lock.cuda_toolkits}
    images = {f"image {key}": digest.partition(":")[2][:_SHOWN_DIGITS] for key, digest in lock.images.items()}
    return {**models, **images, **sources, **toolkits, **{f"NVIDIA driver {version}": "chosen" for version in lock.nvidia_drivers}}


def _summary(entry: LockEntry) -> str:
    count = len(entry.model.files)
    services = f" for {', '.join(sorted(entry.services))}" if entry.services else ""
    return f"{entry.model.commit[:_SHOWN_DIGITS]}, {count} file{'' if count == 1 else 's'}{services}"
