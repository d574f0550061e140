# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with NVIDIA GPUs, made of recorded files and of programs that answer as the real ones were recorded to."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Survey, survey
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_host import NvidiaHost

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U22-I3-B17-02-5)\n"


class FakeHost:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir(parents=True)

    def write(self, path: str, text: str = "") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def program(self, path: str, script: str) -> None:
        self.write(path, f"#!/bin/sh\n{script}\n").chmod(0o755)

    def gpu(self, address: str, device: str, driver: str | None = None) -> None:
        where = f"sys/bus/pci/devices/{address}"
        for name, text in (("vendor", "0x10de"), ("device", f"0x{device}"), ("class", "0x030200"), ("subsystem_device", "0x1482")):
            self.write(f"{where}/{name}", f"{text}\n")
        if driver:
            (self.root / where / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")

    def loaded(self, version: str) -> None:
        self.write("proc/driver/nvidia/version", OPEN.format(version))

    def module_on_disk(self, version: str, licence: str = "Dual MIT/GPL", name: str = "nvidia") -> None:
        self.program(
            "bin/modinfo",
            f'[ "$3" = {name} ] || {{ echo "modinfo: ERROR: Module $3 not found." >&2; exit 1; }}\n'
            f'case $2 in version) echo "{version}";; license) echo "{licence}";; esac',
        )

    def library(self, version: str) -> None:
        self.write(f"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{version}")
        link = self.root / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
        link.unlink(missing_ok=True)
        link.symlink_to(f"libnvidia-ml.so.{version}")

    def smi(self, stdout: str, rc: int = 0) -> None:
        """An nvidia-smi with one answer; what it was asked is in ``asked``."""
        self.program("bin/nvidia-smi", f"echo \"$1\" >>{self.root}/asked\ncat <<'END'\n{stdout}\nEND\nexit {rc}")

    def asked(self) -> list[str]:
        return [line.partition("=")[0] for line in (self.root / "asked").read_text("utf-8").splitlines()]

    def host(self, timeout: float = 10.0) -> NvidiaHost:
        return NvidiaHost(self.root, path=f"{self.bin}:/usr/bin:/bin", timeout=timeout)

    def survey(self) -> Survey:
        return survey(self.host().evidence())
