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
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Package
from ansible_collections.baremetal.llm.plugins.module_utils._driver_host import DriverHost, state_of
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import Kernel
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

RECORD = Record(
    "580.95.05", "open", {"libcuda1": "580.95.05-1"}, ("libcuda1",), "590.48.01", "6.1.0-40-amd64", "b", "2026-11-20T16:40:28+00:00"
)


def put(root: Path, path: str, text: str | bytes = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def programs(root: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    for name, script in scripts.items():
        put(root, f"bin/{name.replace('_', '-')}", f"#!/bin/sh\n{script}\n").chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")


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
    assert (tmp_path / pin.PIN).stat().st_mode & 0o777 == 0o644
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


def test_the_record(tmp_path: Path) -> None:
    host = DriverHost(tmp_path)
    assert host.record() is None
    host.write_record(RECORD)
    assert host.record() == RECORD
    assert RECORD.towards("610.43.02").version == "580.95.05"
    put(tmp_path, "var/lib/baremetal-llm/driver-upgrade/libcuda1_580.95.05-1_amd64.deb")
    host.drop_record()
    assert host.record() is None and os.listdir(tmp_path / "var/lib/baremetal-llm") == []
    host.drop_record()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "580.95.05"}'])
def test_a_damaged_record_is_not_obeyed(text: str, tmp_path: Path) -> None:
    put(tmp_path, "var/lib/baremetal-llm/driver-upgrade.json", text)
    with pytest.raises(UserError, match=r"driver-upgrade\.json is not the record"):
        DriverHost(tmp_path).record()


def test_package_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(
        tmp_path, monkeypatch, dpkg="echo amd64", apt_get='[ "$2" = libcuda1=580.95.05-1 ] && echo deb >libcuda1_580.95.05-1_amd64.deb'
    )
    put(tmp_path, "var/cache/apt/archives/nvidia-smi_1%3a580.95.05-1_amd64.deb", "cached")
    host = DriverHost(tmp_path)
    packages = {"libcuda1": "580.95.05-1", "nvidia-smi": "1:580.95.05-1", "nvidia-modprobe": "580.95.05-1"}
    assert host.keep(packages) == ["nvidia-modprobe=580.95.05-1"]
    kept = tmp_path / "var/lib/baremetal-llm/driver-upgrade"
    assert sorted(os.listdir(kept)) == ["libcuda1_580.95.05-1_amd64.deb", "nvidia-smi_1%3a580.95.05-1_amd64.deb"]
    assert host.arguments_to_install(packages) == [
        str(kept / "libcuda1_580.95.05-1_amd64.deb"),
        "nvidia-modprobe=580.95.05-1",
        str(kept / "nvidia-smi_1%3a580.95.05-1_amd64.deb"),
    ]


def test_files_of_a_package_for_two_architectures_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, dpkg="echo amd64", apt_get="exit 100")
    for architecture in ("arm64", "i386", "amd64"):  # whichever the directory happens to list first
        put(tmp_path, f"var/cache/apt/archives/libcuda1_580.95.05-1_{architecture}.deb", architecture)
    put(tmp_path, "var/cache/apt/archives/firmware-nvidia-gsp_580.95.05-1_all.deb")
    host = DriverHost(tmp_path)
    packages = dict.fromkeys(["firmware-nvidia-gsp", "libcuda1", "libcuda1:i386"], "580.95.05-1")
    assert host.keep(packages) == []
    kept = [Path(file) for file in host.arguments_to_install(packages)]
    assert [file.name.rpartition("_")[2] for file in kept] == ["all.deb", "amd64.deb", "i386.deb"]
    assert [file.read_text("utf-8") for file in kept] == ["", "amd64", "i386"]
    assert host.arguments_to_install({"firmware-nvidia-gsp:i386": "580.95.05-1"}) == ["firmware-nvidia-gsp:i386=580.95.05-1"]


def test_package_files_are_fetched_at_once_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = 'echo "$@" >>"$SEEN"; shift; for a; do echo deb >"${a%%=*}_${a#*=}_amd64.deb"; done'
    programs(tmp_path, monkeypatch, apt_get=fetch)
    seen = tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    host, packages = DriverHost(tmp_path), {"libcuda1": "580.95.05-1", "nvidia-modprobe": "580.95.05-1"}
    assert host.missing(packages) == ["libcuda1=580.95.05-1", "nvidia-modprobe=580.95.05-1"]
    assert host.keep(packages) == host.keep(packages) == host.missing(packages) == []
    assert seen.read_text("utf-8") == "download libcuda1=580.95.05-1 nvidia-modprobe=580.95.05-1\n"
    assert host.missing({"libcuda1:i386": "580.95.05-1"}) == ["libcuda1:i386=580.95.05-1"]


def test_the_pin_is_simulated_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get='for a; do case $a in *parts=*) cat "${a#*=}"/*;; esac; done >"$SEEN"; echo "$@" >>"$SEEN"')
    seen = tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    host = DriverHost(tmp_path)
    put(tmp_path, "etc/apt/preferences.d/other", "Package: other\n")
    host.simulate(["nvidia-driver-cuda=580.126.09-1"], pin.pin_text("580.126.09"))
    text = seen.read_text("utf-8")
    assert "Package: other" in text and "Pin: version 580.126.09*" in text and text.endswith("install -- nvidia-driver-cuda=580.126.09-1\n")
    assert not (tmp_path / pin.PIN).exists()
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


def test_what_was_installed_since_this_boot(tmp_path: Path) -> None:
    host = DriverHost(tmp_path)
    put(tmp_path, "var/lib/dpkg/info/libcuda1:amd64.list")
    stat = " ".join(["1 (sys temd) S", *["0"] * 18, "500", "0"])
    put(tmp_path, "proc/1/stat", stat)
    put(tmp_path, "proc/stat", "cpu 1\nbtime 1000\n")
    assert host.installed_since_boot(["libcuda1"]) and not host.installed_since_boot(["nvidia-smi"])
    put(tmp_path, "var/lib/dpkg/info/nvidia-driver-pinning-580.list")
    assert not host.installed_since_boot(["nvidia-driver"])
    put(tmp_path, "proc/stat", "cpu 1\nbtime 99999999999\n")
    assert not host.installed_since_boot(["libcuda1"])


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


def test_the_state_of_the_packages() -> None:
    state = state_of(
        [
            Package("libcuda1", "590.48.01-1", "installed", held=True, intact=True),
            Package("nvidia-driver-cuda", "590.48.01-1", "unpacked", held=False, intact=False),
            Package("nvidia-container-toolkit", "1.18.0-1", "unpacked", held=True, intact=False),
        ],
        RECORD,
    )
    assert state.versions == {"libcuda1": "590.48.01-1", "nvidia-driver-cuda": "590.48.01-1"}
    assert (state.broken, state.held, state.upgraded_from) == (("nvidia-driver-cuda",), ("libcuda1",), "580.95.05")
