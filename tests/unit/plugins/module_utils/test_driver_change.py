# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as pin
from ansible_collections.baremetal.llm.plugins.module_utils._driver_change import DriverChange, Outcome
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import Needs, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._driver_work import Request
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import ProblemsError, errors
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_driver_host import (
    HEADERS,
    OPEN_SET,
    VERSIONS,
    FakeDriverHost,
    driver,
    pinned,
)

WRITES = [f"write {path}" for path in pin.FILES]


def run(
    host: FakeDriverHost,
    state: str = "present",
    *,
    check: bool = False,
    version: str = "",
    flavour: Flavour | None = None,
    upgrade: bool = False,
    gpus: Sequence[Mapping[str, object]] = (),
) -> Outcome:
    change = DriverChange(host, Request(Wish(version, flavour, upgrade), Needs(gpus)), check_mode=check)
    outcome: Outcome = getattr(change, state)()
    return outcome


def codes(found: Outcome | ProblemsError) -> list[str]:
    return [problem.code for problem in found.problems]


def test_a_first_driver() -> None:
    host = FakeDriverHost(offered=VERSIONS)
    planned = run(host, version="580", state="planned")
    assert planned.due and planned.installs and not planned.changed and host.done == []
    checked = run(host, check=True, version="580")
    assert checked.changed and checked.installed == "580.126.09" and host.done == []
    result = run(host, version="580")
    assert result.changed and result.reboot_required and result.installed == "580.126.09"
    assert host.done == [*WRITES, "install", "auto "] and pin.pinned_version(host.files[pin.PIN]) == "580.126.09"
    assert host.saved is None
    host.done, host.loaded = [], "580.126.09"
    again = run(host, version="580")
    assert not again.changed and not again.reboot_required and host.done == [] and (again.changes, again.files) == ((), ())
    assert not run(host, version="580", state="planned").due


@pytest.mark.parametrize("version", ["", "580", "580.95.05"])
def test_a_driver_that_is_there_is_only_pinned(version: str) -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, loaded="580.95.05")
    assert run(host, version=version).changed
    assert host.done == WRITES and pin.pinned_version(host.files[pin.PIN]) == "580.95.05"
    assert not run(FakeDriverHost(driver("580.95.05"), VERSIONS), check=True, version=version).reboot_required


def test_a_reboot_that_is_due_is_something_to_do() -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    assert not run(host, "planned").due
    host.loaded = "580.126.09"
    planned = run(host, "planned")
    assert (planned.due, planned.reboot_required, planned.installs) == (True, True, False)


@pytest.mark.parametrize("arguments", [{"version": "590"}, {"version": "580.126.09"}, {"flavour": Flavour.PROPRIETARY}])
def test_a_driver_is_never_changed_by_accident(arguments: dict[str, Any]) -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"))
    with pytest.raises(ProblemsError, match=r"playbooks/driver_upgrade\.yml") as stopped:
        run(host, **arguments)
    assert codes(stopped.value)[0] in ("other_version", "other_flavour") and host.done == []


