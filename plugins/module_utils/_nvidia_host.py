# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host that is asked about its GPUs: every file that is read and every program that is run for it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _nvidia_driver as driver
from ansible_collections.baremetal.llm.plugins.module_utils import _nvidia_smi as nvidia_smi
from ansible_collections.baremetal.llm.plugins.module_utils import _nvidia_toolkits as nvidia_toolkits
from ansible_collections.baremetal.llm.plugins.module_utils import _pci_gpus as pci_gpus
from ansible_collections.baremetal.llm.plugins.module_utils._driver_pin import PIN, pinned_version
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none
from ansible_collections.baremetal.llm.plugins.module_utils._host import Host

_LIBRARY_DIRECTORIES = ("usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/nvidia/current", "usr/lib64", "usr/lib")


def loaded_module(host: Host) -> driver.ModuleVersion | None:
    """The module that runs; of a flavour that is not known where only its version is told."""
    if loaded := driver.parse_proc_version(host.read("proc/driver/nvidia/version")):
        return loaded
    version = host.read("sys/module/nvidia/version").strip()
    return driver.ModuleVersion(version, driver.Flavour.NONE) if version else None


def proc_gpus(host: Host) -> dict[str, driver.ProcGpu]:
    """What the module tells of its GPUs, by their address on the bus."""
    directory = "proc/driver/nvidia/gpus"
    return {
        pci_gpus.find_address(name) or name: driver.parse_proc_gpu(host.read(f"{directory}/{name}/information"))
        for name in host.names(directory)
    }


