# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a manager of services does: the seam between what is true of every service, and how systemd, say, runs one.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_engine import Inside
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Change, Content, ServiceFiles
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Launch


@dataclass(frozen=True)
class Standing:
    """How a service stands to what its files shall say."""

    argv: list[str]
    """The command that they shall name; empty where they shall not be there."""
    base_url: str
    """Where the host itself then reaches the API."""
    enabled: bool
    """Whether it starts with the host."""
    restart_required: bool
    """Whether it does not run as they shall say."""
    reload_required: bool
    """Whether the manager has not read, or will not have read, what they say."""
    unprepared: bool
    """Whether it needs something beside them that is not there, such as the account that it runs as."""
    problems: tuple[Problem, ...] = ()
    on_trial: bool = False
    """Whether it still has to be accepted, although its files were: it is to be started anew, or not yet to be started again."""


@dataclass(frozen=True)
class Running:
    """With what the process of a service was started."""

    digest: str | None
    key: bytes | None


def restart_required(change: Change, running: Running | None, stated_digest: Callable[[str], str | None]) -> bool:
    """Whether what runs, if anything does, is not what the files shall say; a file that a person has edited states no digest."""
    before, after = change.before, change.after
    if after.definition is None:
        return False
    # It may have been started from a file that a person has edited: nobody can tell what it runs with.
    edited = before.definition is not None and before != after and stated_digest(before.definition) is None
    wanted = Running(stated_digest(after.definition), after.key)
    return edited or wanted.digest is None or running != wanted


@dataclass(frozen=True)
class Remains:
    """What there is of a service that shall be gone."""

    files: tuple[Path, ...]
    running: bool
    account: bool
    """Whether the account that it ran as was made for such services, and no other needs it."""

    def __bool__(self) -> bool:
        return bool(self.files) or self.running or self.account


class Manager(Protocol):
    """What runs one service of this host. It knows where everything of the service is, also of one that is no longer described."""

    name: str
    """What it calls the service."""
    files: ServiceFiles
    container: bool
    """Whether it runs the engine in a container, which gets at its GPUs in another way than a process of the host."""

    # -- looking ---------------------------------------------------------------------------------------------------------

    def place_problems(self) -> Iterable[Problem]:
        """What is wrong with where things are to be."""

    def inside(self, service: Service) -> Inside: ...

    def host_problems(self, service: Service, gpus: GpuAccess | None, *, predict: bool) -> Iterable[Problem]:
        """What keeps it from giving the service what it asks for, such as GPUs, although the host has it."""

    def port_problems(self, service: Service) -> Iterable[Problem]:
        """Who else is to listen, or listens, where the service is to listen."""

    def prepare(self) -> None:
        """Before :meth:`content` is asked for: make what the files have to name by a number, such as the account."""

    def content(self, launch: Launch) -> Content:
        """What the files have to say. The same launch gives the same content, so a difference is a change."""

    def standing(self, change: Change) -> Standing: ...

    def running(self) -> bool:
        """Whether there is something to stop, such as a process that is about to be started again."""

    def idle(self) -> bool:
        """Whether there is something to start, as it is."""

    def remains(self) -> Remains: ...

    # -- changing --------------------------------------------------------------------------------------------------------

    def verify(self, definition: str) -> None:
        """Fail with what the manager's own checker has against it."""

    def try_out(self) -> None:
        """Before its first start: where a mistake would be started again and again, keep it from that."""

    def settle(self) -> None:
        """After it has been proven: let it be started again whenever it ends."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def write(self, change: Change) -> None:
        """Make the change, and whatever the service needs beside its files."""

    def remove(self, remains: Remains) -> None: ...
