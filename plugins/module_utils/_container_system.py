# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host that is given a container runtime: what is looked at before, and every file that is written and program that is run for it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import tempfile
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _container_host_files as files
from ansible_collections.baremetal.llm.plugins.module_utils import _docker_daemon as daemon
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed, check
from ansible_collections.baremetal.llm.plugins.module_utils._container_host import ContainerHost
from ansible_collections.baremetal.llm.plugins.module_utils._container_plan import Distribution, Seen, Service
from ansible_collections.baremetal.llm.plugins.module_utils._container_runtime import Gpus
from ansible_collections.baremetal.llm.plugins.module_utils._debian_packages import QUERY, installed
from ansible_collections.baremetal.llm.plugins.module_utils._files import symlink_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_host import loaded_module, proc_gpus

# Docker's own unit has no limit: it may have many containers to start.
_RESTART_SECONDS = 300.0
_GENERATE_SECONDS = 120.0
_SERVICE = "docker.service"
_PROPERTIES = (
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "ExecMainStartTimestamp",
    "FragmentPath",
    "DropInPaths",
    "EnvironmentFiles",
)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def parse_properties(text: str) -> dict[str, str]:
    """Of `systemctl show`; a property that is there several times, as EnvironmentFiles, becomes one."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _equals, value = line.partition("=")
        found[name] = f"{found[name]} {value}" if name in found else value
    return found


def parse_timestamp(text: str) -> float | None:
    match = _TIMESTAMP.search(text)
    if not match:
        return None
    return datetime.datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00").timestamp()


class ContainerSystem(ContainerHost):
    def seen(self) -> Seen:
        runtime = self.runtime()
        return Seen(
            distribution=self._distribution(),
            runtime=runtime,
            gpus=self._gpus(),
            packages=self._packages(),
            files={path: text for path in (*files.FILES, daemon.PATH) if (text := self.text(path)) is not None},
            linked=self.place(files.WANTS).is_symlink(),
            service=self._service(),
            containers=self.containers() if runtime.docker and runtime.docker.running_containers else (),
        )

    def containers(self) -> tuple[str, ...]:
        """The names of those that run."""
        asked = self.run("docker", "ps", "--format", "{{.Names}}")
        return tuple(sorted(asked.stdout.split())) if asked and asked.rc == 0 else ()

    # -- what is changed

    def link(self) -> None:
        target = self.place(files.WANTS)
        target.parent.mkdir(parents=True, exist_ok=True)
        symlink_atomic(target, f"../{files.UNIT_NAME}")

    def remove(self, path: str) -> None:
        target = self.place(path)
        target.unlink(missing_ok=True)
        if path != files.PIN:
            with contextlib.suppress(OSError):  # somebody else has a file there, too
                target.parent.rmdir()

    def validate(self, text: str) -> Completed | None:
        """What dockerd says to a daemon.json; None where there is no dockerd."""
        if self.program("dockerd") is None:
            return None
        with tempfile.TemporaryDirectory() as directory:
            trial = Path(directory, "daemon.json")
            trial.write_text(text, encoding="utf-8")
            said = self.run("dockerd", "--validate", f"--config-file={trial}")
        return said and Completed(said.argv, said.rc, said.stdout, said.stderr.replace(str(trial), daemon.PATH))

    def generate(self, path: str) -> None:
        target = self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        what = f"writing the CDI specification {path}"
        check([self.program("nvidia-ctk") or "nvidia-ctk", "cdi", "generate", f"--output={target}"], what=what, timeout=_GENERATE_SECONDS)

    def systemctl(self, *arguments: str) -> None:
        check(["systemctl", *arguments], what=f"systemctl {' '.join(arguments)}", timeout=_RESTART_SECONDS)

    # -- how it is looked at

    def _distribution(self) -> Distribution:
        said = self.os_release()
        return Distribution(said.get("ID", ""), said.get("VERSION_ID", ""), said.get("PRETTY_NAME", ""))

    def _packages(self) -> dict[str, str]:
        asked = self.run(*QUERY)
        return {package.name: package.version for package in installed(asked.stdout)} if asked else {}

    def _gpus(self) -> Gpus:
        loaded = loaded_module(self)
        return Gpus.shown([gpu.uuid for gpu in proc_gpus(self).values()], loaded.version if loaded else None)

    def _service(self) -> Service:
        asked = self.run("systemctl", "show", _SERVICE, "--timestamp=us+utc", f"--property={','.join(_PROPERTIES)}")
        shown = parse_properties(asked.stdout if asked else "")
        started = parse_timestamp(shown.get("ExecMainStartTimestamp", ""))
        inputs = [word for name in ("FragmentPath", "DropInPaths", "EnvironmentFiles") for word in shown.get(name, "").split()]
        read = [path for path in (daemon.PATH, *inputs) if path.startswith("/") and path != files.DROP_IN]
        return Service(
            active=shown.get("ActiveState") == "active",
            enabled=shown.get("UnitFileState") not in ("disabled", "", None),
            unread=shown.get("NeedDaemonReload") == "yes",
            outdated=tuple(path for path in read if started is not None and self._modified(path) > started),
        )

    def _modified(self, path: str) -> float:
        try:
            return self.place(path).stat().st_mtime
        except OSError:
            return 0.0
