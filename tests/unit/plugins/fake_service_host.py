# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with a llama-server, a model and a systemd that does what it is told, and the services that are written to it."""

from __future__ import annotations

import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_engine import LlamaServer
from ansible_collections.baremetal.llm.plugins.module_utils._service_change import Outcome, ServiceChange
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpu_host import GpuHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd, UnitStatus
from ansible_collections.baremetal.llm.plugins.module_utils._systemd_service import SystemdService
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import stated_digest
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import RECORDED
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_nvidia_host import FakeHost

KEY = "sk-of-this-test"
ME = pwd.getpwuid(os.geteuid()).pw_name


def gguf(context: int) -> bytes:
    def text(value: bytes) -> bytes:
        return len(value).to_bytes(8, "little") + value

    pairs = text(b"general.architecture") + (8).to_bytes(4, "little") + text(b"llama")
    pairs += text(b"llama.context_length") + (4).to_bytes(4, "little") + context.to_bytes(4, "little")
    return b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (2).to_bytes(8, "little") + pairs


class FakeSystemd(Systemd):
    """A systemd that starts what is written when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.running = UnitStatus()
        self.verified: list[str] = []
        self.refuses = ""
        self.did: list[str] = []

    def version(self) -> int:
        return 252

    def status(self, unit: str) -> UnitStatus:
        return self.running

    def verify(self, unit: str, text: str) -> None:
        self.verified.append(text)
        if self.refuses:
            raise UserError(f"systemd-analyze verify refuses the unit {unit}, so it was not written: {self.refuses}", rc=1)

    def stop(self, unit: str) -> None:
        self.did.append("stop")
        self.running = UnitStatus()

    def forget(self, unit: str) -> None:
        self.did.append("forget")

    def start(self, unit: str) -> None:
        self.did.append("start")
        self.running = UnitStatus(active=True, main_pid=7)

    def started(self, unit: Path, key: Path) -> None:
        credentials = {"api-key": key.read_bytes()} if key.exists() else {}
        environment = {"INFERENCE_CONFIG_DIGEST": stated_digest(unit.read_text()) or ""}
        self.running = UnitStatus(active=True, main_pid=7, environment=environment, credentials=credentials)


class ServiceHost:
    """A host below a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.systemd = FakeSystemd()
        self.units, self.config, self.state = root / "units", root / "etc" / "inference", root / "lib" / "inference"
        self.units.mkdir()
        self.gpus = FakeHost(root / "gpus")
        self.model = root / "chat.gguf"
        self.model.write_bytes(gguf(4096))
        release = root / "releases" / "0a1b"
        (release / "bin").mkdir(parents=True)
        (root / "current").symlink_to(release)
        self.release = release
        self.binary = root / "current" / "bin" / "llama-server"
        self.binary.write_text(
            f'#!/bin/sh\n[ "$XDG_CONFIG_HOME" = /dev/null ] && [ "$1" = --help ] && exec cat {RECORDED / "llama_server" / "help.txt"}\n'
        )
        self.binary.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    @property
    def unit(self) -> Path:
        return self.units / "inference-chat.service"

    @property
    def key(self) -> Path:
        return self.config / "chat" / "api-key"

    def service(self, **more: Any) -> dict[str, Any]:
        options = {"ctx_size": 1024, "parallel": 2}
        return {"name": "chat", "model": {"file": str(self.model)}, "port": self.port, "api_key": KEY, "options": options, **more}

    def arguments(self, service: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
        return {
            "service": self.service() if service is None else service,
            "binary": str(self.binary),
            "user": ME,
            "unit_directory": str(self.units),
            "config_directory": str(self.config),
            "state_directory": str(self.state),
            **parameters,
        }

    def request(self, service: dict[str, Any] | None = None, **parameters: Any) -> Request:
        given = {"state": "present", "group": ME, "hub_cache": str(self.root / "hub"), **self.arguments(service, **parameters)}
        return Request(**given)

    def run(self, service: dict[str, Any] | None = None, *, check: bool = False, **parameters: Any) -> Outcome:
        request = self.request(service, **parameters)
        manager = SystemdService(request, self.systemd)
        gpus = GpuHost(self.gpus.host())
        return ServiceChange(manager, lambda service: LlamaServer(service, request), gpus, request, check_mode=check).run()

    def start(self) -> None:
        self.systemd.started(self.unit, self.key)

    def snapshot(self) -> dict[str, tuple[int, bytes | None]]:
        return {
            str(path): (stat.S_IMODE(path.lstat().st_mode), path.read_bytes() if path.is_file() else None)
            for path in sorted(self.root.rglob("*"))
        }
