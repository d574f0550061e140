# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One service as systemd runs it: a unit, the file that its API key is loaded from, and the account that it runs as.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _account as account
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import base_url
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._running_unit import explained
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, unit_name
from ansible_collections.baremetal.llm.plugins.module_utils._service_engine import Inside
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Change, Content, ServiceFiles
from ansible_collections.baremetal.llm.plugins.module_utils._service_host import port_problems
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Launch
from ansible_collections.baremetal.llm.plugins.module_utils._service_manager import Manager, Remains, Running, Standing, restart_required
from ansible_collections.baremetal.llm.plugins.module_utils._service_neighbours import PortOwners, others, rival
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import (
    CREDENTIAL,
    DIGEST_VARIABLE,
    KEY_FILE,
    Account,
    Places,
    exec_start,
    render,
    stated_digest,
)

STATE_ROOT = "/var/lib/"


class SystemdService(Manager):
    """The unit of the service that is asked for."""

    container = False

    def __init__(self, request: Request, systemd: Systemd) -> None:
        self._request = request
        self._systemd = systemd
        self._units = Path(request.unit_directory)
        self.name = unit_name(request.name)
        self.files = ServiceFiles(
            definition=self._units / self.name,
            config=Path(request.config_directory, request.name),
            state=Path(request.state_directory, request.name),
        )

    # -- looking ---------------------------------------------------------------------------------------------------------

    def place_problems(self) -> Iterator[Problem]:
        yield from rival(self._request, self.files.definition)
        if not self._request.state_directory.startswith(STATE_ROOT):
            given = self._request.state_directory
            message = f"state_directory: {given} is not below {STATE_ROOT}, where systemd makes such directories"
            yield error("state_directory_invalid", message, "Use /var/lib/inference, or make it a mount of the file system that you want")

    def inside(self, service: Service) -> Inside:
        return Inside(service.addresses, KEY_FILE)

    def host_problems(self, service: Service, gpus: GpuAccess | None, *, predict: bool) -> Iterator[Problem]:
        """None: the unit makes the devices itself, and systemd takes any limit."""
        return iter(())

    def port_problems(self, service: Service) -> Iterator[Problem]:
        return port_problems(service, self.name, self._others(), PortOwners(self._systemd, Docker(), service.port))

    def prepare(self) -> None:
        """A unit names the account by its name."""

    def content(self, launch: Launch) -> Content:
        unit = render(
            launch,
            Account(self._request.user, self._request.group),
            Places(str(self.files.state), str(self.files.key)),
            systemd=self._systemd.version(),
        )
        return Content.of(unit, launch.service.api_key)

    def standing(self, change: Change) -> Standing:
        status = self._systemd.status(self.name)
        argv = exec_start(change.after.definition or "")
        running = Running((status.environment or {}).get(DIGEST_VARIABLE), (status.credentials or {}).get(CREDENTIAL))
        return Standing(
            argv=argv,
            base_url=base_url(argv),
            enabled=bool(self._links()),
            restart_required=restart_required(change, running if status.active else None, stated_digest),
            reload_required=status.stale or self.files.definition in change.outdated,
            unprepared=not account.exists(self._request.user),
            problems=tuple(map(self._drop_in, status.drop_ins)),
        )

    def running(self) -> bool:
        return self._systemd.status(self.name).active

    def idle(self) -> bool:
        return self.files.definition.exists() and not self.running()

    def remains(self) -> Remains:
        return Remains(
            files=(*self._links(), *self.files.everything()),
            running=self.running(),
            account=account.is_ours(self._request.user) and not self._others(),
        )

    # -- changing --------------------------------------------------------------------------------------------------------

    def verify(self, definition: str) -> None:
        self._systemd.verify(self.name, definition)

    def try_out(self) -> None:
        """Nothing: systemd starts it again ever more slowly."""

    def settle(self) -> None:
        """Nothing: systemd has started it again from the first start on."""

    def start(self) -> None:
        try:
            self._systemd.start(self.name)
        except UserError as error:
            raise explained(error, "start", self.name) from error

    def stop(self) -> None:
        self._systemd.stop(self.name)

    def write(self, change: Change) -> None:
        if not account.exists(self._request.user):
            account.create(self._request.user, self._request.group, self._request.state_directory)
        if change.outdated:
            self.files.write(change.after)

    def remove(self, remains: Remains) -> None:
        if remains.running:
            self.stop()
        self.files.remove(self._links())
        self._systemd.forget(self.name)
        if remains.account:
            account.remove(self._request.user)

    # -- helpers ---------------------------------------------------------------------------------------------------------

    def _links(self) -> list[Path]:
        """Those that start the unit with the host."""
        # A glob of the whole would miss a link whose unit is gone.
        return [path for wants in sorted(self._units.glob("*.wants")) if os.path.lexists(path := wants / self.name)]

    def _others(self) -> list[Path]:
        return others(self._request, self.files.definition)

    def _drop_in(self, path: str) -> Problem:
        message = f"{path} changes what {self.name} says, and is not managed here"
        return warning("drop_in", message, "Move what it says into the service, and remove it")
