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

from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import NVIDIA_GPU, CdiSpec
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, warning

INFO = ("docker", "info", "--format", "{{json .}}")
PODMAN_VERSION = ("podman", "--version")
TOOLKIT_VERSION = ("nvidia-ctk", "--version")

CDI_SINCE = (25,)
"""Docker Engine can inject CDI devices from here on, if features.cdi is true,"""
CDI_DEFAULT_SINCE = (28, 2)
"""and from here on without that. Engines before it start containers after a boot before they know CDI, so that these stay down."""
COMPOSE_CDI_SINCE = (2, 30)
"""Compose takes CDI devices in `devices:` from here on; before, only as reservations with the driver cdi."""

ROLE = "Run site.yml: the role container_runtime does it"
_LEGACY = "nvidia"
_SHIMS = ("io.containerd.",)


def version_numbers(version: str) -> tuple[int, ...]:
    """`26.1.5+dfsg1` → (26, 1, 5); of something without numbers, nothing."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, match[1].split("."))) if match else ()


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
        cdi_directories=tuple(directories or ()) if version_numbers(server) >= CDI_SINCE else None,
    )


def parse_engine_version(text: str) -> str | None:
    match = re.search(r"version (\d[^\s,]*)", text)
    return match[1] if match else None


@dataclass(frozen=True)
class Evidence:
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


@dataclass(frozen=True)
class Runtime:
    evidence: Evidence

    @property
    def cdi(self) -> bool | None:
        docker = self.evidence.docker
        return None if docker is None or docker.cdi_directories is None else bool(docker.cdi_directories)

    @property
    def gpu_specs(self) -> list[CdiSpec]:
        return [spec for spec in self.evidence.specs if spec.kind == NVIDIA_GPU]

    def as_dict(self) -> dict[str, object]:
        docker, podman = self.evidence.docker, self.evidence.podman_version
        engines = {"docker": docker.client_version if docker else None, "podman": podman}
        versions = [spec.driver_version for spec in self.gpu_specs if spec.driver_version]
        return {
            "engines": {name: version for name, version in engines.items() if version},
            "engine": "docker" if docker else "podman" if podman else None,
            "version": docker.version if docker else podman,
            "running": self.evidence.daemon_running,
            "reachable": docker is not None and docker.server_version is not None,
            "compose_version": docker.compose_version if docker else None,
            "cgroup_driver": docker.cgroup_driver if docker else None,
            "storage_driver": docker.storage_driver if docker else None,
            "default_runtime": docker.default_runtime if docker else None,
            "runtimes": list(docker.runtimes) if docker else [],
            "live_restore": docker.live_restore if docker else False,
            "cdi": self.cdi,
            "cdi_devices": sorted({name for spec in self.evidence.specs for name in spec.names}),
            "cdi_driver_version": versions[-1] if versions else None,
            "toolkit_version": self.evidence.toolkit_version,
        }


# -- what is wrong ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gpus:
    """What the driver shows, for the comparison with CDI; ``uuids`` is empty where no driver runs."""

    uuids: Sequence[str] = ()
    loaded_version: str | None = None


def runtime_problems(runtime: Runtime, gpus: Gpus) -> list[Problem]:
    """Warnings: whether they matter depends on what the services of the host need."""
    docker = runtime.evidence.docker
    if docker is None:
        return []
    return [*_engine(docker, runtime), *_legacy_hook(docker, runtime), *_specs(runtime, gpus)]


def _engine(docker: Docker, runtime: Runtime) -> Iterator[Problem]:
    if docker.server_version is None:
        yield warning(
            "container_runtime_unreachable",
            f"Docker {docker.client_version} is installed and its engine can't be asked: {docker.error}",
            "Start it (systemctl start docker; journalctl -u docker says why it ended), or look as root",
        )
    if docker.compose_version is None or version_numbers(docker.compose_version) < (2,):
        yield warning(
            "compose_missing",
            f"Docker {docker.client_version} is installed without Compose v2, the plugin `docker compose`",
            f"{ROLE}, or install it: docker-compose of Debian 13, docker-compose-v2 of Ubuntu, docker-compose-plugin of Docker",
        )
    if runtime.evidence.toolkit_version and docker.server_version and not runtime.cdi:
        since = ".".join(map(str, CDI_SINCE))
        unsupported = runtime.cdi is None
        yield warning(
            "cdi_unsupported" if unsupported else "cdi_disabled",
            f"Docker {docker.server_version} has no CDI, by which containers keep their GPUs; it came with {since}"
            if unsupported
            else f"CDI, by which containers keep their GPUs, is off in Docker {docker.server_version}",
            "Use an engine that has it: container_runtime_source: docker"
            if unsupported
            else f"{ROLE} (features.cdi in /etc/docker/daemon.json)",
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


def _specs(runtime: Runtime, gpus: Gpus) -> Iterator[Problem]:
    evidence = runtime.evidence
    for path, reason in evidence.unreadable.items():
        yield warning("cdi_spec_unreadable", f"The CDI specification {path} can't be read: {reason}", "Write it anew, or remove it")
    if not runtime.gpu_specs:
        if evidence.toolkit_version and gpus.uuids:
            yield warning(
                "cdi_spec_missing",
                f"No CDI specification has GPUs, and {len(gpus.uuids)} are there",
                f"{ROLE}, or nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",
            )
        return
    for spec in runtime.gpu_specs:
        if reasons := list(_outdated(spec, gpus, evidence.gone.get(spec.path, ()))):
            yield warning(
                "cdi_spec_stale",
                f"The CDI specification {spec.path} is out of date: {'; '.join(reasons)}",
                f"{ROLE}, or nvidia-ctk cdi generate --output={spec.path}; then restart the containers that have their GPUs by it",
            )


def _outdated(spec: CdiSpec, gpus: Gpus, gone: Sequence[str]) -> Iterator[str]:
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