def test_an_upgrade_and_both_its_ends() -> None:
    host = FakeDriverHost(driver("580.95.05", "libnvidia-ml1"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    result = run(host, version="590", upgrade=True)
    assert (result.installed, result.previous, result.reboot_required) == ("590.48.01", "580.95.05", True)
    assert host.done == ["keep", "record", "download", WRITES[0], "install", "auto libcuda1"]
    assert host.saved and host.saved.packages["libnvidia-ml1"] == "580.95.05-1" and host.saved.target == "590.48.01"
    host.done = []
    assert not run(host, version="590", upgrade=True).changed and host.done == []
    assert codes(run(host, version="590")) == ["upgrade_not_accepted"]
    back = run(host, state="reverted")
    assert back.changed and back.installed == "580.95.05" and pin.pinned_version(host.files[pin.PIN]) == "580.95.05"
    assert host.done == [WRITES[0], "install", "auto libcuda1"]
    assert not run(host, state="reverted").changed
    assert run(host, check=True, state="accepted").changed and host.saved
    accepted = run(host, state="accepted")
    assert accepted.changed and accepted.previous is None and host.saved is None
    assert not run(host, state="accepted").changed
    assert not run(host, state="reverted").changed


def test_check_mode_tells_what_will_be_there() -> None:
    """Each state: checked, then done, with the same answer."""
    host = FakeDriverHost(driver("580.95.05", "libnvidia-ml1"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    told = ("changed", "installed", "target", "previous", "flavour", "packages", "reboot_required")
    upgrade: dict[str, Any] = {"version": "590", "upgrade": True}
    for arguments in (upgrade, {"state": "reverted"}, upgrade, {"state": "accepted"}):
        before = run(host, check=True, state="planned", **upgrade)
        assert (before.installed, before.packages) == (host.installed["libcuda1"][:-2], packages(host))
        checked, done = (run(host, check=check, **arguments) for check in (True, False))
        assert [getattr(checked, key) for key in told] == [getattr(done, key) for key in told]
        assert done.packages == packages(host)


def packages(host: FakeDriverHost) -> tuple[str, ...]:
    return tuple(f"{name}={version}" for name, version in sorted(host.installed.items()) if name != HEADERS)


def test_what_an_upgrade_needs_is_fetched_before() -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    wanted: dict[str, Any] = {"version": "590", "upgrade": True, "state": "downloaded"}
    predicted = run(host, check=True, **wanted)
    assert (predicted.changed, predicted.installed, predicted.reboot_required) == (True, "580.95.05", False)
    assert host.done == []
    result = run(host, **wanted)
    assert (result.changed, result.target, result.installed) == (True, "590.48.01", "580.95.05")
    assert host.done == ["keep", "download"] and host.saved is None and host.files == pinned("580.95.05")
    assert not run(host, **wanted).changed
    host.done = []
    assert not run(host, version="580", state="downloaded").changed and host.done == []


@pytest.mark.parametrize(("arguments", "code"), [({}, "other_version"), ({"upgrade": True}, "version_not_offered")])
def test_what_is_refused_is_not_fetched(arguments: dict[str, bool], code: str) -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"))
    with pytest.raises(ProblemsError) as stopped:
        run(host, version="590.99.99", state="downloaded", **arguments)
    assert code in codes(stopped.value) and host.done == []


def test_nothing_is_fetched_while_dpkg_is_interrupted() -> None:
    host = cut_short()
    assert not run(host, version="590", upgrade=True, state="downloaded").changed and host.done == []


def test_a_download_that_fails_leaves_the_pin_where_it_is() -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"), fails="download")
    with pytest.raises(UserError, match=r"^The download of NVIDIA driver 590\.48\.01 failed .*no network"):
        run(host, version="590", upgrade=True)
    assert pin.pinned_version(host.files[pin.PIN]) == "580.95.05" and host.installed == driver("580.95.05")


def test_where_there_is_no_way_back_it_is_said() -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, fails="keep")
    assert codes(run(host, version="590", upgrade=True)) == ["cannot_go_back"]


def test_where_an_upgrade_came_from_is_never_forgotten() -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS)
    run(host, version="580.126.09", upgrade=True)
    run(host, version="590", upgrade=True)
    assert host.saved and (host.saved.version, host.saved.target) == ("580.95.05", "590.48.01")
    assert host.done.count("keep") == 1


def cut_short(**more: Any) -> FakeDriverHost:
    """Half of the packages are of the new driver, and dpkg was killed."""
    packages = {**driver("580.95.05"), "libcuda1": "590.48.01-1", "nvidia-driver-cuda": "590.48.01-1"}
    saved = Record("580.95.05", "open", dict.fromkeys(OPEN_SET, "580.95.05-1"), ("libcuda1", "libold"), "590.48.01", "k", "b", "t")
    return FakeDriverHost(packages, VERSIONS, saved=saved, unpacked={"libcuda1"}, is_interrupted=True, **more)


def test_a_power_cut_is_healed_forwards() -> None:
    host = cut_short()
    assert run(host, check=True, version="590", upgrade=True).changed and host.done == []
    assert run(host, version="590", upgrade=True).installed == "590.48.01"
    assert host.installed == driver("590.48.01") and host.done[0] == "configure" and "keep" not in host.done
    assert host.done[-1] == "auto libcuda1"
    assert not run(host, version="590", upgrade=True).changed


def test_a_power_cut_is_healed_backwards() -> None:
    host = cut_short()
    assert run(host, state="reverted").installed == "580.95.05"
    assert host.installed == driver("580.95.05") and host.done[0] == "configure" and host.done[-1] == "auto libcuda1 libold"


def test_what_dpkg_cannot_finish_is_not_tried_twice() -> None:
    host = cut_short(fails="configure")
    with pytest.raises(ProblemsError) as stopped:
        run(host, version="590", upgrade=True)
    assert codes(stopped.value) == ["apt_refuses"] and host.done == ["configure"]


def test_dpkg_finishes_what_has_nothing_to_do_with_the_driver() -> None:
    host = FakeDriverHost({**driver("580.95.05"), "vim": "9"}, VERSIONS, files=pinned("580.95.05"), unpacked={"vim"})
    assert run(host, check=True).changed and host.done == []
    assert run(host).changed and host.done == ["configure"]
    assert not run(host).changed
    host.unpacked, host.fails = {"vim"}, "configure"
    assert not run(host).changed


def test_packages_of_two_versions_are_no_driver_even_where_each_is_intact() -> None:
    host = cut_short()
    host.unpacked, host.is_interrupted = set(), False
    assert run(host, version="590", upgrade=True).changed and host.installed == driver("590.48.01")


def test_an_upgrade_that_was_cut_short_is_not_finished_by_the_way() -> None:
    host = cut_short()
    with pytest.raises(ProblemsError) as stopped:
        run(host, version="590")
    assert codes(stopped.value) == ["upgrade_unfinished"] and host.done == []


def test_a_first_installation_that_was_cut_short_is_finished() -> None:
    host = FakeDriverHost({"libcuda1": "580.126.09-1", HEADERS: "1"}, VERSIONS, unpacked={"libcuda1"}, is_interrupted=True)
    assert run(host, version="580").changed and host.installed == driver("580.126.09")


@pytest.mark.parametrize(
    ("host", "arguments", "code"),
    [
        (FakeDriverHost(offered=VERSIONS), {"version": "580.99"}, "version_not_offered"),
        (FakeDriverHost(offered=VERSIONS), {"version": "600"}, "version_not_offered"),
        (FakeDriverHost(), {"version": "580"}, "repository_missing"),
        (FakeDriverHost(offered=VERSIONS, foreign="/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05"), {}, "not_from_apt"),
        (FakeDriverHost(offered=VERSIONS, secure_boot=True), {}, "secure_boot"),
        (FakeDriverHost(offered=VERSIONS, gone=["blender"]), {}, "would_remove"),
        (
            FakeDriverHost(offered=VERSIONS),
            {"version": "590", "gpus": [{"name": "Tesla V100-PCIE-16GB"}], "flavour": Flavour.OPEN},
            "driver_too_new",
        ),
        (FakeDriverHost(driver("580.95.05"), VERSIONS), {"upgrade": True, "version": "580.99"}, "version_not_offered"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is(host: FakeDriverHost, arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(ProblemsError) as stopped:
        run(host, **arguments)
    assert code in codes(stopped.value) and host.done == []
    planned = run(host, "planned", **arguments)
    assert code in codes(planned) and planned.due


def test_an_installation_that_is_not_what_it_should_be_is_told() -> None:
    host = FakeDriverHost(offered=VERSIONS, fails="install")
    with pytest.raises(UserError, match=r"dpkg shows 580\.126\.09 and nvidia-driver-cuda half-installed") as failed:
        run(host, version="580")
    assert "nvidia-driver-cuda=580.126.09-1" in failed.value.details["packages"]


def test_nouveau_is_kept_out_of_the_initramfs_once() -> None:
    host = FakeDriverHost(offered=VERSIONS, has_nouveau=True)
    assert codes(run(host, version="580")) == ["nouveau_loaded"]
    assert host.done == [*WRITES, "install", "auto ", "initramfs"]
    host.done = []
    run(host, version="590", upgrade=True)
    assert "install" in host.done and "initramfs" not in host.done


def test_the_headers_that_a_driver_lacks_are_fetched_first() -> None:
    there = driver("580.95.05")
    del there[HEADERS]
    host = FakeDriverHost(there, VERSIONS, files=pinned("580.95.05"), fails="download")
    with pytest.raises(UserError, match=r"^The download of linux-headers-6\.1\.0-40-amd64 for NVIDIA driver 580\.95\.05 failed"):
        run(host)
    assert host.done == ["download"]
    host.fails, host.done = "", []
    assert run(host).changed and host.done == ["download", "install", "auto "] and host.saved is None


def test_a_repository_may_come_later_in_the_same_run() -> None:
    result = run(FakeDriverHost(), check=True, version="580")
    assert result.changed and codes(result) == ["repository_missing"] and not errors(result.problems)
