# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker and Compose on this host, by their own commands: what there is, what runs, and the little that a written project needs.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._command import COMMAND_NOT_FOUND, Completed, check, run
from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import FILE, KEY_FILE
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error

_TIMEOUT = 60.0  # seconds; Docker answers in a fraction of one unless it hangs
_STOP_TIMEOUT = 300.0  # seconds; an engine may use its stop_grace_period
_PULL_TIMEOUT = 4 * 3600.0  # seconds; images of vLLM have 10 GB and more

OLDEST_COMPOSE = (2, 18)
"""What community.docker takes."""
_ROLE = "the role container_runtime installs it, as playbooks/site.yml does before the services"


@dataclass(frozen=True)
class ContainerStatus:
    """A container, as it is; without a state there is none."""

    state: str = ""
    """created, running, restarting, exited, …"""
    pid: int = 0
    image: str = ""
    """The id of the image that it was made of."""
    labels: Mapping[str, str] = field(default_factory=dict)
    restart: str = ""
    """Its restart policy now."""
    key: bytes | None = None
    """The API key that its process was given."""

    @property
    def running(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True)
class ImageFacts:
    id: str
    entrypoint: tuple[str, ...] = ()


class Docker:
    """The Docker of this host."""

    def __init__(self, program: str = "docker", proc: Path = Path("/proc")) -> None:
        self._program = program
        self._proc = proc
        self._answers = True
        self._compose: tuple[int, ...] | None = None

    # -- what there is ---------------------------------------------------------------------------------------------------

    def problem(self) -> Problem | None:
        """What keeps every service with manager: compose from running; None where Docker and Compose answer.

        With a problem, there is nothing on this host: no container, no image.
        """
        found = self._problem()
        self._answers = found is None
        return found

    def _problem(self) -> Problem | None:
        answer = self._run("version", "--format", "{{.Server.Version}}")
        if answer.rc == COMMAND_NOT_FOUND:
            return error("docker_missing", "manager: compose needs Docker, and `docker` is not there", f"Install Docker; {_ROLE}")
        if answer.rc != 0:
            reason = _last_line(answer)
            remedy = "See `systemctl status docker` and `journalctl -u docker` on the host; the task needs become: true"
            return error("docker_unreachable", f"manager: compose needs Docker, whose daemon does not answer: {reason}", remedy)
        version = self.compose_version()
        if version is None:
            message = "manager: compose needs Compose v2, and `docker compose version` fails"
            return error("compose_missing", message, f"Install Docker's Compose plugin; {_ROLE}")
        if version < OLDEST_COMPOSE:
            message = f"manager: compose needs Compose {_dotted(OLDEST_COMPOSE)} or newer, and this host has {_dotted(version)}"
            return error("compose_too_old", message, f"Upgrade Docker's Compose plugin; {_ROLE}")
        return None

    def compose_version(self) -> tuple[int, ...] | None:
        """None where there is no Compose v2."""
        if self._compose is None:
            answer = self._run("compose", "version", "--short")
            found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout.strip()) if answer.rc == 0 else None
            self._compose = tuple(int(part) for part in found.groups() if part) if found else None
        return self._compose

    def image(self, name: str) -> ImageFacts | None:
        """The image of this name or digest, if it is on the host."""
        for shown in self._inspect("image", name):
            entrypoint = (shown.get("Config") or {}).get("Entrypoint") or ()
            return ImageFacts(str(shown["Id"]), tuple(map(str, entrypoint)))
        return None

    def container(self, name: str) -> ContainerStatus:
        for shown in self._inspect("container", name):
            state, config = shown["State"], shown["Config"]
            pid = int(state.get("Pid") or 0)
            return ContainerStatus(
                state=str(state["Status"]),
                pid=pid,
                image=str(shown["Image"]),
                labels=dict(config.get("Labels") or {}),
                restart=str(((shown.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or ""),
                key=self._key_of(pid) if pid else None,
            )
        return ContainerStatus()

    def publishing(self, port: int) -> list[str]:
        """The containers that Docker listens for on a port of the host."""
        answer = self._run("ps", "--filter", f"publish={port}", "--format", "{{.Names}}")
        return answer.stdout.split() if answer.rc == 0 else []

    def remains(self, project: str) -> bool:
        """Whether there is anything of a project: a container, running or not, or a network."""
        if not self._answers:
            return False
        label = f"label=com.docker.compose.project={project}"
        for kind in (["ps", "--all", "--quiet"], ["network", "ls", "--quiet"]):
            if self._check(*kind, "--filter", label, what=f"Looking for the project {project}").stdout.strip():
                return True
        return False

    # -- what it says of a file or an image --------------------------------------------------------------------------------

    def verify(self, project: str, text: str) -> None:
        """Ask Compose about a file before it is where Compose would take it for the project's."""
        if self.compose_version() is None:  # in check mode, a task before this one may still have to install it
            return
        with tempfile.TemporaryDirectory(prefix="inference-service-") as directory:
            staged = Path(directory, FILE)
            write_atomic(staged, text.encode(), 0o600)
            checked = self._run("compose", "--project-name", project, "--file", str(staged), "config", "--quiet")
        if checked.rc != 0:  # what it only warns of is mostly the host's own configuration
            reason = _last_line(checked).replace(str(staged), FILE)
            raise UserError(f"docker compose config refuses the project {project}, so it was not written: {reason}", **checked.details())

    def help_of(self, image: str, entrypoint: str) -> Completed:
        """What the program of an image prints of itself, in a container that can reach nothing."""
        isolated = ["--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        return self._run("run", "--rm", *isolated, f"--entrypoint={entrypoint}", image, "--help")

    # -- changing --------------------------------------------------------------------------------------------------------

    def pull(self, image: str, where: str = "image") -> None:
        """``where`` is the setting that names it."""
        try:
            self._check("pull", "--quiet", image, what=f"{where}: fetching {image}", timeout=_PULL_TIMEOUT)
        except UserError as reason:
            remedy = "See whether `docker pull` of it works on the host (name, network, docker login), or bring it there with docker load"
            raise UserError(f"{reason.msg}. {remedy}.", **reason.details) from reason

    def set_restart(self, name: str, policy: str) -> None:
        self._check("update", f"--restart={policy}", name, what=f"docker update of {name}")

    def start(self, name: str) -> None:
        self._check("start", name, what=f"Starting {name}")

    def stop(self, name: str) -> None:
        self._check("stop", name, what=f"Stopping {name}", timeout=_STOP_TIMEOUT)

    def down(self, project: str) -> None:
        """Remove its containers and its network; its images stay."""
        arguments = ["compose", "--project-name", project, "down", "--remove-orphans"]
        # Its labels tell what belongs to it; a file in the working directory would be another project's.
        check([self._program, *arguments], what=f"Removing the project {project}", cwd="/", timeout=_STOP_TIMEOUT)

    # -- helpers ---------------------------------------------------------------------------------------------------------

    def _run(self, *arguments: str, timeout: float = _TIMEOUT) -> Completed:
        return run([self._program, *arguments], timeout=timeout)

    def _check(self, *arguments: str, what: str, timeout: float = _TIMEOUT) -> Completed:
        return check([self._program, *arguments], what=what, timeout=timeout)

    def _inspect(self, kind: str, name: str) -> Sequence[Mapping[str, Any]]:
        if not self._answers:
            return ()
        answer = self._run(kind, "inspect", name)
        if answer.rc != 0 and "no such" not in answer.stderr.lower():
            raise UserError(f"docker {kind} inspect {name} failed (rc {answer.rc}): {_last_line(answer)}", **answer.details())
        found: Sequence[Mapping[str, Any]] = json.loads(answer.stdout or "[]")
        return found

    def _key_of(self, pid: int) -> bytes | None:
        """The key as the process sees it: that of the file when the container started, whatever the file says now."""
        try:
            return (self._proc / str(pid) / "root" / KEY_FILE.lstrip("/")).read_bytes()
        except OSError:
            return None


def _last_line(answer: Completed) -> str:
    lines = (answer.stderr.strip() or answer.stdout.strip()).splitlines()
    return lines[-1].strip() if lines else f"it said nothing (rc {answer.rc})"


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
