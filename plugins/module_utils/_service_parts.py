# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which manager and which engine a request means.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import FILE
from ansible_collections.baremetal.llm.plugins.module_utils._compose_service import ComposeService
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_engine import (
    ContainedLlamaServer,
    ImageLlamaServer,
    LlamaServer,
)
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, unit_name
from ansible_collections.baremetal.llm.plugins.module_utils._service_cdi import CdiHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_engine import Engine
from ansible_collections.baremetal.llm.plugins.module_utils._service_manager import Manager
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd
from ansible_collections.baremetal.llm.plugins.module_utils._systemd_service import SystemdService
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_engine import Vllm


def manager_of(request: Request, systemd: Systemd, docker: Docker, cdi: CdiHost, *, predict: bool) -> Manager:
    if _is_composed(request):
        return ComposeService(request, docker, cdi, systemd, predict=predict)
    return SystemdService(request, systemd)


def _is_composed(request: Request) -> bool:
    """What the service says. Of one that is no longer described, or now otherwise, its files tell who runs it."""
    asked = request.service.get("manager") == "compose"
    if request.state == "present":
        return asked
    config = Path(request.config_directory, str(request.name))
    if any((directory / FILE).exists() for directory in (config, config / "accepted")):
        return True
    unit = unit_name(str(request.name))
    return asked and not any((directory / unit).exists() for directory in (Path(request.unit_directory), config / "accepted"))


def engine_of(service: Service, request: Request, docker: Docker) -> Engine:
    if service.manager == "systemd":
        return LlamaServer(service, request)
    if service.engine == "vllm":
        return Vllm(service, request, docker)
    if service.image is not None:
        return ImageLlamaServer(service, request, docker)
    return ContainedLlamaServer(service, request, docker)
