# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host that is asked about its container runtime: every file that is read and every program that is run for it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import DIRECTORIES, CdiSpec, read_specs
from ansible_collections.baremetal.llm.plugins.module_utils._container_runtime import (
    INFO,
    PODMAN_VERSION,
    TOOLKIT_VERSION,
    Docker,
    Runtime,
    parse_engine_version,
    parse_info,
)
from ansible_collections.baremetal.llm.plugins.module_utils._host import Host


class ContainerHost(Host):
    # The engine of this host, wherever the command line of this user usually goes.
    environment: ClassVar[Mapping[str, str]] = {"DOCKER_HOST": "", "DOCKER_CONTEXT": "default"}

    def runtime(self) -> Runtime:
        """Where there is no Docker, nothing is run for it."""
        docker = self._docker()
        specs, unreadable = read_specs((docker and docker.cdi_directories) or DIRECTORIES, self._root)
        return Runtime(
            docker=docker,
            daemon_running=docker is not None and self._daemon_running(),
            podman_version=self._version(*PODMAN_VERSION),
            toolkit_version=self._version(*TOOLKIT_VERSION),
            specs=tuple(specs),
            unreadable=unreadable,
            gone={spec.path: gone for spec in specs if (gone := self._gone(spec))},
        )

    def _docker(self) -> Docker | None:
        asked = self.run(*INFO)
        if asked is None:
            return None
        # What is neither is Podman under Docker's name.
        return parse_info(asked.stdout) or (Docker("?", error=asked.stderr.strip()) if asked.rc else None)

    def _version(self, *argv: str) -> str | None:
        asked = self.run(*argv)
        return parse_engine_version(asked.stdout) if asked and asked.rc == 0 else None

    def _daemon_running(self) -> bool:
        pid = self.read("run/docker.pid").strip()
        return pid.isdecimal() and self.place(f"proc/{pid}").exists()

    def _gone(self, spec: CdiSpec) -> tuple[str, ...]:
        return tuple(path for path in spec.paths if not self.place(path).exists())
