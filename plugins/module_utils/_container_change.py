# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings a host its container runtime, apart from the packages: files, CDI specifications, and a Docker that has read them.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils import _container_host_files as files
from ansible_collections.baremetal.llm.plugins.module_utils._container_plan import (
    EXISTING,
    RESTART,
    Plan,
    Seen,
    Wish,
    lacking,
    plan,
)
from ansible_collections.baremetal.llm.plugins.module_utils._container_runtime import Runtime
from ansible_collections.baremetal.llm.plugins.module_utils._container_system import ContainerSystem
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import FileChange
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, demand, warning

# In which Docker reads its file again, and containers are started again after a restart.
_SECONDS = 15.0
_PAUSE = 0.2


@dataclass(frozen=True)
class Outcome:
    runtime: Runtime
    reasons: tuple[str, ...] = ()
    installs: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()
    restarted: bool = False
    problems: tuple[Problem, ...] = ()


class ContainerChange:
    def __init__(self, host: ContainerSystem, wish: Wish, *, check_mode: bool = False) -> None:
        self._host = host
        self._wish = wish
        self._check_mode = check_mode

    def planned(self) -> Outcome:
        seen = self._host.seen()
        return self._outcome(seen, self._checked(seen))

    def present(self) -> Outcome:
        seen = self._host.seen()
        wanted = self._checked(seen)
        if self._check_mode or not wanted.reasons or self._wish.source == EXISTING:
            return self._outcome(seen, wanted)
        if seen.runtime.docker is None:
            raise UserError(
                "Docker is not installed; the role container_runtime installs what `installs` of state=planned names, and then calls this"
            )
        restarted, problems = self._apply(seen, wanted)
        after = self._host.seen()
        demand(lacking(self._wish, after))
        return Outcome(after.runtime, tuple(wanted.reasons), wanted.installs, self._changes(wanted), restarted, tuple(problems))

    def absent(self) -> Outcome:
        """What was written here; packages and daemon.json stay."""
        seen = self._host.seen()
        there = tuple(FileChange(path, text, "") for path, text in seen.files.items() if path in files.FILES)
        reasons = [f"remove {change.path}" for change in there] + ([f"disable {files.UNIT_NAME}"] if seen.linked else [])
        if reasons and not self._check_mode:
            for path in (files.WANTS, *files.FILES):
                self._host.remove(path)
            self._host.systemctl("daemon-reload")
        return Outcome(seen.runtime, tuple(reasons), files=there)

    # -- in steps

    def _checked(self, seen: Seen) -> Plan:
        """A plan without an error, whose daemon.json Docker takes."""
        wanted = plan(self._wish, seen)
        demand(wanted.problems)
        if wanted.daemon and (said := self._host.validate(wanted.daemon.after)) and said.rc:
            path = wanted.daemon.path
            reason = said.stderr.strip() or said.stdout.strip()
            raise UserError(
                f"{reason}. Put {path} or container_runtime_config right; it has been left as it is", path=path, **said.details()
            )
        return wanted

    def _outcome(self, seen: Seen, wanted: Plan) -> Outcome:
        return Outcome(seen.runtime, tuple(wanted.reasons), wanted.installs, self._changes(wanted), wanted.start or bool(wanted.restart))

    @staticmethod
    def _changes(wanted: Plan) -> tuple[FileChange, ...]:
        return (*wanted.files, *([wanted.daemon] if wanted.daemon else []))

    def _apply(self, seen: Seen, wanted: Plan) -> tuple[bool, list[Problem]]:
        for change in wanted.files:
            if change.after:
                self._host.write(change.path, change.after, files.mode_of(change.path))
            else:
                self._host.remove(change.path)
        if wanted.link:
            self._host.link()
        if wanted.unlink:
            self._host.remove(files.WANTS)
        if wanted.files or wanted.link or wanted.unlink or wanted.reload:
            self._host.systemctl("daemon-reload")
        for path in wanted.specs:
            self._host.generate(path)
        if wanted.daemon:
            self._host.write(wanted.daemon.path, wanted.daemon.after)
        if wanted.enable:
            self._host.systemctl("enable", "docker.service")
        if wanted.start:
            # After one that failed too often, systemd would refuse.
            self._host.systemctl("reset-failed", "docker.service", "docker.socket")
            self._host.systemctl("start", "docker.service")
            return True, []
        return (True, self._restart(seen)) if wanted.restart else (False, [])

    def _restart(self, seen: Seen) -> list[Problem]:
        """Docker reads live-restore without a restart, so it is told of it first: then its containers go on running."""
        before = self._host.containers()
        if before:
            self._host.systemctl("reload", "docker.service")
            if self._wish.live_restore and not self._comes_true(self._is_live_restored) and not self._wish.restart:
                raise UserError(
                    f"Docker does not take live-restore, so that a restart would stop these containers: {', '.join(before)}. "
                    f"journalctl -u docker says why; {RESTART}"
                )
        self._host.systemctl("reset-failed", "docker.service", "docker.socket")
        self._host.systemctl("restart", "docker.service")
        if self._comes_true(lambda: set(before) <= set(self._host.containers())):
            return []
        stopped = ", ".join(sorted(set(before) - set(self._host.containers())))
        return [warning("stopped", f"The restart of Docker stopped {stopped}", "Start them, and see docker logs")]

    def _is_live_restored(self) -> bool:
        docker = self._host.runtime().docker
        return docker is not None and docker.live_restore

    @staticmethod
    def _comes_true(asked: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _SECONDS
        while not asked():
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True
