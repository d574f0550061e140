# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change of one service's files: look, decide, and only then write; keep what was proven, and go back to it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, ProblemsError, Severity, errors
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_engine import Engine
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Change, Content, FileDiff
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpu_host import GpuHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_manager import Manager, Standing
from ansible_collections.baremetal.llm.plugins.module_utils._service_model import located
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request, request_problems


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do; None for what its state says nothing of."""

    changed: bool
    files: list[str]
    restart_required: bool
    daemon_reload_required: bool
    diffs: tuple[FileDiff, ...]
    problems: tuple[Problem, ...]
    unit: str | None = None
    """What systemd calls the service."""
    project: str | None = None
    """What Compose calls it."""
    argv: list[str] | None = None
    base_url: str | None = None
    enabled: bool | None = None
    pending: bool | None = None
    """Whether the files, or what runs as they say, are still to be accepted."""
    reverted: bool | None = None
    expect: dict[str, object] | None = None
    release: str | None = None


class ServiceChange:
    """One run; in check mode it changes nothing, and tells what would be."""

    def __init__(
        self, manager: Manager, engines: Callable[[Service], Engine], gpu_host: GpuHost, request: Request, *, check_mode: bool
    ) -> None:
        self._manager = manager
        self._engines = engines
        self._gpu_host = gpu_host
        self._request = request
        self._check_mode = check_mode
        self._unit = None if manager.container else manager.name
        self._project = manager.name if manager.container else None
        self.problems: list[Problem] = []
        """What was found so far, for a run that something else ends."""

    def run(self) -> Outcome:
        self._demand(*request_problems(self._request), *self._manager.place_problems())
        states = {
            "present": self._present,
            "on_trial": self._on_trial,
            "accepted": self._accepted,
            "reverted": self._reverted,
            "started": self._started,
            "stopped": self._stopped,
            "absent": self._absent,
        }
        return states[self._request.state]()

    # -- states ----------------------------------------------------------------------------------------------------------

    def _present(self) -> Outcome:
        service = self._service()
        engine = self._engines(service)
        self._demand(*engine.model_problems(Severity.WARNING if self._check_mode else Severity.ERROR))
        self._demand(*engine.ask(predict=self._check_mode))
        gpus, gpu_found = self._gpu_host.access(service, predict=self._check_mode, container=self._manager.container)
        launch, found = engine.launch(self._manager.inside(service), gpus)
        if not errors(gpu_found):
            gpu_found += self._manager.host_problems(service, gpus, predict=self._check_mode)
        self._demand(*found, *gpu_found, *self._manager.port_problems(service))
        self._demand(*engine.release_problems(launch))
        if not self._check_mode:
            self._manager.prepare()
        outcome = self._apply(self._manager.content(launch), verify=engine.known)
        if not self._check_mode:
            engine.remember()
        return replace(outcome, expect=engine.expectation(gpus), release=launch.release)

    def _on_trial(self) -> Outcome:
        if not self._check_mode:
            self._manager.try_out()
        return self._as_it_is()

    def _accepted(self) -> Outcome:
        files = self._manager.files
        live = files.live()
        if not self._check_mode and live.definition is not None and live != files.accepted():
            files.accept(live)
        if not self._check_mode:
            self._manager.settle()
        return replace(self._as_it_is(), pending=False)

    def _reverted(self) -> Outcome:
        live, accepted = self._manager.files.live(), self._manager.files.accepted()
        if accepted.definition is None or accepted == live:
            return replace(self._apply(live, verify=False), reverted=False, pending=live != accepted)
        return replace(self._apply(accepted, verify=True), reverted=True, pending=False)

    def _started(self) -> Outcome:
        idle = self._manager.idle()
        if idle and not self._check_mode:
            self._manager.start()
        return replace(self._as_it_is(), changed=idle)

    def _stopped(self) -> Outcome:
        running = self._manager.running()
        if running and not self._check_mode:
            self._manager.stop()
        return replace(self._as_it_is(), changed=running)

    def _absent(self) -> Outcome:
        remains = self._manager.remains()
        diffs = self._manager.files.diffs(Change(self._manager.files.live(), Content()))
        if remains and not self._check_mode:
            self._manager.remove(remains)
        return Outcome(
            unit=self._unit,
            project=self._project,
            changed=bool(remains),
            files=[str(path) for path in remains.files],
            restart_required=False,
            daemon_reload_required=False,
            diffs=diffs,
            problems=tuple(self.problems),
        )

    def _as_it_is(self) -> Outcome:
        live = self._manager.files.live()
        unchanged = Change(live, live)
        return self._outcome(unchanged, self._manager.standing(unchanged))

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
            unit=self._unit,
            project=self._project,
            changed=bool(change.outdated),
            files=[str(path) for path in files.holding(change.after)],
            restart_required=standing.restart_required,
            daemon_reload_required=standing.reload_required,
            diffs=files.diffs(change),
            problems=tuple(self.problems),
            argv=standing.argv,
            base_url=standing.base_url,
            enabled=standing.enabled,
            pending=standing.on_trial or change.after != files.accepted(),
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
        return located(service, self._request.hub_cache)
