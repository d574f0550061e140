# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the models of services stand on their host. Nothing is read but headers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._disk import free_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._hub_parameters import checked_cache, environment_of, request_of
from ansible_collections.baremetal.llm.plugins.module_utils._hub_plan import make_plan
from ansible_collections.baremetal.llm.plugins.module_utils._memory_measured import PROGRAM
from ansible_collections.baremetal.llm.plugins.module_utils._memory_snapshot import read_snapshot
from ansible_collections.baremetal.llm.plugins.module_utils._model_directory import files as directory_files
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors
from ansible_collections.baremetal.llm.plugins.module_utils._received_file import Version, version_of
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_model import file_names, located, wanted_files
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import VLLM_MISTRAL, members, set_for


def sound_services(entries: Iterable[object]) -> list[Service]:
    """Those that can be understood; what is wrong with the others is told elsewhere."""
    parsed = [parse(entry) for entry in entries]
    return [service for service, problems in parsed if service is not None and not errors(problems)]


def expected_of(service: Service, locked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a lock says of its model."""
    expected: Mapping[str, Any] | None = (locked.get(service.name) or {}).get("expected")
    return expected


def look(params: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    """What the module returns."""
    services = sound_services(params["services"])
    uploads = {upload["dest"]: Version(upload["size"], upload["modified"]) for upload in params["uploads"]}
    directories = {params["cache_dir"], *map(os.path.dirname, uploads), *_directories(services)}
    return {
        "services": {service.name: _seen(service, params, scratch) for service in services},
        "uploads_due": [dest for dest, wanted in uploads.items() if version_of(dest) != wanted],
        "free_bytes": {directory: free_bytes(Path(directory)) for directory in sorted(directories)},
        "memory_mib": _memory_mib(),
        "cpus": os.cpu_count(),
        "calibrates": bool(params["binary"]) and os.access(os.path.join(os.path.dirname(params["binary"]), PROGRAM), os.X_OK),
    }


def _directories(services: Iterable[Service]) -> Iterator[str]:
    for service in services:
        if service.model.repo_id is None:
            yield os.path.dirname(service.model.file)


def _seen(service: Service, params: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    expected = expected_of(service, params["locked"])
    at = replace(service, model=replace(service.model, revision=expected["commit"])) if expected else service
    on_host = located(at, params["cache_dir"])
    files, incomplete = _directory(on_host) if service.engine == "vllm" else (file_names(on_host.model), "")
    sizes = [{"path": path, "size": _size(path)} for path in files]
    there = not incomplete and all(file["size"] is not None for file in sizes)
    return {
        "files": sizes,
        "incomplete": incomplete,
        "headers": _headers(on_host) if there else None,
        "hub": _hub(service, expected, params, scratch) if service.model.repo_id else None,
    }


def _directory(service: Service) -> tuple[list[str], str]:
    """The files of it that vLLM reads; and where some are missing, what is said of that."""
    directory = service.model.file
    if not os.path.isdir(directory):
        return [directory], "" if _size(directory) is None else f"{directory} is no directory, and vLLM reads a whole one"
    try:
        names = members(set_for(service.options), directory_files(directory), directory)
    except UserError as reason:
        return [], reason.msg.removeprefix("files: ")
    return [os.path.join(directory, name) for name in names], ""


def _headers(service: Service) -> dict[str, Any]:
    """Of the model and of its projector, or why they can't be read."""
    model = service.model
    try:
        if service.engine == "vllm":
            return {"model.file": read_snapshot(model.file, mistral=set_for(service.options) == VLLM_MISTRAL)}
        return {where: read_model(LocalFiles(where), path).as_dict() for where, path in model.files.items()}
    except UserError as reason:
        return {"unreadable": reason.msg}


def _hub(service: Service, expected: Mapping[str, Any] | None, params: Mapping[str, Any], scratch: str) -> dict[str, Any]:
    """What hf_model would have to do."""
    model = service.model
    wanted = {
        "repo_id": model.repo_id,
        "revision": model.revision,
        "files": wanted_files(service.engine, service.options, model.files.values()),
    }
    asked = {**params, **wanted, "expected": expected}
    try:
        plan = make_plan(request_of(asked, checked_cache(asked)), environment_of(asked, scratch).ready())
    except UserError as reason:
        passing = isinstance(reason, UnavailableError)
        return {"due": True, "commit": None, "files": [], "refused": {"msg": reason.msg, "passing": passing}}
    files = [{"path": file.path, "size": file.size, "present": not file.to_fetch} for file in plan.files]
    return {"due": plan.due, "commit": plan.commit, "files": files, "refused": None}


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
