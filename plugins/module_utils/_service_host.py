# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a host stands in the way of a service: its model, its binary, its port.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none
from ansible_collections.baremetal.llm.plugins.module_utils._gguf import trained_context
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import NotGgufError
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import is_cpu_build
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import clashing, endpoint, listeners, owners
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._readable import readable
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_neighbours import Owners, listens, name_of

# ProtectHome= and PrivateTmp= hide these from the service.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


def binary_problems(binary: str) -> Iterator[Problem]:
    if hidden := _hidden_below(binary):
        message = f"binary: {binary} lies below {hidden}, which the service does not see"
        yield error("binary_hidden", message, "Build it elsewhere, such as below /opt/llama.cpp")
    elif os.path.isdir(binary):
        yield error("binary_unusable", f"binary: {binary} is a directory", "Give the path of llama-server itself")
    elif not os.path.exists(binary):
        remedy = "Build llama.cpp first (baremetal.llm.llama_build), and give the path of its llama-server"
        yield error("binary_missing", f"binary: {binary} is not there", remedy)
    elif not os.access(binary, os.X_OK):
        yield error("binary_unusable", f"binary: {binary} is not executable", f"chmod 0755 {binary}, or build it again")


def release_problems(service: Service, release: str) -> Iterator[Problem]:
    """What the release says of itself. No error: whether the GPUs are really used is proven on the running process."""
    try:
        manifest = json.loads((read_text_or_none(Path(release, "manifest.json"))) or "null")
    except ValueError:
        return
    if service.gpus and is_cpu_build(manifest):
        yield warning(
            "cpu_release",
            f"gpus names {', '.join(service.gpus)}, but the release {release} was built for the CPU and knows no GPU",
            "Build llama.cpp with backend: cuda, or use gpus: []",
        )


def model_problems(service: Service, user: str, missing: Severity = Severity.ERROR) -> Iterator[Problem]:
    """``missing`` is what a missing file is: in check mode, a task before this one may still have to bring it."""
    remedy = "Put the file on the host, or correct the path"
    if service.model.repo_id is not None:
        remedy = "Fetch it with baremetal.llm.hf_model, or with the role models, or correct model.repo_id, model.revision and model.file"
    for where, path in service.model.files.items():
        yield from _file_problems(where, path, user, missing, remedy)


def model_version(service: Service) -> str:
    """What changes when one of the model's files is replaced, without reading them: bytes and time of modification in seconds."""
    return " ".join(_file_version(path) for path in service.model.files.values())


def _file_version(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:  # in check mode, a task before this one may still have to bring it
        return "missing"
    return f"{status.st_size}@{int(status.st_mtime)}"


def _hidden_below(path: str) -> str | None:
    names = (f"{path}/", f"{os.path.realpath(path)}/")  # the path itself and what it links to
    return next((hidden for hidden in _HIDDEN for name in names if name.startswith(f"{hidden}/")), None)


def _file_problems(where: str, path: str, user: str, missing: Severity, remedy: str) -> Iterator[Problem]:
    if hidden := _hidden_below(path):
        message = f"{where}: {path} lies below {hidden}, which the service does not see"
        yield error("model_hidden", message, "Put it elsewhere, such as below /srv/models")
        return
    if os.path.isdir(path):
        yield error(
            "model_is_directory", f"{where}: {path} is a directory", "Give the GGUF file in it; the first shard of a split model is enough"
        )
        return
    if not os.path.exists(path):
        yield Problem("model_missing", missing, f"{where}: {path} is not there", remedy)
        return
    try:
        trained_context(path)
    except NotGgufError as reason:
        yield error("model_not_gguf", f"{where}: {path} is not a GGUF file: it {reason}", "Download it again, or correct the path")
        return
    if not readable(path, user):
        remedy = f"Allow it: `sudo -u {user} test -r {path}` has to succeed, directories included"
        yield error("model_unreadable", f"{where}: {path} cannot be read by the user {user}, as which the service runs", remedy)


def model_context(service: Service) -> int | None:
    """The context length that the model was trained with, where there is a model to ask."""
    try:
        return trained_context(service.model.file)
    except OSError:
        return None


def port_problems(service: Service, own: str, others: Iterable[Path], port_owners: Owners) -> Iterator[Problem]:
    """Whoever else is to listen, or listens, where the service is to listen; the service itself, as its manager calls it, may."""
    services = [name_of(path) for path in others if _listens_at(path, service)]
    for name in services:
        yield error(
            "port_of_other_service",
            f"port: {service.port} is already the port of {name} on this host",
            "Give one of them another port, or remove that service with state: absent",
        )
    found = listeners()
    held = {listener for address in service.addresses for listener in clashing(found, address, service.port)}
    holders = owners([listener.inode for listener in held]) if held else {}
    for listener in sorted(held):
        process = holders.get(listener.inode)
        owner = port_owners.unit_of(process.pid) if process else None
        if owner in (own, *services):
            continue
        holder = f"{process}{f' of {owner}' if owner else ''}" if process else "a process that cannot be told"
        yield error(
            "port_in_use",
            f"port: {endpoint(listener.address, listener.port)} is held by {holder}",
            "Stop it, or give the service another port",
        )


def _listens_at(definition: Path, service: Service) -> bool:
    """Whether another service, running or not, is to listen at the same place."""
    theirs = listens(definition)
    return any(clashing(theirs, address, service.port) for address in service.addresses)
