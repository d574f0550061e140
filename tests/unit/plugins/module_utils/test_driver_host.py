# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as pin
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Kernel
from ansible_collections.baremetal.llm.plugins.module_utils._driver_host import DriverHost
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_root import programs, put


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n', "debian12"),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "ubuntu2404"),
    ],
)
def test_distribution(text: str, name: str, tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", text)
    assert DriverHost(tmp_path).distribution() == name


def test_a_distribution_that_is_not_known_is_named(tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", 'PRETTY_NAME="Fedora Linux 42"\nID=fedora\nVERSION_ID=42\n')
    with pytest.raises(UserError, match=r"Fedora Linux 42.*nvidia_driver_manage"):
        DriverHost(tmp_path).distribution()


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    host = DriverHost(tmp_path)
    host.write(pin.PIN, pin.pin_text("580.126.09"))
    assert pin.pinned_version(host.text(pin.PIN) or "") == "580.126.09"
    assert host.place(pin.PIN).stat().st_mode & 0o777 == 0o644
    assert pin.pinned_version("") is None
    assert "Pin-Priority: 1000" in pin.pin_text("580.126.09")


@pytest.mark.parametrize(
    ("package", "stays"),
    [
        ("libcuda1", True),
        ("libcuda1:i386", True),
        ("libegl-nvidia0", True),
        ("nvidia-kernel-open-dkms", True),
        ("linux-modules-nvidia-580-server-generic", True),
        ("libcudart12", False),  # of a toolkit
        ("linux-image-amd64", False),
    ],
)
def test_packages_that_unattended_upgrades_leaves_alone(package: str, stays: bool) -> None:
    """As it reads the list: regular expressions for re.match."""
    listed = re.findall(r'^    "(.+)";$', pin.blacklist_text(), re.MULTILINE)
    assert any(re.match(expression, package) for expression in listed) is stays


def test_the_pin_is_simulated_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get='for a; do case $a in *parts=*) cat "${a#*=}"/*;; esac; done >"$SEEN"; echo "$@" >>"$SEEN"')
    seen = tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    host = DriverHost(tmp_path)
    put(tmp_path, "etc/apt/preferences.d/other", "Package: other\n")
    host.simulate(["nvidia-driver-cuda=580.126.09-1"], pin.pin_text("580.126.09"))
    text = seen.read_text("utf-8")
    assert "Package: other" in text and "Pin: version 580.126.09*" in text and text.endswith("install -- nvidia-driver-cuda=580.126.09-1\n")
    assert not host.place(pin.PIN).exists()
    host.write(pin.PIN, pin.pin_text("580.126.09"))
    host.simulate([], pin.pin_text("580.126.09"))
    assert "preferencesparts" not in seen.read_text("utf-8")


@pytest.mark.parametrize(
    ("variable", "keys", "answer", "refuses"),
    [
        (None, [], "", False),
        (b"\x06\0\0\0\0", [], "", False),
        (b"\x06\0\0\0\x01", [], "", True),
        (b"\x06\0\0\0\x01", ["var/lib/dkms/mok.pub"], "is not enrolled", True),
        (b"\x06\0\0\0\x01", ["var/lib/dkms/mok.pub"], "is already enrolled", False),
        (b"\x06\0\0\0\x01", ["var/lib/shim-signed/mok/MOK.der"], "is already enrolled", False),
    ],
)
def test_secure_boot(
    variable: bytes | None, keys: list[str], answer: str, refuses: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, mokutil=f'echo "$2 {answer}"')
    if variable:
        put(tmp_path, "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", variable)
    for key in keys:
        put(tmp_path, key)
    assert DriverHost(tmp_path).refuses_own_modules() is refuses


def test_a_driver_of_no_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, dpkg_query="exit 1")
    host = DriverHost(tmp_path)
    assert host.foreign_driver() is None
    library = put(tmp_path, "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05")
    (library.parent / "libnvidia-ml.so.1").symlink_to(library.name)
    assert host.foreign_driver() == str(library)
    programs(tmp_path, monkeypatch, dpkg_query="exit 0")
    assert host.foreign_driver() is None


