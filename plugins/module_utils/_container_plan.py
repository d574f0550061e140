# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host lacks of the container runtime that it shall have, decided from what was seen there before anything is changed.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ansible_collections.baremetal.llm.plugins.module_utils import _container_host_files as files
from ansible_collections.baremetal.llm.plugins.module_utils import _docker_daemon as daemon
from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import SPEC
from ansible_collections.baremetal.llm.plugins.module_utils._container_runtime import Gpus, Runtime, outdated, runtime_problems
from ansible_collections.baremetal.llm.plugins.module_utils._files import FileChange
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, error

DISTRIBUTION, DOCKER, EXISTING = "distribution", "docker", "existing"
SOURCES = (DISTRIBUTION, DOCKER, EXISTING)
TOOLKIT = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
"""All four: the dependencies among them are so loose that one alone at a version mixes them, or is refused."""
RESTART = "container_runtime_restart: true allows it"
_BASE = "nvidia-container-toolkit-base"
_SOURCE = "container_runtime_source"


class Packages(NamedTuple):
    engine: tuple[str, ...]
    """Of one version."""
    others: tuple[str, ...] = ()
    epoch: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.engine, *self.others)


# Docker does not start where the kernel has AppArmor and its parser is not there.
_DEBIAN = Packages(("docker.io", "docker-cli"), ("apparmor", "docker-compose"))
_UBUNTU = Packages(("docker.io",), ("apparmor", "docker-compose-v2"))
_DOCKER = Packages(("docker-ce", "docker-ce-cli"), ("apparmor", "containerd.io", "docker-compose-plugin"), "5:")
_OF_DISTRIBUTION = {("debian", "13"): _DEBIAN, ("ubuntu", "22.04"): _UBUNTU, ("ubuntu", "24.04"): _UBUNTU}
_ENGINES = {DISTRIBUTION: "docker.io", DOCKER: "docker-ce"}


@dataclass(frozen=True)
class Wish:
    source: str = DISTRIBUTION
    engine_version: str = ""
    toolkit_version: str = ""
    gpus: bool = False
    live_restore: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)
    restart: bool = False


class Distribution(NamedTuple):
    id: str
    version: str
    name: str = ""


@dataclass(frozen=True)
class Service:
    """docker.service."""

    active: bool = False
    enabled: bool = False
    outdated: tuple[str, ...] = ()
    """Files that it reads when it starts, and that are newer than its start."""
    unread: bool = False
    """Whether systemd has not read its files since they changed: a run that was killed wrote them."""


@dataclass(frozen=True)
class Seen:
    distribution: Distribution
    runtime: Runtime = field(default_factory=Runtime)
    gpus: Gpus = field(default_factory=Gpus)
    packages: Mapping[str, str] = field(default_factory=dict)
    """Those that are installed, with their versions."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Those of :mod:`_container_host_files` and daemon.json that are there."""
    linked: bool = False
    service: Service = field(default_factory=Service)
    containers: tuple[str, ...] = ()
    """The names of those that run."""


@dataclass(frozen=True)
class Plan:
    installs: tuple[str, ...] = ()
    """What apt is to be asked for."""
    files: tuple[FileChange, ...] = ()
    """One with nothing after is removed."""
    link: bool = False
    unlink: bool = False
    reload: bool = False
    daemon: FileChange | None = None
    enable: bool = False
    start: bool = False
    restart: tuple[str, ...] = ()
    """Why Docker has to be restarted."""
    specs: tuple[str, ...] = ()
    """CDI specifications to write."""
    problems: tuple[Problem, ...] = ()

    @property
    def reasons(self) -> list[str]:
        found = [f"install {name}" for name in self.installs]
        changes = (*self.files, *([self.daemon] if self.daemon else []))
        found += [f"{'write' if change.after else 'remove'} {change.path}" for change in changes]
        found += [f"enable {files.UNIT_NAME}"] if self.link else [f"disable {files.UNIT_NAME}"] if self.unlink else []
        found += ["have systemd read docker.service"] if self.reload else []
        found += ["enable docker"] if self.enable else []
        found += ["start docker"] if self.start else []
        found += [f"restart docker, which was started before {path} changed" for path in self.restart]
        return [*found, *(f"write {path}" for path in self.specs)]


