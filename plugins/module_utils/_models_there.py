# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the models of services stand on their host, and what the services take of its memory. Nothing is read but headers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_shards import shard_names
from ansible_collections.baremetal.llm.plugins.module_utils._hub_parameters import checked_cache, environment_of, request_of
from ansible_collections.baremetal.llm.plugins.module_utils._hub_plan import make_plan
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors
from ansible_collections.baremetal.llm.plugins.module_utils._received_file import Version, version_of
from ansible_collections.baremetal.llm.plugins.module_utils._service import Model, Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_host import located
from ansible_collections.baremetal.llm.plugins.module_utils._service_memory import memory_of, no_model


def sound_services(entries: Iterable[object]) -> list[Service]:
    """Those that can be understood; what is wrong with the others is told elsewhere."""
    parsed = [parse(entry) for entry in entries]
    return [service for service, problems in parsed if service is not None and not errors(problems)]


def file_names(model: Model) -> list[str]:
    """All files of it, the further shards too."""
    return [name for path in model.files.values() for name in shard_names(path) or [path]]


def look(params: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    """What the module returns."""
    services = sound_services(params["services"])
    uploads = {upload["dest"]: Version(upload["size"], upload["modified"]) for upload in params["uploads"]}
    directories = {params["cache_dir"], *map(os.path.dirname, uploads), *_directories(services)}
    return {
        "services": {service.name: _seen(service, params, scratch) for service in services},
        "uploads_due": [dest for dest, wanted in uploads.items() if version_of(dest) != wanted],
        "free_bytes": {directory: _free_bytes(directory) for directory in sorted(directories)},
        "memory_mib": _memory_mib(),
    }


def _directories(services: Iterable[Service]) -> Iterator[str]:
    for service in services:
        if service.model.repo_id is None:
            yield os.path.dirname(service.model.file)


def _seen(service: Service, params: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    model = located(service, params["cache_dir"]).model
    # A hub model is there when its place says so; the files that it names are links.
    files = [{"path": path, "size": _size(path)} for path in file_names(model)]
    there = all(file["size"] is not None for file in files)
    return {
        "files": files,
        "memory": _memory(service, model, params) if there else None,
        "hub": _hub(service, params, scratch) if service.model.repo_id else None,
    }


def _memory(service: Service, model: Model, params: Mapping[str, Any]) -> dict[str, Any]:
    def headers() -> tuple[object, object]:
        return _header("model.file", model.file), _header("model.mmproj", model.mmproj)

    return memory_of(service, params["gpus"], headers, params["binary"])


def _header(where: str, path: str | None) -> object:
    return None if path is None else read_model(LocalFiles(where), path).as_dict()


def _hub(service: Service, params: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    """What hf_model would have to do."""
    model = service.model
    wanted = {"repo_id": model.repo_id, "revision": model.revision, "files": list(model.files.values())}
    asked = {**params, **wanted, "expected": params["expected"].get(service.name)}
    try:
        plan = make_plan(request_of(asked, checked_cache(asked)), environment_of(asked, scratch).ready())
    except UserError as reason:
        return {"due": True, "commit": None, "files": [], "problem": no_model(reason).as_dict()}
    files = [{"path": file.path, "size": file.size, "present": not file.to_fetch} for file in plan.files]
    return {"due": plan.due, "commit": plan.commit, "files": files, "problem": None}


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _free_bytes(directory: str) -> int | None:
    """Of the file system that it is on, or will be."""
    existing = next((path for path in (Path(directory), *Path(directory).parents) if path.exists()), None)
    if existing is None:
        return None
    status = os.statvfs(existing)
    return status.f_bavail * status.f_frsize


def _memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
