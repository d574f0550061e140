# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""llama-server as the engine of a service: a release on the host.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_binary import flags_of
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flags
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import arguments, launch_problems
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_engine import Engine, Inside
from ansible_collections.baremetal.llm.plugins.module_utils._service_host import (
    binary_problems,
    model_context,
    model_problems,
    model_version,
    release_problems,
)
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Launch, expectation, launch_of
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request


class LlamaServer(Engine):
    """The release on the host that the request names."""

    def __init__(self, service: Service, request: Request) -> None:
        self._service = service
        self._request = request
        self._binary = os.path.realpath(request.binary)
        self._flags: Flags | None = None

    @property
    def known(self) -> bool:
        return self._flags is not None

    def model_problems(self, missing: Severity) -> Iterable[Problem]:
        return model_problems(self._service, self._request.user, missing)

    def ask(self, *, predict: bool) -> Iterator[Problem]:
        found = list(binary_problems(self._binary))
        if predict and [problem.code for problem in found] == ["binary_missing"]:
            message = f"binary: {self._binary} is not there yet, so the options are not checked against it"
            yield warning("binary_missing", message, "Nothing to do if an earlier task builds it")
            return
        yield from found
        if not found:
            self._flags = flags_of(self._binary)

    def launch(self, inside: Inside, gpus: GpuAccess | None) -> tuple[Launch, list[Problem]]:
        lines, found = arguments(replace(self._service, addresses=inside.addresses), self._flags, inside.key_file)
        doubts = launch_problems(self._service, self._flags, model_context(self._service))
        launch = launch_of(self._service, self._binary, lines, gpus, model_version=model_version(self._service))
        return launch, [*doubts, *found]

    def release_problems(self, launch: Launch) -> Iterable[Problem]:
        return release_problems(self._service, launch.release)

    def expectation(self, gpus: GpuAccess | None) -> dict[str, object]:
        return expectation(self._service, self._flags, model_context(self._service), gpus)

    def remember(self) -> None:
        """A binary on the host answers at once."""
