# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host whose driver is changed, of which nothing but its packages and files is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as pin
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change, Package, Simulation
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Kernel
from ansible_collections.baremetal.llm.plugins.module_utils._driver_host import DriverHost
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, ModuleVersion

OPEN_SET = ("libcuda1", "nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced")
HEADERS = "linux-headers-6.1.0-40-amd64"
VERSIONS = ("590.48.01", "580.126.09", "580.95.05")


class FakeDriverHost(DriverHost):
    """A host of which nothing but its packages and files is kept; ``done`` is what was changed, in this order."""

    def __init__(self, installed: Mapping[str, str] | None = None, offered: Sequence[str] = (), **more: Any) -> None:
        super().__init__(Path("/nowhere"))
        self.installed = dict(installed or {})
        self.versions = list(offered)
        self.files: dict[str, str] = {}
        self.loaded: str | None = None
        self.loaded_flavour = Flavour.OPEN
        self.saved: Record | None = None
        self.unpacked: set[str] = set()
        self.is_interrupted = False
        self.foreign: str | None = None
        self.done: list[str] = []
        self.fails = ""
        self.secure_boot = False
        self.gone: list[str] = []
        self.has_nouveau = False
        for name, value in more.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    # looking
    def packages(self) -> list[Package]:
        return [
            Package(name, version, "unpacked" if name in self.unpacked else "installed", False, name not in self.unpacked)
            for name, version in self.installed.items()
        ]

    def distribution(self) -> str:
        return "debian12"

    def kernel(self, packages: object) -> Kernel:
        return Kernel("6.1.0-40-amd64")

    def interrupted(self) -> bool:
        return self.is_interrupted

    def foreign_driver(self) -> str | None:
        return self.foreign

    def package_names(self) -> list[str]:
        return list(OPEN_SET)

    def offered(self, names: Sequence[str]) -> dict[str, list[str]]:
        every = [f"{version}-1" for version in self.versions]
        return {**{name: every for name in names if every and name in (*OPEN_SET, "libnvidia-ml1")}, HEADERS: ["1"]}

    def has_headers(self, kernel: Kernel) -> bool:
        return False

    def loaded_module(self) -> ModuleVersion | None:
        return ModuleVersion(self.loaded, self.loaded_flavour) if self.loaded else None

    def came_since_boot(self, names: object, kernel: Kernel) -> bool:
        return bool(self.done)

    def nouveau(self) -> bool:
        return self.has_nouveau

    def refuses_own_modules(self) -> bool:
        return self.secure_boot

    def boot_space(self) -> tuple[int | None, int]:
        return None, 0

    def var_space(self) -> int:
        return 1 << 40

    def text(self, path: str) -> str | None:
        return self.files.get(path)

    def automatic(self) -> set[str]:
        return {"libcuda1"}

    def boot_id(self) -> str:
        return "boot"

    # apt
    def simulate(self, arguments: Sequence[str], pin: str) -> Simulation:
        if self.is_interrupted:
            return Simulation(refusal="dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.")
        changes = []
        for name, version in self.result(arguments).items():
            if self.installed.get(name) != version:
                changes.append(Change(name, self.installed.get(name), version))
        changes += [Change(name, "1", None) for name in self.gone]
        return Simulation(tuple(changes))

    def download_bytes(self, arguments: Sequence[str], pin: str) -> int:
        return 0

    def result(self, arguments: Sequence[str]) -> dict[str, str]:
        after = dict(self.installed)
        for argument in arguments:
            if argument.endswith("-"):
                after.pop(argument[:-1])
            else:
                name, _equals, version = argument.partition("=")
                after[name] = version or "1"
        return after

    # changing
    def write(self, path: str, text: str) -> None:
        self.done.append(f"write {path}")
        self.files[path] = text

    def configure(self) -> None:
        self.done.append("configure")
        if self.fails == "configure":
            return
        self.is_interrupted = False
        self.unpacked = set()

    def download(self, arguments: Sequence[str], pin: str, what: str) -> None:
        self.done.append("download")
        if self.fails == "download":
            raise UserError(f"{what} failed (rc 100): no network", rc=100)

    def install(self, arguments: Sequence[str], what: str) -> None:
        self.done.append("install")
        self.installed = self.result(arguments)
        self.unpacked = {"nvidia-driver-cuda"} if self.fails == "install" else set()

    def mark_automatic(self, names: Sequence[str]) -> None:
        self.done.append(f"auto {' '.join(names)}")

    def update_initramfs(self) -> None:
        self.done.append("initramfs")

    # the archive
    @property
    def archive(self) -> Any:
        return self

    def record(self) -> Record | None:
        return self.saved

    def missing(self, packages: Mapping[str, str]) -> list[str]:
        return [] if "keep" in self.done else list(packages)

    def keep(self, packages: Mapping[str, str]) -> list[str]:
        self.done.append("keep")
        return ["libcuda1=580.95.05-1"] if self.fails == "keep" else []

    def arguments_to_install(self, packages: Mapping[str, str]) -> list[str]:
        return [f"{name}={version}" for name, version in packages.items()]

    def write_record(self, record: Record) -> None:
        self.done.append("record")
        self.saved = record

    def drop(self) -> None:
        self.done.append("drop")
        self.saved = None


def driver(version: str, *more: str) -> dict[str, str]:
    return {**dict.fromkeys((*OPEN_SET, *more), f"{version}-1"), HEADERS: "1"}


def pinned(version: str) -> dict[str, str]:
    return {pin.PIN: pin.pin_text(version), pin.BLACKLIST: pin.blacklist_text(), pin.NOUVEAU: pin.nouveau_text()}
