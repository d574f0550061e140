# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The other services of a host, whoever runs them, and whose a port is that something listens on.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import FILE, project_name, published
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import Listener
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import value_of
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error
from ansible_collections.baremetal.llm.plugins.module_utils._service import unit_name
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import exec_start

_DOCKER_UNIT = "docker.service"


def others(request: Request, own: Path) -> list[Path]:
    """What the managers read of the other services of this host: units and Compose files."""
    units = sorted(Path(request.unit_directory).glob(unit_name("*")))
    projects = sorted(Path(request.config_directory).glob(f"*/{FILE}"))
    return [path for path in (*units, *projects) if path != own]


def rival(request: Request, own: Path) -> Iterator[Problem]:
    """Whether another manager runs the service of this name: both would keep its key and its home in the same place."""
    names = (Path(request.unit_directory, unit_name(request.name)), Path(request.config_directory, request.name, FILE))
    for other in names:
        if request.state == "present" and other != own and other.exists():
            runs, manager = ("Compose", "compose") if other.name == FILE else ("systemd", "systemd")
            message = f"name: {request.name} is a service that {runs} already runs on this host ({other})"
            remedy = f"Remove that one first, with state: absent and manager: {manager}, or give this one another name"
            yield error("name_of_other_manager", message, remedy)


def name_of(definition: Path) -> str:
    """What its manager calls the service."""
    return project_name(definition.parent.name) if definition.name == FILE else definition.name


def listens(definition: Path) -> list[Listener]:
    """Where the service is to listen, whether it runs or not."""
    text = definition.read_text(encoding="utf-8", errors="replace")
    if definition.name == FILE:
        return published(text)
    argv = exec_start(text)
    port = value_of("--port", argv)
    if port is None or not port.isdecimal():
        return []
    return [Listener(address, int(port), 0) for address in (value_of("--host", argv) or "127.0.0.1").split(",")]


class Owners(Protocol):
    def unit_of(self, pid: int) -> str | None:
        """The unit, or the project, that a process belongs to."""


@dataclass(frozen=True)
class PortOwners(Owners):
    """Whose the processes are that hold one port. For containers, Docker does."""

    units: Owners
    docker: Docker
    port: int

    def unit_of(self, pid: int) -> str | None:
        unit = self.units.unit_of(pid)
        if unit != _DOCKER_UNIT:
            return unit
        return next(iter(self.docker.publishing(self.port)), unit)