class NvidiaHost(Host):
    """nvidia-smi, which may have to start each GPU first, is given up after ``timeout`` seconds."""

    def __init__(self, root: Path = Path("/"), path: str | None = None, timeout: float = 30.0) -> None:
        super().__init__(root, path)
        self._timeout = timeout

    def evidence(self) -> driver.Evidence:
        smi = self._ask_nvidia_smi()
        loaded, on_disk = loaded_module(self), self._module_on_disk()
        library = self._library() or (smi.library_version if smi else None)
        return driver.Evidence(
            pci=tuple(self._pci_gpus()),
            smi=smi,
            versions=self._smi_versions(smi, untold=loaded is None or (library is None and on_disk is None)),
            mig=self._mig(smi),
            proc=proc_gpus(self),
            loaded=loaded,
            on_disk=on_disk,
            library=library,
            nouveau=(self._root / "sys/module/nouveau").exists(),
            pending_reboot=self._pending_reboot(),
            kernel=self.read("proc/sys/kernel/osrelease").strip(),
            timeout=self._timeout,
            pinned=pinned_version(self.read(PIN)),
        )

    def toolkits(self, prefixes: Iterable[str] = ()) -> list[nvidia_toolkits.Toolkit]:
        """The toolkits that can compile, each once; the one of the nvcc in PATH first."""
        found: dict[str, nvidia_toolkits.Toolkit] = {}
        for root in self._toolkit_roots(prefixes):
            real = root.resolve()
            if str(real) not in found and (version := self._toolkit_version(real)):
                found[str(real)] = nvidia_toolkits.Toolkit(version, str(real))
        return list(found.values())

    def apps(self) -> nvidia_smi.Apps:
        """Which processes compute on the GPUs."""
        asked = self.run("nvidia-smi", *nvidia_smi.APPS, timeout=self._timeout)
        return nvidia_smi.parse_apps(asked.rc, asked.stdout, asked.stderr) if asked else nvidia_smi.Apps(failure="it is not there")

    def listing(self) -> str:
        """What ``nvidia-smi -L`` prints, nothing where it cannot."""
        asked = self.run("nvidia-smi", *nvidia_smi.LIST, timeout=self._timeout)
        return asked.stdout if asked and asked.rc == 0 else ""

    def _ask_nvidia_smi(self) -> nvidia_smi.Answer | None:
        fields = list(nvidia_smi.FIELDS)
        while asked := self.run("nvidia-smi", *nvidia_smi.query(fields), timeout=self._timeout):
            unknown = nvidia_smi.invalid_field(asked.stdout + asked.stderr)
            if unknown not in fields:
                return nvidia_smi.parse_answer(asked.rc, asked.stdout, asked.stderr, fields)
            fields.remove(unknown)
        return None

    def _smi_versions(self, smi: nvidia_smi.Answer | None, untold: bool) -> nvidia_smi.Versions:
        # Not of one that hangs: it would do so again.
        if smi is None or not untold or smi.trouble is nvidia_smi.Trouble.HANGS:
            return nvidia_smi.Versions(None, None)
        asked = self.run("nvidia-smi", *nvidia_smi.VERSION, timeout=self._timeout)
        return nvidia_smi.parse_versions(asked.stdout if asked else "")

    def _mig(self, smi: nvidia_smi.Answer | None) -> dict[str, list[nvidia_smi.MigDevice]]:
        if smi is None or not any(row.mig for row in smi.rows):
            return {}
        return nvidia_smi.parse_mig(self.listing())

    def _pci_gpus(self) -> Iterator[pci_gpus.PciGpu]:
        bus = "sys/bus/pci/devices"
        for address in self.names(bus):
            if gpu := self._pci_gpu(f"{bus}/{address}", address):
                yield gpu

    def _pci_gpu(self, directory: str, address: str) -> pci_gpus.PciGpu | None:
        link = self.place(directory) / "driver"
        kernel_driver = os.path.basename(os.readlink(link)) if link.is_symlink() else None
        return pci_gpus.gpu(address, lambda name: self.read(f"{directory}/{name}"), kernel_driver)

    def _module_on_disk(self) -> driver.ModuleVersion | None:
        for name in driver.MODULES:
            version = self.run("modinfo", "-F", "version", name)
            if version and version.rc == 0 and version.stdout.strip():
                licence = self.run("modinfo", "-F", "license", name)
                return driver.ModuleVersion(version.stdout.strip(), driver.flavour_of_licence(licence.stdout if licence else ""))
        return None

    def _library(self) -> str | None:
        """The version of the libnvidia-ml that programs get: the one that its link leads to, or else the newest there is."""
        directories = [directory for pattern in _LIBRARY_DIRECTORIES for directory in sorted(self._root.glob(pattern))]
        linked = (os.path.basename(os.path.realpath(directory / "libnvidia-ml.so.1")) for directory in directories)
        present = (file.name for directory in directories for file in directory.glob("libnvidia-ml.so.*"))
        return driver.library_version(linked) or driver.library_version(present)

    def _pending_reboot(self) -> tuple[str, ...] | None:
        for directory in ("run", "var/run"):
            if (self._root / directory / "reboot-required").exists():
                return tuple(dict.fromkeys(self.read(f"{directory}/reboot-required.pkgs").split()))
        return None

    def _toolkit_roots(self, prefixes: Iterable[str]) -> Iterator[Path]:
        asked = self.run("nvcc", "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull)
        if asked and (root := nvidia_toolkits.parse_nvcc_root(asked.stdout + asked.stderr)):
            yield Path(root)
        for pattern in nvidia_toolkits.KNOWN_PLACES:
            yield from sorted(self._root.glob(pattern))
        for prefix in prefixes:
            directory = self._root / prefix.lstrip("/")
            yield directory
            for pattern in nvidia_toolkits.BELOW_A_PREFIX:
                yield from sorted(directory.glob(pattern))

    def _toolkit_version(self, root: Path) -> str | None:
        compiler = root / nvidia_toolkits.COMPILER
        if not os.access(compiler, os.X_OK):
            return None
        if version := nvidia_toolkits.parse_version_json(read_text_or_none(root / "version.json") or ""):
            return version
        asked = self.run(str(compiler), "--version")
        return nvidia_toolkits.parse_nvcc_version(asked.stdout) if asked else None
