# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Docker says about a container that should be running: its state, its log, its processes and its ports.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._command import first_lines, run
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Endpoint, Sockets, signal_name, sockets_on_this_host

_TIMEOUT = 15.0  # seconds; Docker answers in milliseconds unless it hangs
_LINES_OF_A_START = 3000  # more than an engine prints while it loads, even at its most talkative
_LAST_LINES = 60  # looked at for the last words: a traceback of Python is long
_LAST_WORDS = 3  # lines that are told
_SECONDS_BEFORE = 1  # Docker notes the time of a start when the process may have said something already

_CDI_IS_OFF = (
    "See that CDI is on in /etc/docker/daemon.json (features: {cdi: true}), as the role container_runtime has it; where it is, start the "
    "container again: before 28.2, Docker starts containers at boot before it knows of CDI"
)
# Why Docker itself does not start a container, and what to do then. Of Docker Engine 26 to 29 and what it starts:
_NOT_STARTED = (
    # daemon/cdi.go, and container-device-interface/pkg/cdi/cache.go
    (
        r"unresolvable CDI devices (?P<which>\S+)",
        "See with `nvidia-ctk cdi list` which GPUs there are; `nvidia-ctk cdi generate` writes that anew after a change of GPUs or driver",
    ),
    # daemon/devices.go, where no driver for that kind of device is registered; before 28.2 not yet, when Docker itself has just started
    (
        r"could not select device driver",
        _CDI_IS_OFF,
    ),
    # daemon/libnetwork/portallocator and the drivers' own
    (r"port is already allocated|address already in use", "Stop what holds that port, or give the service another one"),
    # runc, for a name that is not in the image
    (r"executable file not found|no such file or directory", "See whether the image is the engine's own, and its mounts are there"),
    (r"OCI runtime create failed", "See what `docker inspect` shows beside State.Error, and the log of dockerd"),
)
_OUT_OF_MEMORY = "Raise resources.memory of the service: what it holds in shared memory (shm_size) counts, too."


@dataclass(frozen=True)
class ContainerState:
    id: str
    status: str
    """As `docker ps` has it: created, running, paused, restarting, exited, dead."""
    exit_code: int
    out_of_memory: bool
    error: str
    """Why Docker could not start it."""
    restarts: int
    started: str
    """When, in Docker's own form."""
    ports: frozenset[Endpoint]
    """Where the host's addresses lead into it."""
    on_host_network: bool
    missing: str = ""
    """Why nothing is known of it."""

    @classmethod
    def parse(cls, shown: str) -> ContainerState:
        """From what `docker container inspect` prints."""
        container: Mapping[str, Any] = json.loads(shown)[0]
        state: Mapping[str, Any] = container.get("State") or {}
        return cls(
            id=str(container.get("Id") or ""),
            status=str(state.get("Status") or ""),
            exit_code=int(state.get("ExitCode") or 0),
            out_of_memory=bool(state.get("OOMKilled")),
            error=str(state.get("Error") or ""),
            restarts=int(container.get("RestartCount") or 0),
            started=str(state.get("StartedAt") or ""),
            ports=frozenset(_ports(container)),
            on_host_network=(container.get("HostConfig") or {}).get("NetworkMode") == "host",
        )

    @classmethod
    def unknown(cls, why: str) -> ContainerState:
        return cls("", "", 0, False, "", 0, "", frozenset(), False, why)

    @property
    def remedy(self) -> str:
        if self.out_of_memory:
            return _OUT_OF_MEMORY
        return next((f"{remedy}." for pattern, remedy in _NOT_STARTED if re.search(pattern, self.error)), "")

    def trouble(self, restarts_before: int) -> str | None:
        if self.missing:
            return self.missing
        if self.error and self.status != "running":
            return f"Docker cannot start it: {self.error}"
        if self.status == "restarting":
            return f"it does not stay up ({self._end()}; Docker is about to start it again)"
        if self.restarts > restarts_before:
            return f"it does not stay up (Docker had to start it again, {self.restarts} times so far)"
        if self.status in ("exited", "dead"):
            return f"it has ended ({self._end()})"
        if self.status != "running":
            return f"it is not running (state: {self.status or 'unknown'})"
        return None

    def _end(self) -> str:
        if self.out_of_memory:
            return "it was killed for taking more memory than it may"
        if self.exit_code > 128:  # as a shell has it
            return f"it was killed by {signal_name(self.exit_code - 128)}"
        return f"it exited with status {self.exit_code}"


def _ports(container: Mapping[str, Any]) -> list[Endpoint]:
    published = (container.get("NetworkSettings") or {}).get("Ports") or {}
    found = []
    for inside, bindings in published.items():
        if inside.endswith("/tcp"):
            found += [(binding["HostIp"] or "0.0.0.0", int(binding["HostPort"])) for binding in bindings or ()]
    return found


class Container:
    """A container as the probe asks it."""

    def __init__(self, name: str, proc: Path = Path("/proc")) -> None:
        self._name = name
        self._proc = proc

    def state(self) -> ContainerState:
        shown = run(["docker", "container", "inspect", "--", self._name], timeout=_TIMEOUT)
        if shown.rc == 0:
            return ContainerState.parse(shown.stdout)
        if "no such container" in shown.stderr.lower():
            return ContainerState.unknown("Docker knows no such container")
        return ContainerState.unknown(f"Docker does not tell of it: {shown.stderr.strip() or f'rc {shown.rc}'}")

    def last_words(self) -> str:
        lines = last_words(self._logs(f"--tail={_LAST_LINES}", count=_LAST_LINES))
        return f", saying: {' / '.join(lines)}" if lines else ""

    def log_of_start(self) -> list[str]:
        since = _shortly_before(self.state().started)
        return self._logs(f"--since={since}", count=_LINES_OF_A_START) if since else []

    def log(self) -> list[str]:
        return self._logs("--tail=30", count=30)

    def owns(self, pid: int) -> bool:
        return self._owns(pid, self.state().id)

    def _owns(self, pid: int, identity: str) -> bool:
        try:
            groups = (self._proc / str(pid) / "cgroup").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return bool(identity) and identity in groups

    def sockets(self, asked: Collection[Endpoint]) -> Sockets:
        """What Docker publishes: the sockets themselves are its proxy's, or the packet filter's alone."""
        now = self.state()
        if now.on_host_network:
            return sockets_on_this_host(asked, lambda pid: self._owns(pid, now.id))
        return Sockets(now.ports)

    def _logs(self, *options: str, count: int) -> list[str]:
        return first_lines(["docker", "container", "logs", *options, "--", self._name], count, timeout=_TIMEOUT, with_stderr=True)


def last_words(lines: Sequence[str]) -> list[str]:
    """The last lines that are words: not those of a traceback, which only a developer can read, but what it ends with."""
    said = [line.strip() for line in lines if line.strip() and not line.startswith((" ", "\t"))]
    return said[-_LAST_WORDS:]


def _shortly_before(started: str) -> str:
    """A time in the form that Docker takes; nothing for a container that was never started."""
    if not started or started.startswith("0001-"):
        return ""
    moment = datetime.datetime.fromisoformat(f"{started[:19]}+00:00") - datetime.timedelta(seconds=_SECONDS_BEFORE)
    return moment.isoformat()