def upstream(version: str) -> str:
    """`5:28.5.1-1~debian.13~trixie` → `28.5.1`, `26.1.5+dfsg1-9` → `26.1.5`."""
    return re.split(r"[+~-]", version.partition(":")[2] or version)[0]


def is_of(version: str, wanted: str) -> bool:
    """Whether a version is the wanted one, or one of the wanted branch."""
    return not wanted or f"{upstream(version)}.".startswith(f"{upstream(wanted)}.")


def packages_of(wish: Wish, distribution: Distribution) -> Packages:
    return _DOCKER if wish.source == DOCKER else _OF_DISTRIBUTION.get((distribution.id, distribution.version), _DEBIAN)


def plan(wish: Wish, seen: Seen) -> Plan:
    if wish.source == EXISTING:
        return Plan(problems=tuple(lacking(wish, seen)))
    problems = [*_unsupported(wish, seen), *_other_engine(wish, seen), *_swarm(wish, seen)]
    installs = (*_engine_installs(wish, seen), *_toolkit_installs(wish, seen))
    wanted = files.texts(_pins(wish, seen), gpus=wish.gpus)
    changes = [FileChange(path, seen.files.get(path, ""), text) for path, text in wanted.items() if seen.files.get(path) != text]
    changes += [FileChange(path, seen.files[path], "") for path in files.FILES if path in seen.files and path not in wanted]
    change = _daemon_change(wish, seen)
    outdated = seen.service.outdated if seen.service.active else ()
    restart = tuple(dict.fromkeys([*([change.path] if change and seen.service.active else []), *outdated]))
    problems += _interruption(wish, seen, installs, restart)
    return Plan(
        installs=installs,
        files=tuple(changes),
        link=wish.gpus and not seen.linked,
        unlink=seen.linked and not wish.gpus,
        reload=seen.service.unread,
        daemon=change,
        enable=not seen.service.enabled,
        start=not seen.service.active,
        restart=restart,
        specs=_specs_to_write(wish, seen),
        problems=tuple(problems),
    )


def _daemon_change(wish: Wish, seen: Seen) -> FileChange | None:
    before = seen.files.get(daemon.PATH)
    config = daemon.parse(before)
    version = seen.runtime.docker.version if seen.runtime.docker else ""
    wanted = daemon.wanted_config(config, live_restore=wish.live_restore, cdi=wish.gpus, engine_version=version, extra=wish.config)
    return FileChange(daemon.PATH, before or "", daemon.rendered(wanted)) if wanted != config else None


# -- packages --------------------------------------------------------------------------------------------------------------


def _engine_installs(wish: Wish, seen: Seen) -> list[str]:
    packages = packages_of(wish, seen.distribution)
    other = any(name in seen.packages and not is_of(seen.packages[name], wish.engine_version) for name in packages.engine)
    lacking_some = any(name not in seen.packages for name in packages.engine)
    pattern = f"={packages.epoch}{wish.engine_version}*" if wish.engine_version else ""
    engine = [f"{name}{pattern}" for name in packages.engine] if other or lacking_some else []
    docker = seen.runtime.docker
    has_compose = docker is not None and docker.compose_version is not None
    others = [name for name in packages.others if name not in seen.packages and not (has_compose and "compose" in name)]
    return [*engine, *others]


def _toolkit_installs(wish: Wish, seen: Seen) -> list[str]:
    if not wish.gpus:
        return []
    installed = {name: seen.packages[name] for name in TOOLKIT if name in seen.packages}
    target = wish.toolkit_version or upstream(installed.get(_BASE, ""))
    if len(installed) == len(TOOLKIT) and all(is_of(version, target) for version in installed.values()):
        return []
    return [f"{name}={target}*" if target else name for name in TOOLKIT]


def _pins(wish: Wish, seen: Seen) -> dict[str, tuple[str, ...]]:
    packages = packages_of(wish, seen.distribution)
    pins = {f"{packages.epoch}{wish.engine_version}*": packages.engine} if wish.engine_version else {}
    if wish.gpus and (version := upstream(seen.packages.get(_BASE, "")) or wish.toolkit_version):
        pins[f"{wish.toolkit_version or version}*"] = TOOLKIT
    return pins


