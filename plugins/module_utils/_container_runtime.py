# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The container runtime of a host, from what was read there: engine, Compose, NVIDIA's toolkit, CDI devices, and what is wrong.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import NVIDIA_GPU, CdiSpec, generate
from ansible_collections.baremetal.llm.plugins.module_utils._docker_versions import CDI_SINCE, OLDEST_COMPOSE, dotted, numbers
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, warning

INFO = ("docker", "info", "--format", "{{json .}}")
PODMAN_VERSION = ("podman", "--version")
TOOLKIT_VERSION = ("nvidia-ctk", "--version")

_BY_ROLE = "as the role container_runtime does"
_LEGACY = "nvidia"
_SHIMS = ("io.containerd.",)


@dataclass(frozen=True)
class Docker:
    """What `docker info` says."""

    client_version: str
    compose_version: str | None = None
    server_version: str | None = None
    error: str | None = None
    """Why the engine does not answer."""
    cgroup_driver: str | None = None
    storage_driver: str | None = None
    default_runtime: str | None = None
    runtimes: tuple[str, ...] = ()
    live_restore: bool = False
    swarm: bool = False
    running_containers: int = 0
    cdi_directories: tuple[str, ...] | None = None
    """Empty where CDI is off, None where the engine has none or does not answer."""

    @property
    def version(self) -> str:
        return self.server_version or self.client_version


def parse_info(text: str) -> Docker | None:
    try:
        data = json.loads(text)
        client = data["ClientInfo"]
    except (ValueError, KeyError, TypeError):
        return None
    plugins = {plugin.get("Name"): plugin.get("Version") for plugin in client.get("Plugins") or ()}
    server = data.get("ServerVersion") or None
    found = Docker(
        client_version=client.get("Version") or "",
        compose_version=plugins.get("compose"),
        error=None if server else "; ".join(data.get("ServerErrors") or ()) or "it does not answer",
    )
    return _with_server(found, server, data) if server else found


def _with_server(client: Docker, server: str, data: Mapping[str, Any]) -> Docker:
    directories = data.get("CDISpecDirs")
    return Docker(
        client_version=client.client_version,
        compose_version=client.compose_version,
        server_version=server,
        cgroup_driver=data.get("CgroupDriver") or None,
        storage_driver=data.get("Driver") or None,
        default_runtime=data.get("DefaultRuntime") or None,
        runtimes=tuple(sorted(name for name in data.get("Runtimes") or () if not name.startswith(_SHIMS))),
        live_restore=bool(data.get("LiveRestoreEnabled")),
        swarm=(data.get("Swarm") or {}).get("LocalNodeState", "inactive") not in ("", "inactive"),
        running_containers=int(data.get("ContainersRunning") or 0),
        cdi_directories=tuple(directories or ()) if numbers(server) >= CDI_SINCE else None,
    )


def parse_engine_version(text: str) -> str | None:
    match = re.search(r"version (\d[^\s,]*)", text)
    return match[1] if match else None


