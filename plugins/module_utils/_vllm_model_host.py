# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of vLLM on its host: a directory, of the hub's cache or of somebody's own. Of its files, only config.json is read.

The service's paths are those of the host (see _service_model.located).

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._model_directory import files
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, error
from ansible_collections.baremetal.llm.plugins.module_utils._readable import first_unreadable
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import CONFIG, members, set_for


def problems(service: Service, user: str, missing: Severity = Severity.ERROR) -> Iterator[Problem]:
    """``missing`` is what a missing file is: in check mode, a task before this one may still have to bring it."""
    directory = service.model.file
    of_hub = service.model.repo_id is not None
    where = "model" if of_hub else "model.file"
    fetch = "Fetch it with baremetal.llm.hf_model, or with the role models, or correct model.repo_id and model.revision"
    if not os.path.exists(directory):
        remedy = fetch if of_hub else "Put the model there, or correct the path"
        yield Problem("model_missing", missing, f"{where}: {directory} is not there", remedy)
        return
    if not os.path.isdir(directory):
        remedy = "Give the directory that holds its config.json, its tokenizer and its weights"
        yield error("model_not_directory", f"{where}: {directory} is no directory, and vLLM reads a whole one", remedy)
        return
    there = files(service.model.file)
    try:
        needed = members(set_for(service.options), there, directory)
    except UserError as reason:
        what, _semicolon, remedy = reason.msg.removeprefix("files: ").partition("; ")
        remedy = fetch if of_hub else f"{remedy[:1].upper()}{remedy[1:]}"
        yield Problem("model_incomplete", missing if of_hub else Severity.ERROR, f"{where}: {what}", remedy)
        return
    paths = [os.path.join(directory, name) for name in needed]
    if not of_hub:
        yield from _outside(directory, paths)
    if unreadable := first_unreadable(paths, user):
        remedy = f"Allow it: `sudo -u {user} test -r {unreadable}` has to succeed, directories included"
        yield error("model_unreadable", f"model: {unreadable} cannot be read by the user {user}, as which the service runs", remedy)
    yield from _config_problems(directory)


def version(service: Service) -> str:
    """What changes when one of the model's files is replaced, without reading them: of bytes and times of modification in seconds."""
    directory = service.model.file
    try:
        names = members(set_for(service.options), files(service.model.file), directory)
        seen = [(name, os.stat(os.path.join(directory, name))) for name in names]
    except (UserError, OSError):  # in check mode, a task before this one may still have to bring it
        return "missing"
    told = "\n".join(f"{name} {status.st_size}@{int(status.st_mtime)}" for name, status in seen)
    return f"{len(seen)} files {hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _outside(directory: str, paths: list[str]) -> Iterator[Problem]:
    """A container sees the directory and nothing else."""
    top = os.path.realpath(directory)
    for path in paths:
        target = os.path.realpath(path)
        if os.path.commonpath([top, target]) != top:
            yield error(
                "model_outside",
                f"model: {path} is a link to {target}, outside of the directory, which is all that the container sees",
                "Put the file itself there, or name the model by model.repo_id",
            )
            return


def _config_problems(directory: str) -> Iterator[Problem]:
    path = Path(directory, CONFIG)
    try:
        whole = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:  # Mistral's own format has another one
        return
    except (OSError, ValueError):
        whole = False
    if not whole:
        yield error("model_config_invalid", f"model: {path} is not JSON of a configuration", "Fetch it again, or correct it")
