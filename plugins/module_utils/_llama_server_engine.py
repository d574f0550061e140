# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""llama-server as the engine of a service: a release on the host, run there or in a container, or one that an image brings.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._container_files import (
    host_libraries,
    model_reads,
    option_reads,
    outermost,
)
from ansible_collections.baremetal.llm.plugins.module_utils._container_image import fetch
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker, ImageFacts
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_binary import flags_of
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flags, parse_help
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
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Container, Launch, expectation, launch_of
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


class ContainedLlamaServer(LlamaServer):
    """The release on the host, mounted into a container of a small image that has little more than a C library."""

    def __init__(self, service: Service, request: Request, docker: Docker) -> None:
        super().__init__(service, request)
        self._docker = docker

    def ask(self, *, predict: bool) -> Iterator[Problem]:
        yield from super().ask(predict=predict)
        yield from fetch(self._docker, "base_image", self._request.base_image, pull=self._request.pull, predict=predict)

    def launch(self, inside: Inside, gpus: GpuAccess | None) -> tuple[Launch, list[Problem]]:
        launch, found = super().launch(inside, gpus)
        directory = os.path.dirname(self._binary)
        libraries = host_libraries(Path(directory)) if os.path.isdir(directory) else []
        container = Container(
            image=self._request.base_image,
            entrypoint=(self._binary,),
            reads=outermost([launch.release, *libraries, *_reads(self._service, self._request)]),
            environment=_environment(gpus),
        )
        return replace(launch, container=container), found


class ImageLlamaServer(LlamaServer):
    """The llama-server of an image, such as those of the llama.cpp project."""

    def __init__(self, service: Service, request: Request, docker: Docker) -> None:
        super().__init__(service, request)
        self._docker = docker
        self._name = service.image or ""
        self._image: ImageFacts | None = None
        self._help = ""

    @property
    def _kept(self) -> Path:
        return Path(self._request.config_directory, self._service.name, "help")

    @property
    def _program(self) -> str:
        entrypoint = self._image.entrypoint if self._image else ()
        return entrypoint[0] if entrypoint and os.path.basename(entrypoint[0]) == "llama-server" else _PROGRAM

    def ask(self, *, predict: bool) -> Iterator[Problem]:
        yield from fetch(self._docker, "image", self._name, pull=self._request.pull, predict=predict)
        self._image = self._docker.image(self._name)
        if self._image is None:
            return
        kept, _line, text = (read_text_or_none(self._kept) or "").partition("\n")
        self._help = text if kept == self._image.id else self._ask_image()
        self._flags = parse_help(self._help)

    def _ask_image(self) -> str:
        shown = self._docker.help_of(self._name, self._program)
        if shown.rc != 0 or "--model" not in parse_help(shown.stdout):
            message = f"image: `{self._program} --help` in {self._name} does not answer as llama-server does (rc {shown.rc}): use an image"
            raise UserError(f"{message} that has it, such as ghcr.io/ggml-org/llama.cpp:server, or none.", **shown.details())
        return shown.stdout

    def launch(self, inside: Inside, gpus: GpuAccess | None) -> tuple[Launch, list[Problem]]:
        self._binary = self._program
        launch, found = super().launch(inside, gpus)
        container = Container(
            image=self._name,
            entrypoint=(self._program,),
            reads=outermost(_reads(self._service, self._request)),
            environment=_environment(gpus),
        )
        return replace(launch, container=container, release=self._name), found

    def release_problems(self, launch: Launch) -> Iterable[Problem]:
        """An image says nothing of how its program was built."""
        return ()

    def remember(self) -> None:
        """A run that changes nothing then starts no container to ask it again."""
        if self._image and not (read_text_or_none(self._kept) or "").startswith(f"{self._image.id}\n"):
            with contextlib.suppress(FileNotFoundError):
                write_atomic(self._kept, f"{self._image.id}\n{self._help}".encode(), 0o600)


_PROGRAM = "/app/llama-server"
"""Where the images of the llama.cpp project have it."""


def _environment(gpus: GpuAccess | None) -> dict[str, str]:
    # No configuration but the command: it would also read config.ini below XDG_CONFIG_HOME.
    fixed = {"XDG_CONFIG_HOME": "/dev/null"}
    # The order of the GPUs is the service's, by which options count them.
    return {**fixed, "CUDA_VISIBLE_DEVICES": gpus.visible} if gpus else fixed


def _reads(service: Service, request: Request) -> list[str]:
    home = os.path.join(request.state_directory, service.name)
    return [*model_reads(service, request.hub_cache), *option_reads(service.options, home)]
