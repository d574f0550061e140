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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _driver_apt as apt
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as files
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed, check, run
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import DISTRIBUTIONS, Kernel, is_driver_package, kernel_metas
from ansible_collections.baremetal.llm.plugins.module_utils._driver_plan import State
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, sync_directory, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import (
    Flavour,
    ModuleVersion,
    library_version,
    parse_proc_version,
)

STATE_DIRECTORY = "var/lib/baremetal-llm"
_RECORD = f"{STATE_DIRECTORY}/driver-upgrade.json"
_ARCHIVES = f"{STATE_DIRECTORY}/driver-upgrade"
_APT_CACHE = "var/cache/apt/archives"
_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# Where DKMS keeps the key that it signs with, on Debian and on Ubuntu.
_SIGNING_KEYS = ("var/lib/dkms/mok.pub", "var/lib/shim-signed/mok/MOK.der")
_SECONDS = 120.0
# As apt itself does it: nobody is asked, the configuration of the host stays, and needrestart leaves the services alone.
_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none", "NEEDRESTART_SUSPEND": "1"}
_OPTIONS = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "-o", "APT::Get::AutomaticRemove=false")


class DriverHost:
    """``root`` stands for /. ``lock_timeout`` is for how many seconds another apt is waited for."""

    def __init__(self, root: Path = Path("/"), lock_timeout: int = 300) -> None:
        self._root = root
        self._lock_timeout = lock_timeout

    # -- looking ---------------------------------------------------------------------------------------------------------

    def distribution(self) -> str:
        """`debian12` or `ubuntu2404`."""
        text = read_text_or_none(self._root / "etc/os-release") or ""
        fields = {key: value.strip("\"'") for key, equals, value in (line.partition("=") for line in text.splitlines()) if equals}
        name = fields.get("ID", "unknown") + fields.get("VERSION_ID", "").replace(".", "")
        if name not in DISTRIBUTIONS:
            raise UserError(
                f"This host runs {fields.get('PRETTY_NAME', name)}, and the driver's packages are known for {', '.join(DISTRIBUTIONS)}; "
                "install the driver yourself and set nvidia_driver_manage to false"
            )
        return name

    def packages(self) -> list[apt.Package]:
        # Without a package that matches it says so with an exit status, so that is not looked at.
        return apt.parse_packages(run(["dpkg-query", "--show", f"--showformat={apt.DPKG_FORMAT}"], timeout=_SECONDS).stdout, self._native)

    def interrupted(self) -> bool:
        """Whether dpkg was killed before it had written down what it did."""
        return any(name.isdigit() for name in _names(self._root / "var/lib/dpkg/updates"))

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
        """The module that runs; of a flavour that is not known where only its version is told."""
        if loaded := parse_proc_version(self._read("proc/driver/nvidia/version")):
            return loaded
        version = self._read("sys/module/nvidia/version").strip()
        return ModuleVersion(version, Flavour.NONE) if version else None

    def nouveau(self) -> bool:
        return (self._root / "sys/module/nouveau").exists()

    def foreign_driver(self) -> str | None:
        """The library of a driver that no package has brought."""
        for library in sorted(self._root.glob("usr/lib/*-linux-gnu/**/libnvidia-ml.so.*")):
            if library_version([library.name]) and not library.is_symlink() and run(["dpkg-query", "--search", str(library)]).rc != 0:
                return str(library)
        return None

    def installed_since_boot(self, names: Iterable[str]) -> bool:
        """Whether the files of one of these packages came after the first process of this boot was started."""
        info = self._root / "var/lib/dpkg/info"
        plain = {name.partition(":")[0] for name in names}
        lists = (path for name in plain for pattern in (f"{name}.list", f"{name}:*.list") for path in info.glob(pattern))
        started = self._boot_time()
        return any(path.stat().st_ctime > started for path in lists)

    def boot_id(self) -> str:
        return self._read("proc/sys/kernel/random/boot_id").strip()

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

    def text(self, path: str) -> str | None:
        return read_text_or_none(self._root / path)

    def path(self, path: str) -> str:
        return str(self._root / path)

    # -- asking apt ------------------------------------------------------------------------------------------------------

    def simulate(self, arguments: Sequence[str], pin: str) -> tuple[Completed, list[apt.Change]]:
        """What apt would do if the pin were written."""
        with self._pinned(pin) as options:
            # What is on hold is seen in the changes, and told better than apt does.
            argv = ["apt-get", "--simulate", "--allow-change-held-packages", *options, *self._install(arguments)]
            done = run(argv, env=_QUIET, timeout=_SECONDS)
        return done, apt.parse_simulation(done.stdout) if done.rc == 0 else []

    def download_bytes(self, arguments: Sequence[str], pin: str) -> int:
        with self._pinned(pin) as options:
            argv = ["apt-get", "--print-uris", "-o", "Debug::NoLocking=1", *options, *self._install(arguments)]
            return apt.parse_download_bytes(run(argv, env=_QUIET, timeout=_SECONDS).stdout)

    # -- changing --------------------------------------------------------------------------------------------------------

    def write(self, path: str, text: str) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, text.encode(), 0o644)

    def configure(self) -> None:
        """Let dpkg finish what it was interrupted in. What it cannot finish is left to the installation that follows."""
        with self._dpkg_lock():
            run(["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"], env={**_QUIET, "DPKG_FRONTEND_LOCKED": "1"})

    def install(self, arguments: Sequence[str], what: str) -> None:
        check(["apt-get", *self._locking(), *self._install(arguments)], what=what, env=_QUIET)

    def download(self, arguments: Sequence[str], pin: str) -> None:
        with self._pinned(pin) as options:
            argv = ["apt-get", "--download-only", *self._locking(), *options, *self._install(arguments)]
            check(argv, what="The download of the new driver", env=_QUIET)

    def mark_automatic(self, names: Sequence[str]) -> None:
        if names:
            check(["apt-mark", "auto", *names], timeout=_SECONDS)

    def update_initramfs(self) -> None:
        if shutil.which("update-initramfs"):
            check(["update-initramfs", "-u"], what="update-initramfs")

    # -- the record ------------------------------------------------------------------------------------------------------

    def record(self) -> Record | None:
        text = self.text(_RECORD)
        return None if text is None else Record.from_json(text, self.path(_RECORD))

    def write_record(self, record: Record) -> None:
        self.write(_RECORD, record.to_json())

    def drop_record(self) -> None:
        # The record goes first: packages without one are swept away by the next upgrade, one without them could not be obeyed.
        (self._root / _RECORD).unlink(missing_ok=True)
        sync_directory(self._root / STATE_DIRECTORY)
        shutil.rmtree(self._root / _ARCHIVES, ignore_errors=True)

    def missing(self, packages: Mapping[str, str]) -> list[str]:
        """Of which of these no package file is kept."""
        return [f"{name}={version}" for name, version in sorted(packages.items()) if self._kept(name, version) is None]

    def keep(self, packages: Mapping[str, str]) -> list[str]:
        """Keep the package files of what is installed, and tell for which ones that was not possible."""
        directory = self._root / _ARCHIVES
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        if missing := self.missing(packages):
            with tempfile.TemporaryDirectory(dir=directory) as temporary:
                # At once, for every apt-get reads all of its lists. If it does not know one of them it brings none.
                if run(["apt-get", "download", *missing], cwd=temporary, env=_QUIET, timeout=None).rc != 0:
                    for one in missing:
                        run(["apt-get", "download", one], cwd=temporary, env=_QUIET, timeout=None)
                for one in missing:
                    name, _equals, version = one.partition("=")
                    found = self._package_file(Path(temporary), name, version) or self._package_file(self._root / _APT_CACHE, name, version)
                    if found:
                        self._keep_file(found, directory, Path(temporary, "copy"))
        return self.missing(packages)

    def arguments_to_install(self, packages: Mapping[str, str]) -> list[str]:
        """The kept files, or else the versions by name."""
        return [self._kept(name, version) or f"{name}={version}" for name, version in sorted(packages.items())]

    def _kept(self, name: str, version: str) -> str | None:
        found = self._package_file(self._root / _ARCHIVES, name, version)
        return str(found) if found else None

    def _package_file(self, directory: Path, name: str, version: str) -> Path | None:
        """The file of a package; one without an architecture in its name is of this host's own, or of all."""
        plain, _colon, foreign = name.partition(":")
        escaped = version.replace(":", "%3a")
        names = (f"{plain}_{escaped}_{architecture}.deb" for architecture in ([foreign] if foreign else [self._native, "all"]))
        return next((directory / name for name in names if (directory / name).is_file()), None)

    def _keep_file(self, path: Path, directory: Path, partial: Path) -> None:
        shutil.copyfile(path, partial)
        with partial.open("rb") as copied:
            os.fsync(copied.fileno())
        os.replace(partial, directory / path.name)
        sync_directory(directory)

    # -- helpers ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _native(self) -> str:
        """As Debian calls this host's architecture: `amd64`."""
        return check(["dpkg", "--print-architecture"], timeout=_SECONDS).stdout.strip()

    def _read(self, path: str) -> str:
        with contextlib.suppress(OSError):
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        return ""

    def _boot_time(self) -> float:
        """When process 1 was started, in seconds since 1970; in a container that is later than the boot of the machine."""
        booted = re.search(r"^btime (\d+)", self._read("proc/stat"), re.MULTILINE)
        ticks = self._read("proc/1/stat").rpartition(")")[2].split()
        return int(booted[1]) + int(ticks[19]) / os.sysconf("SC_CLK_TCK") if booted and len(ticks) > 19 else 0.0

    def _locking(self) -> tuple[str, ...]:
        return ("-o", f"DPkg::Lock::Timeout={self._lock_timeout}")

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
            there = self._root / files.PIN
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
                        raise UserError(
                            f"Another program has installed packages for {self._lock_timeout} s; wait for it, or raise lock_timeout"
                        ) from busy
                    time.sleep(1)
            yield


def state_of(packages: Iterable[apt.Package], record: Record | None = None) -> State:
    packages = list(packages)
    driver = [package for package in packages if is_driver_package(package.name)]
    return State(
        versions={package.name: package.version for package in driver},
        broken=tuple(package.name for package in driver if not package.intact),
        held=tuple(package.name for package in driver if package.held),
        upgraded_from=record.version if record else None,
    )


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
