# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host whose driver is changed: every file that is read or written and every program that is run for it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _driver_apt as apt
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as files
from ansible_collections.baremetal.llm.plugins.module_utils._command import check, run
from ansible_collections.baremetal.llm.plugins.module_utils._driver_archive import UpgradeArchive
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import DISTRIBUTIONS, Kernel
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import is_driver_package, kernel_metas
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import Seen
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._host import Host
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import MODULES, ModuleVersion, library_version
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_host import loaded_module

_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# Where DKMS keeps the key that it signs with, on Debian and on Ubuntu.
_SIGNING_KEYS = ("var/lib/dkms/mok.pub", "var/lib/shim-signed/mok/MOK.der")
_SECONDS = 120.0
_OPTIONS = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "-o", "APT::Get::AutomaticRemove=false")


class DriverHost(Host):
    """``lock_timeout`` is for how many seconds another apt is waited for."""

    def __init__(self, root: Path = Path("/"), lock_timeout: int = 300) -> None:
        super().__init__(root)
        self._lock_timeout = lock_timeout

    # -- looking ---------------------------------------------------------------------------------------------------------

    def see(self) -> Seen:
        """Everything that is decided from, but for what only apt can tell."""
        packages, record, loaded = self.packages(), self.archive.record(), self.loaded_module()
        kernel = self.kernel(packages)
        driver = [package.name for package in packages if is_driver_package(package.name)]
        return Seen(
            kernel=kernel,
            headers=self.has_headers(kernel),
            packages=tuple(packages),
            interrupted=self.interrupted(),
            record=record,
            files={path: self.text(path) for path in files.FILES},
            loaded=loaded,
            came_since_boot=loaded is None and self.came_since_boot(driver, kernel),
            nouveau=self.nouveau(),
            foreign=None if driver else self.foreign_driver(),
        )

    def distribution(self) -> str:
        """`debian12` or `ubuntu2404`."""
        fields = self.os_release()
        name = fields.get("ID", "unknown") + fields.get("VERSION_ID", "").replace(".", "")
        if name not in DISTRIBUTIONS:
            raise UserError(
                f"This host runs {fields.get('PRETTY_NAME', name)}, and the driver's packages are known for {', '.join(DISTRIBUTIONS)}; "
                "install the driver yourself and set nvidia_driver_manage to false"
            )
        return name

    def packages(self) -> list[apt.Package]:
        # Without a package that matches it says so with an exit status, so that is not looked at.
        asked = run(["dpkg-query", "--show", f"--showformat={apt.DPKG_FORMAT}"], timeout=_SECONDS)
        return apt.parse_packages(asked.stdout, self._architecture)

    def interrupted(self) -> bool:
        """Whether dpkg was killed before it had written down what it did."""
        return any(name.isdigit() for name in self.names("var/lib/dpkg/updates"))

    def kernel(self, packages: Iterable[apt.Package]) -> Kernel:
        return Kernel(platform.release(), kernel_metas(package.name for package in packages))

    def has_headers(self, kernel: Kernel) -> bool:
        return (self._root / "lib/modules" / kernel.release / "build").exists()

    def automatic(self) -> set[str]:
        return set(check(["apt-mark", "showauto"], timeout=_SECONDS).stdout.split())

    def package_names(self) -> list[str]:
        """What apt knows of the driver, by name."""
        prefixes = ("nvidia-", "libnvidia-", "linux-modules-nvidia-")
        return [name for prefix in prefixes for name in run(["apt-cache", "pkgnames", prefix], timeout=_SECONDS).stdout.split()]

    def offered(self, names: Sequence[str]) -> dict[str, list[str]]:
        asked = run(["apt-cache", "madison", "--", *names], timeout=_SECONDS) if names else None
        return apt.parse_madison(asked.stdout if asked else "")

    def loaded_module(self) -> ModuleVersion | None:
        return loaded_module(self)

    def nouveau(self) -> bool:
        return (self._root / "sys/module/nouveau").exists()

    def foreign_driver(self) -> str | None:
        """The library of a driver that no package has brought."""
        for library in sorted(self._root.glob("usr/lib/*-linux-gnu/**/libnvidia-ml.so.*")):
            if library_version([library.name]) and not library.is_symlink() and run(["dpkg-query", "--search", str(library)]).rc != 0:
                return str(library)
        return None

    def came_since_boot(self, names: Iterable[str], kernel: Kernel) -> bool:
        """Whether one of these packages, or the module, came after the first process of this boot was started.

        Where the packages were unpacked and then the power went, the module alone is newer: it comes when they are configured.
        """
        info, modules = self._root / "var/lib/dpkg/info", self._root / "lib/modules" / kernel.release
        plain = {name.partition(":")[0] for name in names}
        files = [path for name in plain for pattern in (f"{name}.list", f"{name}:*.list") for path in info.glob(pattern)]
        files += [path for name in MODULES for path in modules.glob(f"**/{name}.ko*")]
        started = self._boot_time()
        return any(path.stat().st_ctime > started for path in files)

    def boot_id(self) -> str:
        return self.read("proc/sys/kernel/random/boot_id").strip()

    def refuses_own_modules(self) -> bool:
        """Whether Secure Boot is on, and no key is enrolled that DKMS signs its modules with."""
        with contextlib.suppress(OSError):
            if (self._root / _SECURE_BOOT).read_bytes()[-1:] == b"\x01":
                keys = [str(self._root / key) for key in _SIGNING_KEYS if (self._root / key).exists()]
                return not any("is already enrolled" in run(["mokutil", "--test-key", key], timeout=_SECONDS).stdout for key in keys)
        return False

    def boot_space(self) -> tuple[int | None, int]:
        """Bytes free in /boot, None without an initramfs there, and the size of the largest one."""
        sizes = [path.stat().st_size for path in (self._root / "boot").glob("initrd.img-*")]
        return (shutil.disk_usage(self._root / "boot").free if sizes else None, max(sizes, default=0))

    def var_space(self) -> int:
        return shutil.disk_usage(self._root / "var").free

    # -- asking apt ------------------------------------------------------------------------------------------------------

    def simulate(self, arguments: Sequence[str], pin: str) -> apt.Simulation:
        """What apt would do if the pin were written."""
        with self._pinned(pin) as options:
            # What is on hold is seen in the changes, and told better than apt does.
            argv = ["apt-get", "--simulate", "--allow-change-held-packages", *options, *self._install(arguments)]
            done = run(argv, env=apt.QUIET, timeout=_SECONDS)
        if done.rc != 0:
            return apt.Simulation(refusal=apt.reason(done.stderr + done.stdout))
        return apt.Simulation(tuple(apt.parse_simulation(done.stdout)))

    def download_bytes(self, arguments: Sequence[str], pin: str) -> int:
        with self._pinned(pin) as options:
            argv = ["apt-get", "--print-uris", "-o", "Debug::NoLocking=1", *options, *self._install(arguments)]
            return apt.parse_download_bytes(run(argv, env=apt.QUIET, timeout=_SECONDS).stdout)

    # -- changing --------------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Let dpkg finish what it was interrupted in. What it cannot finish is left to the installation that follows."""
        with self._dpkg_lock():
            run(["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"], env={**apt.QUIET, "DPKG_FRONTEND_LOCKED": "1"})

    def install(self, arguments: Sequence[str], what: str) -> None:
        self._run_apt(arguments, what)

    def download(self, arguments: Sequence[str], pin: str, what: str) -> None:
        with self._pinned(pin) as options:
            self._run_apt(arguments, what, "--download-only", *options)

    def mark_automatic(self, names: Sequence[str]) -> None:
        if names:
            check(["apt-mark", "auto", *names], timeout=_SECONDS)

    def update_initramfs(self) -> None:
        if shutil.which("update-initramfs"):
            check(["update-initramfs", "-u"], what="update-initramfs")

    # -- helpers ---------------------------------------------------------------------------------------------------------

    @cached_property
    def archive(self) -> UpgradeArchive:
        return UpgradeArchive(self._root, self._architecture)

    @cached_property
    def _architecture(self) -> str:
        return check(["dpkg", "--print-architecture"], timeout=_SECONDS).stdout.strip()

    def _boot_time(self) -> float:
        """When process 1 was started, in seconds since 1970; in a container that is later than the boot of the machine."""
        booted = re.search(r"^btime (\d+)", self.read("proc/stat"), re.MULTILINE)
        ticks = self.read("proc/1/stat").rpartition(")")[2].split()
        return int(booted[1]) + int(ticks[19]) / os.sysconf("SC_CLK_TCK") if booted and len(ticks) > 19 else 0.0

    def _run_apt(self, arguments: Sequence[str], what: str, *options: str) -> None:
        locking = ("-o", f"DPkg::Lock::Timeout={self._lock_timeout}")
        try:
            check(["apt-get", *locking, *options, *self._install(arguments)], what=what, env=apt.QUIET)
        except UserError as failed:
            hindrance = apt.hindrance(str(failed.details["stderr"]))
            if hindrance is None:
                raise
            raise UserError(f"{what} failed: {hindrance}", **failed.details) from failed

    def _install(self, arguments: Sequence[str]) -> list[str]:
        # apt's own simulation has to be seen before it is let loose, and for that ansible.builtin.apt has no means.
        return ["--yes", "--allow-downgrades", "--fix-broken", *_OPTIONS, "install", "--", *arguments]

    @contextlib.contextmanager
    def _pinned(self, pin: str) -> Iterator[tuple[str, ...]]:
        """Options for apt that make it see the pin, wherever it is not written yet."""
        if self.text(files.PIN) == pin:
            yield ()
            return
        with tempfile.TemporaryDirectory() as temporary:
            there = self.place(files.PIN)
            for path in there.parent.iterdir() if there.parent.is_dir() else ():
                if path.is_file():
                    shutil.copyfile(path, Path(temporary, path.name))
            Path(temporary, there.name).write_text(pin, encoding="utf-8")
            yield ("-o", f"Dir::Etc::preferencesparts={temporary}")

    @contextlib.contextmanager
    def _dpkg_lock(self) -> Iterator[None]:
        with open(self._root / "var/lib/dpkg/lock-frontend", "w", encoding="utf-8") as file:
            until = time.monotonic() + self._lock_timeout
            while True:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as busy:
                    if time.monotonic() > until:
                        raise UserError(f"Another program has installed packages for {self._lock_timeout} s; {apt.WAIT}") from busy
                    time.sleep(1)
            yield
