# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says about a unit that should be running: its state and its journal."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._command import first_lines, run
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Endpoint, Sockets, signal_name, sockets_on_this_host
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "MainPID",
    "NRestarts",
    "InvocationID",
    "ExecStartPre",
)
_TIMEOUT = 15.0  # seconds; systemd answers in milliseconds unless it hangs
_CLD_EXITED = 1  # waitid's si_code, which is what ExecMainCode shows
_LINES_OF_A_START = 2000  # more than an engine prints while it loads, even at its most talkative
_LAST_WORDS = 3  # lines of a failed command that are told

_COMMAND = re.compile(
    r"argv\[\]=(?P<argv>.*?) ; ignore_errors=(?P<ignored>yes|no) ;.* pid=(?P<pid>\d+) ; code=(?P<code>\w+) ; status=(?P<status>\d+)"
)


@dataclass(frozen=True)
class Obstacle:
    """A command that was to succeed before the unit's process could start, and how it failed."""

    pid: str
    what: str

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class UnitState:
    load: str
    active: str
    sub: str
    result: str
    exit_code: int
    exit_status: int
    main_pid: int
    restarts: int
    invocation: str = ""
    """Systemd's name for its latest start."""
    obstacle: Obstacle | None = None

    @classmethod
    def parse(cls, shown: str) -> UnitState:
        """From what `systemctl show` prints."""
        values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return cls(
            load=values.get("LoadState", ""),
            active=values.get("ActiveState", ""),
            sub=values.get("SubState", ""),
            result=values.get("Result", ""),
            exit_code=_number(values, "ExecMainCode"),
            exit_status=_number(values, "ExecMainStatus"),
            main_pid=_number(values, "MainPID"),
            restarts=_number(values, "NRestarts"),
            invocation=values.get("InvocationID", ""),
            obstacle=next(filter(None, map(_obstacle, shown.splitlines())), None),
        )

    @property
    def remedy(self) -> str:
        return ""

    def trouble(self, restarts_before: int) -> str | None:
        """Why waiting for this unit is pointless, or None. Each start of it is one chance: a restart counts as a failure."""
        if self.load == "not-found":
            return "systemd knows no such unit"
        if self.obstacle and (self.active == "failed" or self.sub.startswith("auto-restart")):
            return f"it does not start: {self.obstacle}"
        if self.active == "failed":
            return f"it has failed ({self._end()})"
        if self.sub.startswith("auto-restart"):
            return f"it does not stay up ({self._end()}; systemd is about to start it again)"
        if self.restarts > restarts_before:
            return f"it does not stay up (systemd had to start it again, {self.restarts} times so far)"
        if self.active not in ("active", "activating", "reloading"):
            return f"it is not running (state: {self.active or 'unknown'})"
        return None

    def _end(self) -> str:
        if self.exit_code == _CLD_EXITED and self.exit_status:
            return f"it exited with status {self.exit_status}"
        if self.exit_code and self.exit_status:
            return f"it was killed by {signal_name(self.exit_status)}"
        return f"result: {self.result or 'unknown'}"


def _obstacle(line: str) -> Obstacle | None:
    command = _COMMAND.search(line) if line.startswith("ExecStartPre=") else None
    if command is None or command["ignored"] == "yes" or command["status"] == "0":
        return None
    status = int(command["status"])
    end = f"exited with status {status}" if command["code"] == "exited" else f"was killed by {signal_name(status)}"
    return Obstacle(command["pid"], f"`{command['argv']}` {end}")


def _number(values: Mapping[str, str], name: str) -> int:
    value = values.get(name, "")
    return int(value) if value.isdecimal() else 0


def state(unit: str) -> UnitState | None:
    """The unit's state now; None where systemd does not answer, as in a container without it."""
    shown = run(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", unit], timeout=_TIMEOUT)
    return UnitState.parse(shown.stdout) if shown.rc == 0 else None


def said_before_the_start(now: UnitState) -> str:
    """The last words of the command that kept the unit from starting, as the end of a sentence; nothing where it said nothing."""
    if now.obstacle is None:
        return ""
    lines = [line.strip() for line in journal_of_start(now, f"_PID={now.obstacle.pid}") if line.strip()]
    return f", saying: {' / '.join(lines[-_LAST_WORDS:])}" if lines else ""


def journal_of_start(now: UnitState, *matches: str) -> list[str]:
    """The first lines that the unit's processes, or those that match, have written since its latest start."""
    if not now.invocation:
        return []
    run(["journalctl", "--sync"], timeout=_TIMEOUT)  # what has just been written, too
    argv = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"_SYSTEMD_INVOCATION_ID={now.invocation}", *matches]
    return first_lines(argv, _LINES_OF_A_START, timeout=_TIMEOUT)


def journal(unit: str, lines: int = 30) -> list[str]:
    """The last lines that the unit wrote, without timestamps and host names."""
    read = run(["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={unit}"], timeout=_TIMEOUT)
    return read.stdout.splitlines() if read.rc == 0 else []


def explained(error: UserError, verb: str, unit: str) -> UserError:
    """The failure of `systemctl verb`, with what kept the unit from starting, and with its journal."""
    now = state(unit)
    reason = f": {now.obstacle}{said_before_the_start(now)}" if now and now.obstacle else ""
    message = f"systemctl {verb} {unit} failed{reason}. See journal below, or `journalctl -u {unit}` on the host."
    return UserError(message, **error.details, journal=journal(unit))


class Unit:
    """A unit as the probe asks it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._systemd = Systemd()

    def state(self) -> UnitState | None:
        return state(self._name)

    def last_words(self) -> str:
        now = self.state()
        return said_before_the_start(now) if now else ""

    def log_of_start(self) -> list[str]:
        now = self.state()
        return journal_of_start(now) if now else []

    def log(self) -> list[str]:
        return journal(self._name)

    def owns(self, pid: int) -> bool:
        return self._systemd.unit_of(pid) == self._name

    def sockets(self, asked: Collection[Endpoint]) -> Sockets:
        """Those of its main process: a proxy that it has started would hide what the engine itself listens on."""
        now = self.state()
        main_pid = now.main_pid if now else 0
        return sockets_on_this_host(asked, (lambda pid: pid == main_pid) if main_pid else None)
