# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host that is asked about its container runtime: every file that is read and every program that is run for it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _cdi_spec as cdi
from ansible_collections.baremetal.llm.plugins.module_utils import _container_runtime as runtime
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._command import run as run_program

_SYSTEM_PATH = ("/usr/sbin", "/sbin")
_SECONDS = 10.0
# The engine of this host, wherever the command line of this user usually goes.
_LOCAL = {"DOCKER_HOST": "", "DOCKER_CONTEXT": "default"}


class ContainerHost:
    """``root`` stands for /, ``path`` for PATH."""

    def __init__(self, root: Path = Path("/"), path: str | None = None) -> None:
        self.root = root
        self._path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_PATH)) if path is None else path

    def evidence(self) -> runtime.Evidence:
        """Where there is no Docker, nothing is run for it."""
        docker = self._docker()
        specs, unreadable = self._specs(docker.cdi_directories or cdi.DIRECTORIES if docker else cdi.DIRECTORIES)
        return runtime.Evidence(
            docker=docker,
            daemon_running=docker is not None and self._daemon_running(),
            podman_version=self._version(*runtime.PODMAN_VERSION),
            toolkit_version=self._version(*runtime.TOOLKIT_VERSION),
            specs=specs,
            unreadable=unreadable,
            gone={spec.path: gone for spec in specs if (gone := self._gone(spec))},
        )

    def program(self, name: str) -> str | None:
        return shutil.which(name, path=self._path)

    def run(self, *argv: str) -> Completed | None:
        program = self.program(argv[0])
        return run_program([program, *argv[1:]], env={"PATH": self._path, **_LOCAL}, timeout=_SECONDS) if program else None

    def _docker(self) -> runtime.Docker | None:
        asked = self.run(*runtime.INFO)
        if asked is None:
            return None
        # What is neither is Podman under Docker's name.
        return runtime.parse_info(asked.stdout) or (runtime.Docker("?", error=asked.stderr.strip()) if asked.rc else None)

    def _version(self, *argv: str) -> str | None:
        asked = self.run(*argv)
        return runtime.parse_engine_version(asked.stdout) if asked and asked.rc == 0 else None

    def _daemon_running(self) -> bool:
        pid = self.read("run/docker.pid").strip()
        return pid.isdecimal() and (self.root / "proc" / pid).exists()

    def read(self, path: str) -> str:
        try:
            return (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _specs(self, directories: tuple[str, ...]) -> tuple[tuple[cdi.CdiSpec, ...], dict[str, str]]:
        specs, unreadable = [], {}
        for path in self._spec_files(directories):
            try:
                specs.append(cdi.parse_spec(path, self.read(path)))
            except cdi.CdiUnreadableError as error:
                unreadable[path] = str(error)
        return tuple(specs), unreadable

    def _spec_files(self, directories: tuple[str, ...]) -> Iterator[str]:
        for directory in directories:
            try:
                names = sorted(os.listdir(self.root / directory.lstrip("/")))
            except OSError:
                continue
            yield from (f"{directory}/{name}" for name in names if name.endswith(cdi.SUFFIXES) and not name.startswith("."))

    def _gone(self, spec: cdi.CdiSpec) -> tuple[str, ...]:
        return tuple(path for path in spec.paths if not (self.root / path.lstrip("/")).exists())
