# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change of one service's files: look, decide, and only then write; keep what was proven, and go back to it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_binary import flags_of
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flags
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import arguments, base_url, launch_problems
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, ProblemsError, Severity, errors, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Change, Content, FileDiff
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpu_host import GpuHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_host import (
    binary_problems,
    model_context,
    model_problems,
    model_version,
    release_problems,
)
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import expectation, launch_of
from ansible_collections.baremetal.llm.plugins.module_utils._service_manager import Manager, Standing
from ansible_collections.baremetal.llm.plugins.module_utils._service_model import located
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request, request_problems


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do; None for what its state says nothing of."""

    unit: str
    """What the manager calls the service."""
    changed: bool
    files: list[str]
    restart_required: bool
    daemon_reload_required: bool
    diffs: tuple[FileDiff, ...]
    problems: tuple[Problem, ...]
    argv: list[str] | None = None
    base_url: str | None = None
    enabled: bool | None = None
    pending: bool | None = None
    """Whether the files are still to be accepted."""
    reverted: bool | None = None
    expect: dict[str, object] | None = None
    release: str | None = None


class ServiceChange:
    """One run; in check mode it changes nothing, and tells what would be."""

    def __init__(self, manager: Manager, gpu_host: GpuHost, request: Request, *, check_mode: bool) -> None:
        self._manager = manager
        self._gpu_host = gpu_host
        self._request = request
        self._check_mode = check_mode
        self.problems: list[Problem] = []
        """What was found so far, for a run that something else ends."""

    def run(self) -> Outcome:
        self._demand(*request_problems(self._request), *self._manager.place_problems())
        states = {"present": self._present, "accepted": self._accepted, "reverted": self._reverted, "absent": self._absent}
        return states[self._request.state]()

    # -- states ----------------------------------------------------------------------------------------------------------

    def _present(self) -> Outcome:
        service = self._service()
        binary = os.path.realpath(self._request.binary)
        flags = self._flags(binary)
        lines, found = arguments(service, flags, self._manager.key_file)
        gpus, gpu_found = self._gpu_host.access(service, predict=self._check_mode)
        trained = model_context(service)
        self._demand(*launch_problems(service, flags, trained), *found, *gpu_found, *self._manager.port_problems(service))
        launch = launch_of(service, binary, lines, gpus, model_version=model_version(service))
        self._demand(*release_problems(service, launch.release))
        outcome = self._apply(self._manager.content(launch), verify=flags is not None)
        return replace(outcome, expect=expectation(service, flags, trained, gpus), release=launch.release)

    def _accepted(self) -> Outcome:
        files = self._manager.files
        live = files.live()
        if not self._check_mode and live.definition is not None and live != files.accepted():
            files.accept(live)
        unchanged = Change(live, live)
        return replace(self._outcome(unchanged, self._manager.standing(unchanged)), pending=False)

    def _reverted(self) -> Outcome:
        live, accepted = self._manager.files.live(), self._manager.files.accepted()
        if accepted.definition is None or accepted == live:
            return replace(self._apply(live, verify=False), reverted=False)
        return replace(self._apply(accepted, verify=True), reverted=True)

    def _absent(self) -> Outcome:
        remains = self._manager.remains()
        diffs = self._manager.files.diffs(Change(self._manager.files.live(), Content()))
        if remains and not self._check_mode:
            self._manager.remove(remains)
        return Outcome(
            unit=self._manager.name,
            changed=bool(remains),
            files=[str(path) for path in remains.files],
            restart_required=False,
            daemon_reload_required=False,
            diffs=diffs,
            problems=tuple(self.problems),
        )

    def _apply(self, wanted: Content, *, verify: bool) -> Outcome:
        """Make the files say this, and tell what it means for the running service."""
        change = self._manager.files.change_to(wanted)
        standing = self._manager.standing(change)
        self._demand(*standing.problems)
        if verify and wanted.definition is not None and self._manager.files.definition in change.outdated:
            self._manager.verify(wanted.definition)
        if not self._check_mode:
            self._manager.write(change)
        outcome = self._outcome(change, standing)
        return replace(outcome, changed=outcome.changed or standing.unprepared)

    def _outcome(self, change: Change, standing: Standing) -> Outcome:
        files = self._manager.files
        return Outcome(
            unit=self._manager.name,
            changed=bool(change.outdated),
            files=[str(path) for path in files.holding(change.after)],
            restart_required=standing.restart_required,
            daemon_reload_required=standing.reload_required,
            diffs=files.diffs(change),
            problems=tuple(self.problems),
            argv=standing.argv,
            base_url=base_url(standing.argv),
            enabled=standing.enabled,
            pending=change.after != files.accepted(),
        )

    # -- looking ---------------------------------------------------------------------------------------------------------

    def _demand(self, *found: Problem) -> None:
        """Note what was found; errors end the run."""
        self.problems += found
        if errors(self.problems):
            raise ProblemsError(self.problems)

    def _service(self) -> Service:
        service, found = parse(self._request.service)
        if service is None or errors(found):
            raise ProblemsError(found)
        self.problems += found
        service = located(service, self._request.hub_cache)
        missing = Severity.WARNING if self._check_mode else Severity.ERROR
        self._demand(*model_problems(service, self._request.user, missing))
        return service

    def _flags(self, binary: str) -> Flags | None:
        """The flags of the binary; None in check mode where it is still to be built."""
        found = list(binary_problems(binary))
        if self._check_mode and [problem.code for problem in found] == ["binary_missing"]:
            message = f"binary: {binary} is not there yet, so the options are not checked against it"
            self._demand(warning("binary_missing", message, "Nothing to do if an earlier task builds it"))
            return None
        self._demand(*found)
        return flags_of(binary)