@dataclass(frozen=True)
class Runtime:
    """What was found on the host."""

    docker: Docker | None = None
    daemon_running: bool = False
    podman_version: str | None = None
    toolkit_version: str | None = None
    specs: tuple[CdiSpec, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Specifications that cannot be read, and why."""
    gone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By specification, what it names and the host does not have."""

    @property
    def cdi(self) -> bool | None:
        """Whether it is on; None where the engine has none or does not answer."""
        directories = self.docker.cdi_directories if self.docker else None
        return None if directories is None else bool(directories)

    @property
    def gpu_specs(self) -> list[CdiSpec]:
        return [spec for spec in self.specs if spec.kind == NVIDIA_GPU]

    def as_dict(self) -> dict[str, object]:
        docker, podman = self.docker, self.podman_version
        engines = {"docker": docker.client_version if docker else None, "podman": podman}
        versions = [spec.driver_version for spec in self.gpu_specs if spec.driver_version]
        return {
            "engines": {name: version for name, version in engines.items() if version},
            "engine": "docker" if docker else "podman" if podman else None,
            "version": docker.version if docker else podman,
            "running": self.daemon_running,
            "reachable": docker is not None and docker.server_version is not None,
            "compose_version": docker.compose_version if docker else None,
            "cgroup_driver": docker.cgroup_driver if docker else None,
            "storage_driver": docker.storage_driver if docker else None,
            "default_runtime": docker.default_runtime if docker else None,
            "runtimes": list(docker.runtimes) if docker else [],
            "live_restore": docker.live_restore if docker else False,
            "cdi": self.cdi,
            "cdi_devices": sorted({name for spec in self.specs for name in spec.names}),
            "cdi_driver_version": versions[-1] if versions else None,
            "toolkit_version": self.toolkit_version,
        }


# -- what is wrong ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gpus:
    """What the driver shows, for the comparison with CDI; ``uuids`` is empty where no driver runs, or does not know all of them yet."""

    uuids: Sequence[str] = ()
    loaded_version: str | None = None

    @classmethod
    def shown(cls, uuids: Sequence[str | None], loaded_version: str | None) -> Gpus:
        known = [uuid for uuid in uuids if uuid]
        return cls(known if len(known) == len(uuids) else (), loaded_version)


def runtime_problems(runtime: Runtime, gpus: Gpus, *, for_gpus: bool = False) -> list[Problem]:
    """Warnings: whether they matter depends on what the services of the host need.

    ``for_gpus`` is whether containers need GPUs; a host with NVIDIA's toolkit has it for them.
    """
    docker = runtime.docker
    if docker is None:
        return []
    for_gpus = for_gpus or runtime.toolkit_version is not None
    return [*_engine(docker, runtime, for_gpus), *_legacy_hook(docker, runtime), *_specs(runtime, gpus, for_gpus)]


def _engine(docker: Docker, runtime: Runtime, for_gpus: bool) -> Iterator[Problem]:
    if docker.server_version is None:
        yield warning(
            "container_runtime_unreachable",
            f"Docker {docker.client_version} is installed and its engine can't be asked: {docker.error}",
            "Start it (systemctl start docker; journalctl -u docker says why it ended), or look as root",
        )
    if docker.compose_version is None or numbers(docker.compose_version) < (2,):
        yield warning(
            "compose_missing",
            f"Docker {docker.client_version} is installed without Compose v2, the plugin `docker compose`",
            f"Install it, {_BY_ROLE}: docker-compose of Debian 13, docker-compose-v2 of Ubuntu, docker-compose-plugin of Docker",
        )
    elif numbers(docker.compose_version) < OLDEST_COMPOSE:
        yield warning(
            "compose_too_old",
            f"Compose {docker.compose_version} is installed, and manager: compose needs {dotted(OLDEST_COMPOSE)} or newer",
            "Upgrade Docker's Compose plugin",
        )
    if for_gpus and docker.server_version and runtime.cdi is None:
        yield warning(
            "cdi_unsupported",
            f"Docker {docker.server_version} has no CDI, by which containers keep their GPUs; it came with {dotted(CDI_SINCE)}",
            "Use an engine that has it: container_runtime_source: docker",
        )
    elif for_gpus and docker.server_version and not runtime.cdi:
        yield warning(
            "cdi_disabled",
            f"CDI, by which containers keep their GPUs, is off in Docker {docker.server_version}",
            f'Write {{"features": {{"cdi": true}}}} to /etc/docker/daemon.json and restart Docker, {_BY_ROLE}',
        )


def _legacy_hook(docker: Docker, runtime: Runtime) -> Iterator[Problem]:
    if docker.cgroup_driver == "systemd" and (docker.default_runtime == _LEGACY or (_LEGACY in docker.runtimes and not runtime.cdi)):
        default = "and is the default" if docker.default_runtime == _LEGACY else "and CDI is off"
        yield warning(
            "legacy_gpu_hook",
            f"Docker knows the runtime {_LEGACY}, {default}: containers that get their GPUs by its hook lose them at the next "
            "systemctl daemon-reload (Failed to initialize NVML: Unknown Error)",
            "Give containers their GPUs by CDI, and create those anew that have them by the hook; see docs/containers.md",
        )


def _specs(runtime: Runtime, gpus: Gpus, for_gpus: bool) -> Iterator[Problem]:
    for path, reason in runtime.unreadable.items():
        yield warning("cdi_spec_unreadable", f"The CDI specification {path} can't be read: {reason}", "Write it anew, or remove it")
    if for_gpus and gpus.loaded_version and not runtime.gpu_specs:
        yield warning("cdi_spec_missing", "No CDI specification has GPUs", f"Write one with {generate()}, {_BY_ROLE}")
    for path, reasons in outdated(runtime, gpus).items():
        yield warning(
            "cdi_spec_stale",
            f"The CDI specification {path} is out of date: {'; '.join(reasons)}",
            f"Write it anew with {generate(path)}, {_BY_ROLE}, then restart the containers that have their GPUs by it",
        )


def outdated(runtime: Runtime, gpus: Gpus) -> dict[str, list[str]]:
    """Which specifications of GPUs do not fit the host any more, and why."""
    found = {spec.path: list(_differences(spec, gpus, runtime.gone.get(spec.path, ()))) for spec in runtime.gpu_specs}
    return {path: differences for path, differences in found.items() if differences}


def _differences(spec: CdiSpec, gpus: Gpus, gone: Sequence[str]) -> Iterator[str]:
    if gpus.loaded_version and spec.driver_version and spec.driver_version != gpus.loaded_version:
        yield f"it is of driver {spec.driver_version}, and {gpus.loaded_version} runs"
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        yield f"{gone[0]}{more} that it names is not there"
    if gpus.uuids:
        yield from _other_gpus(spec, gpus.uuids)


def _other_gpus(spec: CdiSpec, uuids: Sequence[str]) -> Iterator[str]:
    named = {name for name in spec.devices if name.startswith("GPU-")}
    numbered = sum(name.isdecimal() for name in spec.devices)
    if named:
        if lacking := sorted(set(uuids) - named):
            yield f"it lacks {', '.join(lacking)}"
        if surplus := sorted(named - set(uuids)):
            yield f"it has {', '.join(surplus)}, which the driver does not show"
    elif numbered and numbered != len(uuids):
        yield f"it has {numbered} GPUs, and the driver shows {len(uuids)}"
