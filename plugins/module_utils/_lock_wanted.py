# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory wants for one host, as far as a lock can settle it; and whether the lock does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock, LockEntry, image_key, model_key
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_choice import chosen
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import (
    DEFAULT_ENDPOINT,
    DEFAULT_REVISION,
    check_path,
    check_repo_id,
    check_revision,
)
from ansible_collections.baremetal.llm.plugins.module_utils._image import Image, parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import KEYS
from ansible_collections.baremetal.llm.plugins.module_utils._service_model import wanted_files
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source, described_source

_RUN = "Run playbooks/lock.yml and commit what it writes"


@dataclass(frozen=True)
class WantedModel:
    """A model of the hub that a service wants: of ``files``, names, globs or sets of files, or all of the repository without one."""

    host: str
    service: str
    repo_id: str
    revision: str
    files: tuple[str, ...] = ()
    endpoint: str = DEFAULT_ENDPOINT
    token: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        return model_key(self.repo_id, self.revision)

    def is_covered_by(self, entry: LockEntry) -> bool:
        """Whether every file that it needs is locked. Of all files, only a lock that was written for the service has all."""
        try:
            chosen(self.files, [file.path for file in entry.model.files], "the lock")
        except UserError:
            return False
        return bool(self.files) or self.service in entry.services


@dataclass(frozen=True)
class WantedImage:
    """An image that a service runs in, without or with a digest of its own."""

    host: str
    service: str
    image: Image
    own: bool
    """Whether the service names it itself, or runs in the image that all without one of their own have."""
    plain: bool = False
    """Whether its registry is spoken to without TLS."""

    @property
    def key(self) -> str:
        return image_key(self.image)


@dataclass(frozen=True)
class Wanted:
    """``cuda_toolkit`` and ``nvidia_driver`` are versions, empty where none is chosen."""

    host: str
    models: tuple[WantedModel, ...] = ()
    images: tuple[WantedImage, ...] = ()
    source: Source | None = None
    cuda_toolkit: str = ""
    nvidia_driver: str = ""


def parse_wanted(raw: Mapping[str, Any], token: str = "") -> Wanted:
    """From the variables of a host, or an error that names the host and what is wrong there."""
    host = str(raw["host"])
    try:
        source = described_source(raw["llama_cpp_source"]) if raw.get("llama_cpp_source") else None
    except UserError as wrong:
        raise UserError(f"{host}: llama_cpp_source: {wrong.msg}") from None
    services = [service for service in raw.get("services") or () if isinstance(service, Mapping)]
    return Wanted(
        host=host,
        models=tuple(_model(host, service, raw, token) for service in services if _is_of_the_hub(service.get("model"))),
        images=tuple(_images(host, services, raw)),
        source=source,
        cuda_toolkit=str(raw.get("cuda_toolkit") or ""),
        nvidia_driver=str(raw.get("nvidia_driver") or ""),
    )


def _is_of_the_hub(model: object) -> bool:
    return isinstance(model, Mapping) and bool(model.get("repo_id"))


def _model(host: str, service: Mapping[str, Any], variables: Mapping[str, Any], token: str) -> WantedModel:
    raw, name = service["model"], _name(service)
    repo_id, revision = str(raw["repo_id"]), str(raw.get("revision") or DEFAULT_REVISION)
    options = service.get("options")
    named = [str(file) for file in (raw.get("file"), raw.get("mmproj")) if file]
    files = tuple(wanted_files(_choice(service, "engine"), options if isinstance(options, Mapping) else {}, named))
    try:
        check_repo_id(repo_id)
        check_revision(revision)
        for file in files:
            check_path("file", file)
    except UserError as wrong:
        raise UserError(f"{host}: the model of {name}: {wrong.msg}") from None
    return WantedModel(host, name, repo_id, revision, files, str(variables.get("endpoint") or DEFAULT_ENDPOINT), token)


def _images(host: str, services: Iterable[Mapping[str, Any]], variables: Mapping[str, Any]) -> Iterator[WantedImage]:
    base_image = str(variables.get("base_image") or "")
    plain = [str(registry) for registry in variables.get("insecure_registries") or ()]
    for service in services:
        if _choice(service, "manager") != "compose":
            continue
        own = str(service.get("image") or "")
        text = own or ("" if _choice(service, "engine") == "vllm" else base_image)
        image = parse_image(text) if text else None
        if text and image is None:
            where = f"the image of {_name(service)}" if own else "inference_base_image"
            raise UserError(f"{host}: {where}: {text!r} cannot name an image; write it as NAME:TAG, such as vllm/vllm-openai:v0.33.0")
        if image:
            yield WantedImage(host, _name(service), image, bool(own), image.registry in plain)


def _name(service: Mapping[str, Any]) -> str:
    return str(service.get("name"))


def _choice(service: Mapping[str, Any], key: str) -> str:
    return str(service.get(key) or KEYS[key]["default"])


def lock_problems(lock: DeployLock | None, wanted: Wanted, name: str, *, required: bool) -> Iterator[Problem]:
    """What the host would get that the lock (None without a file) does not settle, and what the lock knows otherwise."""
    finding = error if required else warning
    for model in wanted.models:
        if why := _not_locked(lock, model, name):
            yield finding("model_not_locked", f"{model.service}: {why}, so nothing proves that it is the model you meant", _RUN)
    for image in wanted.images:
        if not image.image.digest and (lock is None or image.key not in lock.images):
            place = f"not in {name}" if lock else f"not locked, for there is no {name}"
            message = f"{image.service}: the image {image.key} is {place}, so it can be another tomorrow"
            yield finding("image_not_locked", message, f"{_RUN}, or give its digest: {image.image.name}@sha256:…")
    source = wanted.source
    if source and (lock is None or not lock.lookup_source(source)):
        if not source.own_digest:
            message = f"llama_cpp_source: {name} does not settle what {source.label} is, so it can be another tomorrow"
            yield finding("source_not_locked", message, f"{_RUN}, or give {'a commit' if source.kind == 'git' else 'a sha256'}")
        elif lock:
            yield _outdated(name, f"llama_cpp_source is {source.label} now")
    if lock and wanted.cuda_toolkit and wanted.cuda_toolkit not in lock.cuda_toolkits:
        yield _outdated(name, f"cuda_toolkit_version is {wanted.cuda_toolkit} now")
    if lock and wanted.nvidia_driver and wanted.nvidia_driver not in lock.nvidia_drivers:
        yield _outdated(name, f"nvidia_driver_version is {wanted.nvidia_driver} now")


def _not_locked(lock: DeployLock | None, model: WantedModel, name: str) -> str:
    if lock is None:
        return f"{model.key} is not locked, for there is no {name}"
    entry = lock.models.get(model.key)
    if entry is None:
        return f"{model.key} is not in {name}"
    return "" if model.is_covered_by(entry) else f"{name} has {model.key} without all of {', '.join(model.files) or 'its files'}"


def _outdated(name: str, what: str) -> Problem:
    return warning("lock_outdated", f"{name} is older than the inventory: {what}", _RUN)
