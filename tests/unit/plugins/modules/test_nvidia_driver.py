# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as pin
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change, Package
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import Kernel
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, ModuleVersion
from ansible_collections.baremetal.llm.plugins.modules import nvidia_driver

OPEN_SET = ("libcuda1", "nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced")
HEADERS = "linux-headers-6.1.0-40-amd64"


class Host:
    """A host of which nothing but its packages and files is kept; ``done`` is what was changed, in this order."""

    def __init__(self, installed: Mapping[str, str] | None = None, offered: Sequence[str] = (), **more: Any) -> None:
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
        for name, value in more.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    def __call__(self, lock_timeout: int) -> Host:
        return self

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

    def record(self) -> Record | None:
        return self.saved

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

    def installed_since_boot(self, names: object) -> bool:
        return bool(self.done)

    def nouveau(self) -> bool:
        return False

    def refuses_own_modules(self) -> bool:
        return self.secure_boot

    def boot_space(self) -> tuple[int | None, int]:
        return None, 0

    def var_space(self) -> int:
        return 1 << 40

    def text(self, path: str) -> str | None:
        return self.files.get(path)

    def path(self, path: str) -> str:
        return f"/{path}"

    def automatic(self) -> set[str]:
        return {"libcuda1"}

    def boot_id(self) -> str:
        return "boot"

    # apt
    def simulate(self, arguments: Sequence[str], text: str) -> tuple[Completed, list[Change]]:
        if self.is_interrupted:
            return Completed(
                (), 100, "", "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
            ), []
        changes = []
        for name, version in self.result(arguments).items():
            if self.installed.get(name) != version:
                changes.append(Change(name, self.installed.get(name), version))
        changes += [Change(name, "1", None) for name in self.gone]
        return Completed((), 0, "", ""), changes

    def download_bytes(self, arguments: Sequence[str], text: str) -> int:
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
        self.is_interrupted = False
        self.unpacked = set()

    def download(self, arguments: Sequence[str], text: str) -> None:
        self.done.append("download")
        if self.fails == "download":
            raise nvidia_driver.UserError("The download of the new driver failed (rc 100): no network")

    def install(self, arguments: Sequence[str], what: str) -> None:
        self.done.append("install")
        self.installed = self.result(arguments)
        self.unpacked = set()

    def mark_automatic(self, names: Sequence[str]) -> None:
        self.done.append(f"auto {' '.join(names)}")

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

    def drop_record(self) -> None:
        self.done.append("drop")
        self.saved = None


def driver(version: str, *more: str) -> dict[str, str]:
    return {**dict.fromkeys((*OPEN_SET, *more), f"{version}-1"), HEADERS: "1"}


def pinned(version: str) -> dict[str, str]:
    return {pin.PIN: pin.pin_text(version), pin.BLACKLIST: pin.blacklist_text(), pin.NOUVEAU: pin.nouveau_text()}


