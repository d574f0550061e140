# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of one host: what the inventory says, what the host says, and what the headers of models say that are still to come."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import rule_problems
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB
from ansible_collections.baremetal.llm.plugins.module_utils._models_there import expected_of, sound_services
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import Finding
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, errors, warning
from ansible_collections.baremetal.llm.plugins.module_utils._received_file import version_of
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_cpus import cpu_problems
from ansible_collections.baremetal.llm.plugins.module_utils._service_memory import gpus_of, memory_of, no_model, not_known, numbered
from ansible_collections.baremetal.llm.plugins.module_utils._service_model import file_names
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import set_for
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_host_rules import host_problems
from ansible_collections.baremetal.llm.plugins.plugin_utils._model_headers import HubHeaders, of_local

Seen = Mapping[str, Any]
"""What the module returned from the host."""


def uploads_of(local_files: Iterable[str], directory: str) -> list[dict[str, Any]]:
    """The files of the controller with where they go; size and time are None where there is no such file."""
    uploads = []
    for path in map(os.path.expanduser, local_files):
        version = version_of(path) if os.path.isfile(path) else None
        dest = f"{directory}/{os.path.basename(path)}"
        uploads.append({"src": path, "dest": dest, "size": version and version.size, "modified": version and version.modified})
    return uploads


