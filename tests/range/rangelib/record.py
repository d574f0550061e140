# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a host: written before anything of the host is created, removed after everything of it is gone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "host.json"


@dataclass(frozen=True)
class Host:
    name: str
    distribution: str
    snapshot: str | None
    lower: tuple[str, ...]  # the read-only layers of its root file system, topmost first, the base last
    binds: tuple[str, ...]
    address: str
    gateway: str
    bridge: str
    machine: str
    cgroup: str
    storage: str
    state: str  # the directory that holds this record
    docker: bool = False  # whether a container engine works in it

    def save(self) -> None:
        directory = Path(self.state)
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f"{FILE}.partial"
        partial.write_text(json.dumps(asdict(self), indent=2))
        partial.rename(directory / FILE)

    @classmethod
    def load(cls, directory: Path) -> Host:
        fields = json.loads((directory / FILE).read_text())
        return cls(**{**fields, "lower": tuple(fields["lower"]), "binds": tuple(fields["binds"])})

    @property
    def known_hosts(self) -> Path:
        return Path(self.state) / "known_hosts"

    @property
    def console(self) -> Path:
        return Path(self.state) / "console.log"

    @property
    def docker_data(self) -> Path:
        """Docker lays overlays over each other, which an overlay cannot hold: /var/lib/docker is this directory of the outer disk."""
        return Path(self.storage) / "docker"

    @property
    def exit_file(self) -> Path:
        return Path(self.state) / "exit"
