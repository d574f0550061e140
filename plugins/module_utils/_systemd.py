# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd knows of a unit and of the process it runs, and the little that a written unit needs of systemd.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._command import check, run
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic

_PROPERTIES = ("ActiveState", "MainPID", "NeedDaemonReload", "DropInPaths")
_TIMEOUT = 30.0  # seconds; systemd answers in milliseconds unless it hangs
_START_TIMEOUT = 180.0  # seconds; a unit may use its TimeoutStartSec
_STOP_TIMEOUT = 180.0  # seconds; a service may use its TimeoutStopSec


@dataclass(frozen=True)
class UnitStatus:
    active: bool = False
    main_pid: int = 0
    stale: bool = False
    """The file has changed since systemd read it."""
    drop_ins: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    """What the main process was started with; None where none runs."""
    credentials: Mapping[str, bytes] | None = None
    """What it was given as credentials, by name."""


class Systemd:
    """The systemd of this host."""

    def __init__(self, proc: Path = Path("/proc"), credentials: Path = Path("/run/credentials")) -> None:
        self._proc = proc
        self._credentials = credentials

    def version(self) -> int:
        shown = run(["systemctl", "--version"], timeout=_TIMEOUT)
        match = re.match(r"systemd (\d+)", shown.stdout)
        if not match:
            raise UserError(
                "This host has no systemd, which is what manager: systemd needs; `systemctl --version` fails.", **shown.details()
            )
        return int(match[1])

    def status(self, unit: str) -> UnitStatus:
        shown = check(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", unit], what="systemctl show", timeout=_TIMEOUT)
        values = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
        main_pid = int(values.get("MainPID") or 0)
        return UnitStatus(
            active=values.get("ActiveState") in ("active", "activating", "reloading", "deactivating"),
            main_pid=main_pid,
            stale=values.get("NeedDaemonReload") == "yes",
            drop_ins=tuple(path for path in values.get("DropInPaths", "").split() if f"/{unit}.d/" in path),
            environment=self._environment(main_pid) if main_pid else None,
            credentials=self._credentials_of(unit) if main_pid else None,
        )

    def _environment(self, pid: int) -> dict[str, str] | None:
        try:
            entries = (self._proc / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return None
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)

    def _credentials_of(self, unit: str) -> dict[str, bytes]:
        try:
            return {path.name: path.read_bytes() for path in (self._credentials / unit).iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def unit_of(self, pid: int) -> str | None:
        """The unit that a process belongs to."""
        try:
            groups = (self._proc / str(pid) / "cgroup").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            return None
        units = re.findall(r"/([^/\n]+\.(?:service|scope))(?=/|$)", groups, re.MULTILINE)
        return units[-1] if units else None  # the innermost: a user's units are inside user@….service

    def verify(self, unit: str, text: str) -> None:
        """Ask systemd's own checker about a unit before it is where systemd would read it."""
        with tempfile.TemporaryDirectory(prefix="inference-service-") as directory:
            staged = Path(directory, unit)
            write_atomic(staged, text.encode(), 0o644)
            checked = run(["systemd-analyze", "verify", "--man=no", str(staged)], timeout=_TIMEOUT)
        # It also looks at every unit that this one names, and tells what it finds there: only our own lines count.
        ours = [line for line in checked.stderr.splitlines() if unit in line or str(staged) in line]
        if checked.rc != 0 or ours:
            reason = "; ".join(ours) or checked.stderr.strip() or f"rc {checked.rc}"
            raise UserError(f"systemd-analyze verify refuses the unit {unit}, so it was not written: {reason}", **checked.details())

    def start(self, unit: str) -> None:
        check(["systemctl", "start", "--", unit], timeout=_START_TIMEOUT)

    def stop(self, unit: str) -> None:
        check(["systemctl", "stop", "--", unit], what=f"Stopping {unit}", timeout=_STOP_TIMEOUT)

    def forget(self, unit: str) -> None:
        """After the unit's file is gone: systemd no longer lists it, not even as failed."""
        check(["systemctl", "daemon-reload"], what="systemctl daemon-reload", timeout=_TIMEOUT)
        run(["systemctl", "reset-failed", "--", unit], timeout=_TIMEOUT)  # fails where nothing had failed