class HostPlan:
    def __init__(self, params: dict[str, Any], uploads: list[dict[str, Any]], headers: HubHeaders) -> None:
        self.params = {**params, "gpus": numbered(params["gpus"])}
        self.uploads = [upload for upload in uploads if upload["size"] is not None]
        self._lost = [upload["src"] for upload in uploads if upload["size"] is None]
        self._headers = headers

    @cached_property
    def services(self) -> list[Service]:
        return sound_services(self.params["services"])

    def models_due(self, seen: Seen | None) -> bool:
        if seen is None:
            return True
        hubs = [found["hub"] for found in seen["services"].values() if found["hub"]]
        return bool(self._lost or seen["uploads_due"]) or any(hub["due"] for hub in hubs)

    def measuring(self, seen: Seen | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """The services that the host's own llama.cpp can be asked about, and with which arguments of memory_plan."""
        for service in self.services if seen and seen["calibrates"] else ():
            headers = seen["services"][service.name]["headers"] if seen else None
            if service.engine == "llama_server" and headers and "unreadable" not in headers:
                with contextlib.suppress(UserError):  # of a GPU that is not there, the calculated plan tells
                    yield service.name, self._request(service, headers)

    def entry(
        self, host: str, groups: list[str], seen: Seen | None, unreachable: str = "", measured: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The host as plan_report takes it; ``measured`` are plans that the host itself has made."""
        plans = [_ServicePlan(self, service, seen, (measured or {}).get(service.name)) for service in self.services]
        services = [plan.as_dict() for plan in plans]
        # Of what was found before, a plan may know as well, and of which service.
        planned = {_named(problem, service["name"]) for service in services if service["plan"] for problem in service["plan"]["problems"]}
        problems = [problem for problem in self.params["problems"] if _named(problem) not in planned]
        problems += [problem.as_dict() for problem in self._problems(unreachable if seen is None else "")]
        return {
            "host": host,
            "groups": groups,
            "gpus": self.params["gpus"],
            "memory_mib": seen and seen["memory_mib"],
            "driver": self.params["driver"],
            "toolkit": self.params["toolkit"],
            "models": [*(plan.model for plan in plans), *self._other_uploads(seen)],
            "services": services,
            "problems": [*problems, *(problem for plan in plans for problem in plan.problems)],
        }

    def gpu_memory_mib(self, entry: Mapping[str, Any]) -> dict[str, int]:
        """What each service holds of its GPUs for certain, as long as it has its model loaded."""
        sleeps = {service.name for service in self.services if "sleep_idle_seconds" in service.options}
        planned = {service["name"]: service["plan"] for service in entry["services"] if service["plan"]}
        return {name: _held_mib(plan) for name, plan in planned.items() if plan["gpus"] and name not in sleeps}

    def kv_cache_tokens(self, entry: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Between which numbers of tokens the cache of each service of vLLM will lie."""
        planned = {service["name"]: service["plan"]["capacity"] for service in entry["services"] if service["plan"]}
        return {
            name: {"low": capacity["kv_cache_tokens_low"], "high": capacity["kv_cache_tokens_high"]}
            for name, capacity in planned.items()
            if capacity
        }

    def findings(self, entry: dict[str, Any]) -> tuple[list[str], list[str]]:
        """The errors and the warnings; no warning that a later task repeats."""
        (host,) = parse_hosts([entry])
        told = {_named(problem) for problem in self.params["problems"]}
        of_llama = [service for service in self.services if service.engine == "llama_server"]
        rules = {service.name: {problem.code for problem in rule_problems(service)} for service in of_llama}
        warnings = [
            _text(finding)
            for finding in host.findings
            if not finding.is_error
            and _named(finding.problem.as_dict(), finding.service) not in told
            and finding.problem.code not in rules.get(finding.service or "", ())
        ]
        return [_text(finding) for finding in host.findings if finding.is_error], warnings

    def headers(self, service: Service, commit: str | None) -> dict[str, dict[str, Any]]:
        """Of a model that is not on the host, by the names of its files; of a whole one there is one, whose name is empty."""
        model = service.model
        if service.engine == "vllm" and model.repo_id is not None:
            return {model.file: self._headers.of_whole(model.repo_id, commit or model.revision, set_for(service.options))}
        return {name: self._header(service, name, commit) for name in model.files.values()}

    def _header(self, service: Service, name: str, commit: str | None) -> dict[str, Any]:
        if service.model.repo_id is not None:
            return self._headers.of(service.model.repo_id, commit or service.model.revision, name)
        source = next((upload["src"] for upload in self.uploads if upload["dest"] == name), None)
        if source is None:
            raise UserError(f"{name} is on the host or nowhere, and its header can't be read from here")
        return of_local(source)

    def _request(self, service: Service, headers: Mapping[str, Any]) -> dict[str, Any]:
        paths = {where: header["files"][0]["path"] for where, header in headers.items()}
        limit = service.resources.memory_bytes
        return {
            "model": paths["model.file"],
            "mmproj": paths.get("model.mmproj"),
            "options": dict(service.options),
            "resources": {"memory": str(limit)} if limit else {},
            "gpus": gpus_of(service, self.params["gpus"]),
            "binary": self.params["binary"],
        }

    def _problems(self, unreachable: str) -> Iterator[Problem]:
        for path in self._lost:
            message = f"models_local_files: {path!r} is not a file on the controller"
            yield error("local_file_missing", message, "Correct the path, or make the file first")
        if unreachable and self.services:
            message = f"The host can't be looked at ({unreachable}), so this plan is made from the inventory alone"
            yield warning(
                "host_unreachable", message, "Plan again once it can be reached; until then, inference_expected_gpus says which GPUs it has"
            )

    def _other_uploads(self, seen: Seen | None) -> Iterator[dict[str, Any]]:
        """Files that are to be copied without a service that names them."""
        named = {name for service in self.services for name in file_names(service.model)}
        others = [upload for upload in self.uploads if upload["dest"] not in named]
        if others:
            yield self.model(None, None, [self.upload(upload, seen) for upload in others], self.params["directory"], seen)

    def upload(self, upload: Mapping[str, Any], seen: Seen | None) -> dict[str, Any]:
        present = None if seen is None else upload["dest"] not in seen["uploads_due"]
        return {"path": upload["dest"], "size": upload["size"], "present": present}

    def model(
        self, repo_id: str | None, revision: str | None, files: list[dict[str, Any]], directory: str, seen: Seen | None
    ) -> dict[str, Any]:
        free = seen["free_bytes"].get(directory) if seen else None
        return {"repo_id": repo_id, "revision": revision, "files": files, "directory": directory, "free_bytes": free}


@dataclass(frozen=True)
class _ServicePlan:
    """One service of it."""

    host: HostPlan
    service: Service
    seen: Seen | None
    measured: Mapping[str, Any] | None

    @cached_property
    def found(self) -> Mapping[str, Any]:
        nothing: Mapping[str, Any] = {"files": [], "incomplete": "", "headers": None, "hub": None}
        return self.seen["services"][self.service.name] if self.seen else nothing

    @cached_property
    def hub(self) -> Mapping[str, Any]:
        return self.found["hub"] or {"commit": None, "files": [], "refused": None}

    @cached_property
    def commit(self) -> str | None:
        settled = expected_of(self.service, self.host.params["locked"]) or self.hub
        return settled.get("commit")

    @cached_property
    def headers(self) -> dict[str, dict[str, Any]] | UserError | None:
        """Of files that are still to come, by their names; None where all are there, or where nobody brings them."""
        if self.found["headers"] or self.missing or self.damaged:
            return None
        try:
            return self.host.headers(self.service, self.commit)
        except UserError as reason:
            return reason

    @cached_property
    def memory(self) -> Mapping[str, Any]:
        there: Mapping[str, Any] = self.found["headers"] or {}
        if self.measured:
            return {"plan": self.measured, "problem": None}
        if "unreadable" in there:
            return {"plan": None, "problem": not_known(UserError(there["unreadable"])).as_dict()}
        if there:
            return memory_of(self.service, self.host.params["gpus"], there["model.file"], there.get("model.mmproj"))
        if isinstance(self.headers, dict):
            named, model = self.headers, self.service.model
            return memory_of(self.service, self.host.params["gpus"], named[model.file], named[model.mmproj] if model.mmproj else None)
        return {"plan": None, "problem": None}

    @cached_property
    def missing(self) -> list[str]:
        """Files of the host that are not there, and that nobody brings."""
        if self.service.model.repo_id is not None or self.seen is None:
            return []
        brought = {upload["dest"] for upload in self.host.uploads}
        return [file["path"] for file in self.found["files"] if file["size"] is None and file["path"] not in brought]

    @property
    def damaged(self) -> str:
        """What is said of a directory of the host that is there and can't be served."""
        return "" if self.service.model.repo_id is not None else str(self.found["incomplete"])

    @cached_property
    def model(self) -> dict[str, Any]:
        model = self.service.model
        if model.repo_id is None:
            return self.host.model(None, None, list(self._files_of_host()), os.path.dirname(model.file), self.seen)
        headers = self.headers if isinstance(self.headers, dict) else {}
        revision = self.commit or next((header["commit"] for header in headers.values()), None) or model.revision
        return self.host.model(model.repo_id, revision, self._files_of_hub(), self.host.params["cache_dir"], self.seen)

    def _files_of_host(self) -> Iterator[dict[str, Any]]:
        uploads = {upload["dest"]: upload for upload in self.host.uploads}
        there = {file["path"]: file["size"] for file in self.found["files"]}
        for name in there or file_names(self.service.model):
            if name in uploads:
                yield self.host.upload(uploads[name], self.seen)
            else:
                yield {"path": name, "size": there.get(name), "present": None if self.seen is None else there.get(name) is not None}

    def _files_of_hub(self) -> list[dict[str, Any]]:
        headers = self.headers if isinstance(self.headers, dict) else {}
        sizes = {file["path"]: file["size"] for header in headers.values() for file in header["files"]}
        if self.hub["files"]:
            return [{**file, "size": sizes.get(file["path"]) if file["size"] is None else file["size"]} for file in self.hub["files"]]
        # Nobody has told the host yet which files there are; what a client would find there is told by its snapshot.
        present = None if self.seen is None else False
        return [{"path": name, "size": sizes.get(name), "present": present} for name in sizes or file_names(self.service.model)]

    @property
    def problems(self) -> Iterator[dict[str, Any]]:
        found: list[dict[str, str]] = [self.memory["problem"]] if self.memory["problem"] else []
        if self.hub["refused"]:
            kind = UnavailableError if self.hub["refused"]["passing"] else UserError
            found.append(no_model(kind(self.hub["refused"]["msg"])).as_dict())
        elif isinstance(self.headers, UserError):
            reason = no_model if self.service.model.repo_id else not_known
            found.append(reason(self.headers).as_dict())
        if self.damaged:
            message, _semicolon, remedy = f"model.file: {self.damaged}".partition("; ")
            found.append(error("model_incomplete", message, f"{remedy[:1].upper()}{remedy[1:]}" or "Correct model.file").as_dict())
        for path in self.missing:
            message = f"model: {path} is not on the host, and models_local_files does not bring it"
            found.append(error("model_missing", message, "Put the file there, correct the path, or name a model of the hub").as_dict())
        found += [problem.as_dict() for problem in errors(self._host_problems())]
        return ({**problem, "service": self.service.name} for problem in found)

    def _host_problems(self) -> Iterator[Problem]:
        """What stands between the service and its host. Of its warnings, the task that writes the service tells."""
        yield from cpu_problems(self.service, self.seen["cpus"] if self.seen else None)
        if self.service.engine == "vllm":
            driver = self.host.params["driver"] or {}
            yield from host_problems(
                self.service,
                gpus=self.host.params["gpus"],
                # That the two differ is told of the host.
                driver_version=driver.get("installed_version") or driver.get("wanted_version"),
                model_files=self._model_files,
            )

    @property
    def _model_files(self) -> list[str] | None:
        """The names of what vLLM will find; None where nobody can tell."""
        if self.service.model.repo_id is None:
            paths = [file["path"] for file in self.found["files"]] if self.found["headers"] else []
        else:
            paths = [file["path"] for file in self._files_of_hub()]
        return [os.path.basename(path) for path in paths if path] or None

    def as_dict(self) -> dict[str, Any]:
        service = self.service
        plan = self.memory["plan"]
        return {
            "name": service.name,
            "engine": service.engine,
            "port": service.port,
            "gpus": list(service.gpus),
            "fits": plan and plan["fits"],
            "plan": plan,
        }


def _named(problem: Mapping[str, Any], service: str | None = None) -> tuple[str, str]:
    """By what it is known again, whether it names its service itself or not."""
    return problem["code"], f"{service}: {problem['message']}" if service else problem["message"]


def _held_mib(plan: Mapping[str, Any]) -> int:
    weights = sum(gpu["weights_mib"] for gpu in plan["gpus"])
    if plan["capacity"]:
        # vLLM makes of all that is left a cache, which is no smaller than this.
        return int(weights + plan["capacity"]["kv_cache_tokens_low"] * plan["kv_bytes_per_token"] // MIB)
    return int(weights + sum(gpu["kv_cache_mib"] or 0 for gpu in plan["gpus"]))


def _text(finding: Finding) -> str:
    return f"{finding.service}: {finding.problem}" if finding.service else str(finding.problem)