def test_space_for_an_initramfs(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    assert DriverHost(tmp_path).boot_space() == (None, 0)
    put(tmp_path, "boot/initrd.img-6.1.0-39-amd64", b"x" * 10)
    put(tmp_path, "boot/initrd.img-6.1.0-40-amd64", b"x" * 20)
    free, largest = DriverHost(tmp_path).boot_space()
    assert free and largest == 20


def test_what_came_since_this_boot(tmp_path: Path) -> None:
    host, kernel = DriverHost(tmp_path), Kernel("6.1.0-40-amd64")
    put(tmp_path, "var/lib/dpkg/info/libcuda1:amd64.list")
    stat = " ".join(["1 (sys temd) S", *["0"] * 18, "500", "0"])
    put(tmp_path, "proc/1/stat", stat)
    put(tmp_path, "proc/stat", "cpu 1\nbtime 1000\n")
    assert host.came_since_boot(["libcuda1"], kernel) and not host.came_since_boot(["nvidia-smi"], kernel)
    put(tmp_path, "var/lib/dpkg/info/nvidia-driver-pinning-580.list")
    put(tmp_path, "lib/modules/6.1.0-40-amd64/kernel/drivers/video/fbdev/nvidia/nvidiafb.ko")
    put(tmp_path, "lib/modules/6.1.0-41-amd64/updates/dkms/nvidia.ko")
    assert not host.came_since_boot(["nvidia-driver"], kernel)
    put(tmp_path, "proc/stat", "cpu 1\nbtime 99999999999\n")
    assert not host.came_since_boot(["libcuda1"], kernel)


@pytest.mark.parametrize(
    "module", ["updates/dkms/nvidia.ko", "updates/dkms/nvidia-current.ko.xz", "kernel/nvidia-580-server-open/nvidia.ko.zst"]
)
def test_a_module_of_packages_that_were_unpacked_before_a_power_cut(tmp_path: Path, module: str) -> None:
    put(tmp_path, "proc/1/stat", " ".join(["1 (systemd) S", *["0"] * 18, "500", "0"]))
    put(tmp_path, "proc/stat", "cpu 1\nbtime 1000\n")
    assert not DriverHost(tmp_path).came_since_boot(["nvidia-kernel-open-dkms"], Kernel("6.1.0-40-amd64"))
    put(tmp_path, f"lib/modules/6.1.0-40-amd64/{module}")
    assert DriverHost(tmp_path).came_since_boot(["nvidia-kernel-open-dkms"], Kernel("6.1.0-40-amd64"))


def test_interrupted_dpkg(tmp_path: Path) -> None:
    host = DriverHost(tmp_path)
    assert not host.interrupted()
    put(tmp_path, "var/lib/dpkg/updates/tmp.i")
    assert not host.interrupted()
    put(tmp_path, "var/lib/dpkg/updates/0003")
    assert host.interrupted()


def test_another_program_that_installs_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = put(tmp_path, "var/lib/dpkg/lock-frontend")
    programs(tmp_path, monkeypatch, dpkg=f"echo $DPKG_FRONTEND_LOCKED $@ >{tmp_path}/done")
    child = os.fork()  # a lock of the same process would not be in the way
    if child == 0:
        with lock.open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            put(tmp_path, "locked")
            while not (tmp_path / "stop").exists():
                pass
        os._exit(0)
    while not (tmp_path / "locked").exists():
        pass
    with pytest.raises(UserError, match="lock_timeout"):
        DriverHost(tmp_path, lock_timeout=0).configure()
    assert not (tmp_path / "done").exists()
    put(tmp_path, "stop")
    os.waitpid(child, 0)
    DriverHost(tmp_path, lock_timeout=5).configure()
    assert (tmp_path / "done").read_text("utf-8").startswith("1 --configure --pending")


def test_headers_and_versions(tmp_path: Path) -> None:
    host, kernel = DriverHost(tmp_path), Kernel("6.1.0-40-amd64")
    assert not host.has_headers(kernel) and host.loaded_module() is None and not host.nouveau()
    (tmp_path / "lib/modules/6.1.0-40-amd64/build").mkdir(parents=True)
    put(tmp_path, "sys/module/nvidia/version", "580.95.05\n")
    put(tmp_path, "sys/module/nouveau/refcnt")
    assert host.has_headers(kernel) and host.loaded_module() == ("580.95.05", "none") and host.nouveau()


def test_everything_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.release", lambda: "6.1.0-40-amd64")
    listed = "linux-image-amd64\\tamd64\\t6.1\\tinstall\\tok\\tinstalled\\n"
    driver = "libcuda1\\tamd64\\t580.95.05-1\\tinstall\\tok\\tinstalled\\n"
    programs(tmp_path, monkeypatch, dpkg="echo amd64", dpkg_query=f'[ "$1" = --show ] || exit 1; printf "{listed}"')
    library = put(tmp_path, "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05")
    put(tmp_path, pin.PIN, "Package: *\n")
    put(tmp_path, "sys/module/nouveau/refcnt")
    put(tmp_path, "var/lib/dpkg/updates/0003")
    (tmp_path / "lib/modules/6.1.0-40-amd64/build").mkdir(parents=True)
    seen = DriverHost(tmp_path).see()
    assert (seen.kernel, seen.headers, seen.nouveau, seen.unfinished) == (Kernel("6.1.0-40-amd64", ("amd64",)), True, True, True)
    assert seen.files == {pin.PIN: "Package: *\n", pin.BLACKLIST: None, pin.NOUVEAU: None}
    assert (seen.foreign, seen.record, seen.loaded, seen.state.version) == (str(library), None, None, None)
    programs(tmp_path, monkeypatch, dpkg_query=f'[ "$1" = --show ] || exit 1; printf "{driver}"')
    put(tmp_path, "var/lib/dpkg/info/libcuda1:amd64.list")
    seen = DriverHost(tmp_path).see()
    assert (seen.foreign, seen.state.version, seen.came_since_boot) == (None, "580.95.05", True)
    put(tmp_path, "sys/module/nvidia/version", "580.95.05\n")
    assert not DriverHost(tmp_path).see().came_since_boot


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "E: Failed to fetch http://deb.example.org/linux-headers-6.1_1_amd64.deb  Could not connect\nE: Some files failed",
            "cannot fetch",
        ),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)", "raise nvidia_driver_lock_timeout"),
        ("E: Sub-process /usr/bin/dpkg returned an error code (1)", r"\(rc 100\): E: Sub-process /usr/bin/dpkg"),
    ],
)
def test_why_apt_failed(said: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get=f'echo "{said}" >&2; exit 100')
    host = DriverHost(tmp_path)
    with pytest.raises(UserError, match=f"^The download of it failed.*{words}") as failed:
        host.download(["libcuda1"], "", "The download of it")
    assert (failed.value.details["rc"], failed.value.details["stderr"]) == (100, f"{said}\n")
    with pytest.raises(UserError, match=f"^The installation of it failed.*{words}"):
        host.install(["libcuda1"], "The installation of it")