VERSIONS = ("590.48.01", "580.126.09", "580.95.05")
WRITES = [f"write {path}" for path in (pin.PIN, pin.BLACKLIST, pin.NOUVEAU)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def runner(host: Host, check: bool = False, **arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(nvidia_driver, "DriverHost", host)
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            nvidia_driver.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return runner


def codes(result: Mapping[str, Any]) -> list[str]:
    return [problem["code"] for problem in result["problems"]]


def test_a_first_driver(run: Any) -> None:
    host = Host(offered=VERSIONS)
    planned = run(host, version="580", state="planned")
    assert planned["due"] and planned["installs"] and not planned["changed"] and planned["message"] == "" and host.done == []
    checked = run(host, check=True, version="580")
    assert checked["changed"] and checked["installed_version"] == "580.126.09" and host.done == []
    result = run(host, version="580")
    assert result["changed"] and result["reboot_required"] and result["installed_version"] == "580.126.09"
    assert host.done == [*WRITES, "install", "auto "] and pin.pinned_version(host.files[pin.PIN]) == "580.126.09"
    assert host.saved is None
    host.done, host.loaded = [], "580.126.09"
    again = run(host, version="580")
    assert not again["changed"] and not again["reboot_required"] and host.done == [] and again["diff"] == []
    assert not run(host, version="580", state="planned")["due"]


@pytest.mark.parametrize("version", ["", "580", "580.95.05"])
def test_a_driver_that_is_there_is_only_pinned(version: str, run: Any) -> None:
    host = Host(driver("580.95.05"), VERSIONS, loaded="580.95.05")
    assert run(host, version=version)["changed"]
    assert host.done == WRITES and pin.pinned_version(host.files[pin.PIN]) == "580.95.05"


@pytest.mark.parametrize("arguments", [{"version": "590"}, {"version": "580.126.09"}, {"kernel_module": "proprietary"}])
def test_a_driver_is_never_changed_by_accident(arguments: dict[str, str], run: Any) -> None:
    host = Host(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"))
    result = run(host, **arguments)
    assert result["failed"] and codes(result)[0] in ("other_version", "other_flavour") and host.done == []
    assert "playbooks/driver_upgrade.yml" in result["msg"]


def test_an_upgrade_and_both_its_ends(run: Any) -> None:
    host = Host(driver("580.95.05", "libnvidia-ml1"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    result = run(host, version="590", upgrade=True)
    assert (result["installed_version"], result["previous_version"], result["reboot_required"]) == ("590.48.01", "580.95.05", True)
    assert host.done == ["keep", "record", "download", WRITES[0], "install", "auto libcuda1"]
    assert host.saved and host.saved.packages["libnvidia-ml1"] == "580.95.05-1" and host.saved.target == "590.48.01"
    host.done = []
    assert not run(host, version="590", upgrade=True)["changed"] and host.done == []
    assert codes(run(host, version="590")) == ["upgrade_not_accepted"]
    back = run(host, state="reverted")
    assert back["changed"] and back["installed_version"] == "580.95.05" and pin.pinned_version(host.files[pin.PIN]) == "580.95.05"
    assert host.done == [WRITES[0], "install", "auto libcuda1"]
    assert not run(host, state="reverted")["changed"]
    assert run(host, check=True, state="accepted")["changed"] and host.saved
    assert run(host, state="accepted")["changed"] and host.saved is None
    assert not run(host, state="accepted")["changed"]
    assert not run(host, state="reverted")["changed"]


@pytest.mark.parametrize(
    ("loaded", "flavour", "required"),
    [
        ("580.95.05", Flavour.OPEN, True),
        ("580.95.05", Flavour.PROPRIETARY, False),
        ("580.95.05", Flavour.NONE, False),  # nobody can tell
        ("590.48.01", Flavour.PROPRIETARY, True),
        (None, Flavour.NONE, False),
    ],
)
def test_modules_that_do_not_run_need_a_reboot(loaded: str | None, flavour: Flavour, required: bool, run: Any) -> None:
    closed = {name.replace("nvidia-kernel-open-dkms", "nvidia-kernel-dkms"): version for name, version in driver("580.95.05").items()}
    host = Host(closed, VERSIONS, files=pinned("580.95.05"), loaded=loaded, loaded_flavour=flavour)
    assert run(host)["reboot_required"] is required


def test_check_mode_tells_what_will_be_there(run: Any) -> None:
    """Each state: checked, then done, with the same answer."""
    host = Host(driver("580.95.05", "libnvidia-ml1"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    told = ("changed", "installed_version", "target_version", "previous_version", "kernel_module", "packages", "reboot_required")
    upgrade = {"version": "590", "upgrade": True}
    for arguments in (upgrade, {"state": "reverted"}, upgrade, {"state": "accepted"}):
        before = run(host, check=True, state="planned", **upgrade)
        assert (before["installed_version"], before["packages"]) == (host.installed["libcuda1"][:-2], packages(host))
        checked, done = (run(host, check=check, **arguments) for check in (True, False))
        assert [checked[key] for key in told] == [done[key] for key in told]
        assert done["packages"] == packages(host)


def packages(host: Host) -> list[str]:
    return [f"{name}={version}" for name, version in sorted(host.installed.items()) if name != HEADERS]


def test_what_an_upgrade_needs_is_fetched_before(run: Any) -> None:
    host = Host(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    wanted = {"version": "590", "upgrade": True, "state": "downloaded"}
    predicted = run(host, check=True, **wanted)
    assert (predicted["changed"], predicted["installed_version"], predicted["reboot_required"]) == (True, "580.95.05", False)
    assert host.done == [] and predicted["diff"] == []
    result = run(host, **wanted)
    assert (result["changed"], result["target_version"], result["installed_version"]) == (True, "590.48.01", "580.95.05")
    assert host.done == ["keep", "download"] and host.saved is None and host.files == pinned("580.95.05")
    assert not run(host, **wanted)["changed"]
    host.done = []
    assert not run(host, version="580", state="downloaded")["changed"] and host.done == []


@pytest.mark.parametrize(("arguments", "code"), [({}, "other_version"), ({"upgrade": True}, "version_not_offered")])
def test_what_is_refused_is_not_fetched(arguments: dict[str, bool], code: str, run: Any) -> None:
    host = Host(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"))
    result = run(host, version="590.99.99", state="downloaded", **arguments)
    assert result["failed"] and code in codes(result) and host.done == []


def test_nothing_is_fetched_while_dpkg_is_interrupted(run: Any) -> None:
    host = cut_short()
    assert not run(host, version="590", upgrade=True, state="downloaded")["changed"] and host.done == []


def test_a_download_that_fails_leaves_the_pin_where_it_is(run: Any) -> None:
    host = Host(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"), fails="download")
    assert "no network" in run(host, version="590", upgrade=True)["msg"]
    assert pin.pinned_version(host.files[pin.PIN]) == "580.95.05" and host.installed == driver("580.95.05")


def test_where_there_is_no_way_back_it_is_said(run: Any) -> None:
    host = Host(driver("580.95.05"), VERSIONS, fails="keep")
    assert codes(run(host, version="590", upgrade=True)) == ["cannot_go_back"]


def test_where_an_upgrade_came_from_is_never_forgotten(run: Any) -> None:
    host = Host(driver("580.95.05"), VERSIONS)
    run(host, version="580.126.09", upgrade=True)
    run(host, version="590", upgrade=True)
    assert host.saved and (host.saved.version, host.saved.target) == ("580.95.05", "590.48.01")
    assert host.done.count("keep") == 1


def cut_short(**more: Any) -> Host:
    """Half of the packages are of the new driver, and dpkg was killed."""
    packages = {**driver("580.95.05"), "libcuda1": "590.48.01-1", "nvidia-driver-cuda": "590.48.01-1"}
    saved = Record("580.95.05", "open", dict.fromkeys(OPEN_SET, "580.95.05-1"), (), "590.48.01", "k", "b", "t")
    return Host(packages, VERSIONS, saved=saved, unpacked={"libcuda1"}, is_interrupted=True, **more)


def test_a_power_cut_is_healed_forwards(run: Any) -> None:
    host = cut_short()
    assert run(host, check=True, version="590", upgrade=True)["changed"] and host.done == []
    assert run(host, version="590", upgrade=True)["installed_version"] == "590.48.01"
    assert host.installed == driver("590.48.01") and host.done[0] == "configure" and "keep" not in host.done
    assert not run(host, version="590", upgrade=True)["changed"]


def test_a_power_cut_is_healed_backwards(run: Any) -> None:
    host = cut_short()
    assert run(host, state="reverted")["installed_version"] == "580.95.05"
    assert host.installed == driver("580.95.05") and host.done[0] == "configure"


def test_packages_of_two_versions_are_no_driver_even_where_each_is_intact(run: Any) -> None:
    host = cut_short()
    host.unpacked, host.is_interrupted = set(), False
    assert run(host, version="590", upgrade=True)["changed"] and host.installed == driver("590.48.01")


def test_an_upgrade_that_was_cut_short_is_not_finished_by_the_way(run: Any) -> None:
    host = cut_short()
    assert codes(run(host, version="590")) == ["upgrade_unfinished"] and host.done == []


def test_a_first_installation_that_was_cut_short_is_finished(run: Any) -> None:
    host = Host({"libcuda1": "580.126.09-1", HEADERS: "1"}, VERSIONS, unpacked={"libcuda1"}, is_interrupted=True)
    assert run(host, version="580")["changed"] and host.installed == driver("580.126.09")


@pytest.mark.parametrize(
    ("host", "arguments", "code"),
    [
        (Host(offered=VERSIONS), {"version": "580.99"}, "version_not_offered"),
        (Host(offered=VERSIONS), {"version": "600"}, "version_not_offered"),
        (Host(), {"version": "580"}, "repository_missing"),
        (Host(offered=VERSIONS, foreign="/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05"), {}, "not_from_apt"),
        (Host(offered=VERSIONS, secure_boot=True), {}, "secure_boot"),
        (Host(offered=VERSIONS, gone=["blender"]), {}, "would_remove"),
        (Host(offered=VERSIONS), {"version": "590", "gpus": [{"name": "Tesla V100-PCIE-16GB"}], "kernel_module": "open"}, "driver_too_new"),
        (Host(driver("580.95.05"), VERSIONS), {"upgrade": True, "version": "580.99"}, "version_not_offered"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is(host: Host, arguments: dict[str, Any], code: str, run: Any) -> None:
    result = run(host, **arguments)
    assert result["failed"] and code in codes(result) and host.done == []
    planned = run(host, state="planned", **arguments)
    assert "failed" not in planned and code in codes(planned) and planned["due"]


def test_a_repository_may_come_later_in_the_same_run(run: Any) -> None:
    result = run(Host(), check=True, version="580")
    assert result["changed"] and codes(result) == ["repository_missing"] and result["problems"][0]["severity"] == "warning"
