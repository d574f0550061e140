# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One service as Compose runs it: a project of one container, the secret that is its API key, and the account that it runs as.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _account as account
from ansible_collections.baremetal.llm.plugins.module_utils import _gpu_access as gpu_access
from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import (
    ADDRESSES,
    DIGEST_LABEL,
    FILE,
    KEY_FILE,
    ON_TRIAL,
    PROVEN,
    SHORT_DEVICES_SINCE,
    Identity,
    Places,
    base_url_of,
    command_of,
    image_of,
    project_name,
    render,
    stated_digest,
)
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_cdi import CdiHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_engine import Inside
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Change, Content, ServiceFiles
from ansible_collections.baremetal.llm.plugins.module_utils._service_host import cpu_problems, port_problems
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Launch
from ansible_collections.baremetal.llm.plugins.module_utils._service_manager import Manager, Remains, Running, Standing, restart_required
from ansible_collections.baremetal.llm.plugins.module_utils._service_neighbours import PortOwners, others, rival
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd

_HOME_MODE = 0o700


class ComposeService(Manager):
    """The project of the service that is asked for."""

    container = True

    def __init__(self, request: Request, docker: Docker, cdi: CdiHost, systemd: Systemd, *, predict: bool) -> None:
        self._request = request
        self._docker = docker
        self._cdi = cdi
        self._systemd = systemd
        self._predict = predict
        self._prepared = False
        self.name = project_name(request.name)
        config = Path(request.config_directory, request.name)
        self.files = ServiceFiles(
            definition=config / FILE,
            config=config,
            state=Path(request.state_directory, request.name),
            definition_mode=0o600,
            key_owner=_ids(request),
        )

    # -- looking ---------------------------------------------------------------------------------------------------------

    def place_problems(self) -> Iterator[Problem]:
        yield from rival(self._request, self.files.definition)
        problem = self._docker.problem()
        # Without Docker, there is nothing to be started, stopped or removed.
        if problem and not (self._request.state in ("started", "stopped", "absent") and problem.code == "docker_missing"):
            # A task before this one may still have to install it.
            yield replace(problem, severity=Severity.WARNING) if self._predict else problem

    def inside(self, service: Service) -> Inside:
        return Inside(ADDRESSES, KEY_FILE)

    def host_problems(self, service: Service, gpus: GpuAccess | None, *, predict: bool) -> Iterator[Problem]:
        if gpus:
            yield from self._cdi.problems(gpus, Severity.WARNING if predict else Severity.ERROR)
        yield from cpu_problems(service, os.cpu_count())

    def port_problems(self, service: Service) -> Iterator[Problem]:
        owners = PortOwners(self._systemd, self._docker, service.port)
        return port_problems(service, self.name, others(self._request, self.files.definition), owners)

    def prepare(self) -> None:
        self._prepared = not self._is_prepared()
        if not account.exists(self._request.user):
            account.create(self._request.user, self._request.group, self._request.state_directory)
        self.files = replace(self.files, key_owner=_ids(self._request))

    def content(self, launch: Launch) -> Content:
        text = render(
            launch,
            self._identity(launch),
            Places(str(self.files.state), str(self.files.key)),
            # Where it is still to be installed, it will be one of today's.
            compose=self._docker.compose_version() or SHORT_DEVICES_SINCE,
            cdi=self._cdi.access(launch.gpus) if launch.gpus else None,
        )
        return Content.of(text, launch.service.api_key)

    def standing(self, change: Change) -> Standing:
        text = change.after.definition or ""
        status = self._docker.container(self.name)
        image = self._docker.image(image_of(text)) if text else None
        # A name may have come to stand for another image than the container was made of.
        up = status.running and (image is None or image.id == status.image)
        restart = restart_required(change, Running(status.labels.get(DIGEST_LABEL), status.key) if up else None, stated_digest)
        return Standing(
            argv=command_of(text),
            base_url=base_url_of(text),
            enabled=status.restart == PROVEN,
            restart_required=restart,
            reload_required=False,
            unprepared=bool(text) and (self._prepared or not self._is_prepared()),
            on_trial=bool(text) and (restart or status.restart != PROVEN),
        )

    def running(self) -> bool:
        return self._docker.container(self.name).state in ("running", "restarting", "paused")

    def idle(self) -> bool:
        return self._docker.container(self.name).state in ("created", "exited")

    def remains(self) -> Remains:
        return Remains(
            files=tuple(self.files.everything()),
            running=self._docker.remains(self.name),
            account=account.is_ours(self._request.user) and not others(self._request, self.files.definition),
        )

    # -- changing --------------------------------------------------------------------------------------------------------

    def verify(self, definition: str) -> None:
        self._docker.verify(self.name, definition)

    def try_out(self) -> None:
        self._set_restart(ON_TRIAL)

    def settle(self) -> None:
        self._set_restart(PROVEN)

    def start(self) -> None:
        self._docker.start(self.name)

    def stop(self) -> None:
        self._docker.stop(self.name)

    def write(self, change: Change) -> None:
        self.prepare()
        ids = _ids(self._request)
        if ids and change.after.definition is not None and not self._is_prepared():
            self.files.state.mkdir(parents=True, exist_ok=True)
            self.files.state.chmod(_HOME_MODE)
            os.chown(self.files.state, *ids)
        if change.outdated:
            self.files.write(change.after)

    def remove(self, remains: Remains) -> None:
        if remains.running:
            self._docker.down(self.name)
        self.files.remove()
        if remains.account:
            account.remove(self._request.user)

    # -- helpers ---------------------------------------------------------------------------------------------------------

    def _set_restart(self, policy: str) -> None:
        status = self._docker.container(self.name)
        if status.state and status.restart != policy:
            self._docker.set_restart(self.name, policy)

    def _is_prepared(self) -> bool:
        """Whether the account and its home for this service are there."""
        try:
            status = self.files.state.stat()
        except OSError:
            return False
        return (status.st_uid, status.st_gid) == _ids(self._request)

    def _identity(self, launch: Launch) -> Identity:
        user, group = self._request.user, self._request.group
        ids = _ids(self._request)
        # In check mode the account may still have to be made, and nobody knows its numbers.
        named = f"{user}:{group}" if ids is None else f"{ids[0]}:{ids[1]}"
        return Identity(user, named, _device_groups() if launch.gpus else ())


def _ids(request: Request) -> tuple[int, int] | None:
    try:
        return pwd.getpwnam(request.user).pw_uid, grp.getgrnam(request.group).gr_gid
    except KeyError:
        return None


def _device_groups() -> tuple[int, ...]:
    try:
        return (grp.getgrnam(gpu_access.GROUP).gr_gid,)
    except KeyError:
        return ()