# -- CDI -------------------------------------------------------------------------------------------------------------------


def _specs_to_write(wish: Wish, seen: Seen) -> tuple[str, ...]:
    """Each that is out of date, where it is; without any, the one that NVIDIA's own units write."""
    if not wish.gpus or seen.gpus.loaded_version is None or seen.runtime.toolkit_version is None:
        return ()
    return tuple(outdated(seen.runtime, seen.gpus)) if seen.runtime.gpu_specs else (SPEC,)


# -- what has to be put right by a person ----------------------------------------------------------------------------------


def _unsupported(wish: Wish, seen: Seen) -> Iterator[Problem]:
    distribution = seen.distribution
    if wish.source != DISTRIBUTION or (distribution.id, distribution.version) in _OF_DISTRIBUTION:
        return
    name = distribution.name or f"{distribution.id} {distribution.version}"
    old = (
        "its Docker 20.10 has neither CDI nor Compose v2"
        if (distribution.id, distribution.version) == ("debian", "12")
        else "it is not known here"
    )
    yield error(
        "distribution_without_runtime",
        f"{_SOURCE} is {DISTRIBUTION}, and of {name} Docker can't be taken: {old}",
        f"Set {_SOURCE}: {DOCKER} for Docker's own repository, or {EXISTING} for an engine that you install",
    )


def _other_engine(wish: Wish, seen: Seen) -> Iterator[Problem]:
    wanted = _ENGINES[wish.source]
    for source, name in _ENGINES.items():
        if name != wanted and name in seen.packages:
            yield error(
                "other_engine",
                f"{_SOURCE} is {wish.source}, and {name} {seen.packages[name]} is installed: to replace it would stop its containers",
                f"Set {_SOURCE}: {source} to keep it, or {EXISTING} to leave it alone, or remove it yourself (apt-get remove {name})",
            )


def _swarm(wish: Wish, seen: Seen) -> Iterator[Problem]:
    docker = seen.runtime.docker
    if wish.live_restore and docker is not None and docker.swarm:
        yield error(
            "swarm",
            "This host is part of a Docker swarm, which can't be with container_runtime_live_restore",
            f"Set container_runtime_live_restore: false, and expect that a restart of Docker stops its containers ({RESTART})",
        )


def _interruption(wish: Wish, seen: Seen, installs: tuple[str, ...], restart: tuple[str, ...]) -> list[Problem]:
    """Docker is told of live-restore before it is restarted, but not before apt installs another engine."""
    docker = seen.runtime.docker
    if docker is None or not seen.containers or wish.restart:
        return []
    names = ", ".join(seen.containers)
    engine = packages_of(wish, seen.distribution).engine
    changed = [name for name in installs if name.partition("=")[0] in engine]
    if changed and not docker.live_restore:
        return [
            error(
                "restart_stops_services",
                f"apt would restart Docker for {', '.join(changed)}, and its live-restore is off, so that these containers would "
                f"stop: {names}",
                f"Run this once without container_runtime_engine_version, which turns live-restore on; or stop them; or {RESTART}",
            )
        ]
    if restart and not wish.live_restore:
        return [
            error(
                "restart_stops_services",
                f"Docker has to be restarted for {', '.join(restart)}, and container_runtime_live_restore is off, so that these containers "
                f"would stop: {names}",
                f"Stop them at a moment of your choice, or set container_runtime_live_restore: true; or {RESTART}",
            )
        ]
    return []


_NEEDED = ("container_runtime_unreachable", "compose_missing", "compose_too_old")
_NEEDED_FOR_GPUS = ("cdi_unsupported", "cdi_disabled", "cdi_spec_missing", "cdi_spec_stale")


def lacking(wish: Wish, seen: Seen) -> Iterator[Problem]:
    """What services would miss on the host as it is."""
    if seen.runtime.docker is None:
        yield error("no_container_runtime", "There is no Docker on this host", f"Set {_SOURCE}: {DISTRIBUTION} or {DOCKER}, or install it")
    for problem in runtime_problems(seen.runtime, seen.gpus, for_gpus=wish.gpus):
        if problem.code in (*_NEEDED, *(_NEEDED_FOR_GPUS if wish.gpus else ())):
            yield replace(problem, severity=Severity.ERROR)
