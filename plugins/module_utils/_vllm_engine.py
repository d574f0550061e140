# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vLLM as the engine of a service: its image brings it, and what its release accepts is known without asking it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ansible_collections.baremetal.llm.plugins.module_utils import _vllm_model_host as model_host
from ansible_collections.baremetal.llm.plugins.module_utils._container_files import model_reads, option_reads, outermost
from ansible_collections.baremetal.llm.plugins.module_utils._container_image import fetch
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._model_directory import files
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_engine import Engine, Inside
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Container, Launch, launch_of
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_host_rules import host_problems
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_options import (
    alias,
    arguments,
    max_model_len,
    shutdown_timeout,
    static_problems,
)

_PROGRAM = ("vllm", "serve")
# It takes its key from a variable alone, which Docker would show: the variable is made where only the process sees it. Without a key in
# it, vLLM would serve everybody.
_WITH_KEY = 'set -e; VLLM_API_KEY="$(cat %s)"; [ -n "$VLLM_API_KEY" ]; export VLLM_API_KEY; exec vllm serve "$@"'

# What it takes after its own time to end: its processes wait for each other.
_SECONDS_TO_END = 15
# Processes that share a model pass on what they compute through /dev/shm, where Docker's 64 MiB are too little for two.
_SHARED_BY_PROCESSES = 4 * 2**30

_ENVIRONMENT = {
    "VLLM_CACHE_ROOT": "{state}/cache/vllm",
    "TRITON_CACHE_DIR": "{state}/cache/triton",
    "TORCHINDUCTOR_CACHE_DIR": "{state}/cache/inductor",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


class Vllm(Engine):
    def __init__(self, service: Service, request: Request, docker: Docker) -> None:
        self._service = service
        self._request = request
        self._docker = docker

    @property
    def known(self) -> bool:
        return True

    def model_problems(self, missing: Severity) -> Iterable[Problem]:
        return model_host.problems(self._service, self._request.user, missing)

    def ask(self, *, predict: bool) -> Iterator[Problem]:
        """Its release is read off the image's name. What it refuses is told before the image, which is large, is fetched."""
        found = list(static_problems(self._service))
        yield from found
        if not any(problem.severity is Severity.ERROR for problem in found):
            yield from fetch(self._docker, "image", self._service.image or "", pull=self._request.pull, predict=predict)

    def launch(self, inside: Inside, gpus: GpuAccess | None) -> tuple[Launch, list[Problem]]:
        service = self._service
        lines, _told = arguments(service, service.model.file, inside.addresses[0])  # what is wrong, static_problems tells as well
        launch = launch_of(service, _PROGRAM[0], lines, gpus, model_version=model_host.version(service))
        home = os.path.join(self._request.state_directory, service.name)
        with_key = ("/bin/sh", "-c", _WITH_KEY % inside.key_file, _PROGRAM[0])
        container = Container(
            image=service.image or "",
            entrypoint=_PROGRAM if service.api_key is None else with_key,
            reads=outermost([*model_reads(service, self._request.hub_cache), *option_reads(service.options, home)]),
            environment=_ENVIRONMENT,
            stop_seconds=shutdown_timeout(service) + _SECONDS_TO_END,
            shm_bytes=_SHARED_BY_PROCESSES if len(service.gpus) > 1 else None,
        )
        return replace(launch, release=container.image, container=container), list(self._host_problems(gpus))

    def _host_problems(self, gpus: GpuAccess | None) -> Iterable[Problem]:
        names = files(self._service.model.file) if os.path.isdir(self._service.model.file) else None
        return host_problems(
            self._service,
            gpus=gpus.of_host if gpus else (),
            driver_version=gpus.driver_version if gpus else None,
            model_files=names,
        )

    def release_problems(self, launch: Launch) -> Iterable[Problem]:
        """An image says nothing of how it was built."""
        return ()

    def expectation(self, gpus: GpuAccess | None) -> dict[str, object]:
        return {
            "alias": alias(self._service),
            "n_ctx": max_model_len(self._service),
            "slots": None,
            "listen": self._service.listen,
            "gpus": [device.uuid for device in gpus.devices if device.uuid] if gpus else [],
            "gpu_layers": None,
            "metrics": not self._service.options.get("disable_log_stats", False),
        }

    def remember(self) -> None:
        """Nothing was asked."""
