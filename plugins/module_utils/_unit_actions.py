# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that units run as they should: decided from what systemd shows, before anything is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROPERTIES = ("Id", "ActiveState", "UnitFileState", "NeedDaemonReload")


@dataclass(frozen=True)
class Shown:
    """One unit as systemd sees it. A unit that systemd does not know is neither active nor enabled."""

    active: bool = False
    enabled: bool = False
    stale: bool = False


@dataclass(frozen=True)
class Actions:
    """Units by what is to be done with them, each in the order in which it is to be done."""

    daemon_reload: bool
    enable: tuple[str, ...]
    start: tuple[str, ...]
    restart: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.enable or self.start or self.restart)


def parse_show(shown: str) -> dict[str, Shown]:
    """From `systemctl show` of several units, which separates them by an empty line."""
    units = {}
    for block in shown.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in values:
            units[values["Id"]] = Shown(
                # A unit that waits for its next automatic restart is "activating".
                active=values.get("ActiveState") in ("active", "activating", "reloading"),
                enabled=values.get("UnitFileState") == "enabled",
                stale=values.get("NeedDaemonReload") == "yes",
            )
    return units


def decide(units: Sequence[str], restart: Sequence[str], shown: Mapping[str, Shown]) -> Actions:
    """What to do, so that a second time there is nothing to do."""
    states = {unit: shown.get(unit, Shown()) for unit in units}
    start = tuple(unit for unit in units if not states[unit].active)
    again = tuple(unit for unit in units if unit in restart and states[unit].active)
    return Actions(
        daemon_reload=bool(start or again) or any(state.stale for state in states.values()),
        enable=tuple(unit for unit in units if not states[unit].enabled),
        start=start,
        restart=again,
    )
