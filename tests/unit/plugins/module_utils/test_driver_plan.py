# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_plan as plan
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import Kernel, Offer, Repository, package_set
from ansible_collections.baremetal.llm.plugins.module_utils._driver_plan import Needs, State, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem

OPEN, PROPRIETARY = Flavour.OPEN, Flavour.PROPRIETARY
OFFERED = ["570.211.01", "580.95.05", "580.126.09", "590.48.01", "610.43.02"]
KERNEL = Kernel("6.1.0-40-amd64", ("amd64",))
SET = package_set("debian12", Repository.NVIDIA, 580, OPEN, KERNEL)
A10, RTX5090, V100 = ({"name": name} for name in ("NVIDIA A10", "NVIDIA GeForce RTX 5090", "Tesla V100-PCIE-16GB"))
UNKNOWN = {"name": "NVIDIA GPU 10de:ffff", "compute_capability": None}
MIB = 1 << 20


def driver(version: str = "580.95.05", modules: str = "nvidia-kernel-open-dkms", **more: Any) -> State:
    names = (modules, "nvidia-driver-cuda", "libcuda1", "nvidia-persistenced")
    return State(dict.fromkeys(names, f"{version}-1"), **more)


def codes(problems: Any) -> list[str]:
    return [problem.code for problem in problems if isinstance(problem, Problem)]


@pytest.mark.parametrize(
    ("version", "installed", "upgrade", "target"),
    [
        # nothing there
        ("580.95.05", None, False, "580.95.05"),
        ("580", None, False, "580.126.09"),
        ("600", None, False, None),
        ("", None, False, "610.43.02"),
        # never by accident
        ("", "580.95.05", False, "580.95.05"),
        ("580", "580.95.05", False, "580.95.05"),
        ("580.126.09", "580.95.05", False, "580.126.09"),
        ("590", "580.95.05", False, "590.48.01"),
        # on purpose
        ("", "580.95.05", True, "580.126.09"),
        ("580", "580.95.05", True, "580.126.09"),
        ("590", "580.95.05", True, "590.48.01"),
        ("580.95.05", "590.48.01", True, "580.95.05"),
        ("", "560.35.05", True, "610.43.02"),
    ],
)
def test_the_version_to_have(version: str, installed: str | None, upgrade: bool, target: str | None) -> None:
    assert plan.wanted_version(Wish(version, upgrade=upgrade), Needs(), installed, OFFERED) == target


@pytest.mark.parametrize(
    ("gpus", "toolkit", "target"),
    [
        ([V100], "", "580.126.09"),
        ([A10], "", "610.43.02"),
        ([A10], "13.0.3", "610.43.02"),
        ([A10, V100], "", "580.126.09"),
        ([UNKNOWN], "", "610.43.02"),
    ],
)
def test_without_a_wish_the_newest_that_fits(gpus: list[Mapping[str, object]], toolkit: str, target: str) -> None:
    assert plan.wanted_version(Wish(), Needs(gpus, toolkit), None, OFFERED) == target


@pytest.mark.parametrize(
    ("wish", "gpus", "state", "flavour"),
    [
        (Wish(), [], State(), OPEN),
        (Wish(), [A10], State(), OPEN),
        (Wish(), [RTX5090], State(), OPEN),
        (Wish(), [V100], State(), PROPRIETARY),
        (Wish(flavour=PROPRIETARY), [A10], State(), PROPRIETARY),
        (Wish(), [A10], driver(modules="nvidia-kernel-dkms"), PROPRIETARY),
        (Wish(), [RTX5090], driver(modules="nvidia-kernel-dkms"), PROPRIETARY),
        (Wish(upgrade=True), [RTX5090], driver(modules="nvidia-kernel-dkms"), OPEN),
        (Wish(upgrade=True), [A10], driver(modules="nvidia-kernel-dkms"), PROPRIETARY),
    ],
)
def test_the_flavour_to_have(wish: Wish, gpus: list[Mapping[str, object]], state: State, flavour: Flavour) -> None:
    assert plan.wanted_flavour(wish, Needs(gpus), state) is flavour


@pytest.mark.parametrize("version", ["58x", "580.", "latest", "580.126.09-1", "58"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(UserError, match=r"write it like 580\.126\.09 or 580"):
        Wish(version)


@pytest.mark.parametrize(
    ("wish", "state", "gpus", "found"),
    [
        (Wish("580.126.09"), State(), [A10], []),
        (Wish("580"), driver(), [A10], []),
        (Wish(), driver(), [A10], []),
        (Wish("580.126.09"), driver(), [A10], ["other_version"]),
        (Wish("580.126.09", upgrade=True), driver(), [A10], []),
        (Wish("590"), driver(), [A10], ["other_version"]),
        (Wish("600"), driver(), [A10], ["other_version"]),
        (Wish(flavour=PROPRIETARY), driver(), [A10], ["other_flavour"]),
        (Wish(flavour=PROPRIETARY, upgrade=True), driver(), [A10], []),
        (Wish("600"), State(), [A10], ["version_not_offered"]),
        (Wish("590"), State(), [V100], ["driver_too_new"]),
        (Wish("570"), State(), [A10], ["toolkit_newer_than_driver"]),
        (Wish("590", PROPRIETARY), State(), [RTX5090], ["open_modules_required"]),
        (Wish("590", PROPRIETARY, upgrade=True), driver(), [RTX5090], ["open_modules_required"]),
        (Wish("590"), State(), [UNKNOWN], []),
    ],
)
def test_what_speaks_against_a_driver(wish: Wish, state: State, gpus: list[Mapping[str, object]], found: list[str]) -> None:
    needs = Needs(gpus, "" if V100 in gpus else "13.0.3")
    target = plan.wanted_version(wish, needs, state.version, OFFERED)
    flavour = plan.wanted_flavour(wish, needs, state)
    assert codes(plan.version_problems(wish, needs, state, target, flavour, OFFERED)) == found


def test_another_version_names_both_and_the_way() -> None:
    (problem,) = plan.version_problems(Wish("590"), Needs(), driver(), "590.48.01", OPEN, OFFERED)
    assert "580.95.05" in problem.message and "590, of which 590.48.01 is the newest" in problem.message
    assert "playbooks/driver_upgrade.yml" in problem.remedy


def test_a_pin_that_is_not_on_offer_lists_what_is() -> None:
    many = [f"580.{number}" for number in range(100, 120)]
    problem = plan.not_offered("580.99", many, OPEN)
    assert "580.119, 580.118" in problem.message and "and 8 older ones" in problem.message and "580.107," not in problem.message
    assert "offers none" in plan.not_offered("580.99", [], OPEN).message


@pytest.mark.parametrize(
    ("wish", "state", "asks"),
    [
        (Wish(), State(), True),
        (Wish(), driver(), False),
        (Wish("580"), driver(), False),
        (Wish("580.95.05", upgrade=True), driver(), False),
        (Wish("580", upgrade=True), driver(), True),
        (Wish(), driver(broken=("libcuda1",)), True),
        (Wish(), State({"libcuda1": "580.95.05-1"}), True),
        (Wish(), driver(modules="nvidia-kernel-dkms"), False),
        (Wish("580.95.05", upgrade=True), driver(modules="nvidia-kernel-dkms"), True),
        (Wish("580.95.05", upgrade=True), State({**driver().versions, "nvidia-modprobe": "590.48.01-1"}, upgraded_from="590.48.01"), True),
        (Wish("580.95.05", upgrade=True), driver(upgraded_from="590.48.01"), False),
        (Wish("580.95.05"), State({**driver().versions, "nvidia-fabricmanager": "570.1.2-1"}), False),
    ],
)
def test_apt_is_only_asked_when_it_matters(wish: Wish, state: State, asks: bool) -> None:
    assert plan.needs_offers(wish, state, OPEN) is asks


def offer(version: str) -> Offer:
    exact = {"nvidia-kernel-open-dkms": f"{version}-1", "nvidia-driver-cuda": f"{version}-1"}
    return Offer(version, exact, {"nvidia-persistenced": f"{version}-1"}, SET)


def test_everything_of_the_driver_moves_along() -> None:
    state = State(
        {**driver().versions, "nvidia-settings": "580.95.05-1", "libcuda1:i386": "580.95.05-1", "nvidia-kernel-dkms": "580.95.05-1"}
    )
    offered = {name: ["590.48.01-1"] for name in ("libcuda1", "nvidia-settings", "nvidia-kernel-dkms", "linux-headers-amd64")}
    assert plan.specs(offer("590.48.01"), OPEN, state, offered) == [
        "libcuda1=590.48.01-1",
        "nvidia-driver-cuda=590.48.01-1",
        "nvidia-kernel-open-dkms=590.48.01-1",
        "nvidia-persistenced=590.48.01-1",
        "nvidia-settings=590.48.01-1",
        "linux-headers-amd64",
        "nvidia-kernel-dkms-",
    ]


def test_only_what_is_of_this_set_is_missed() -> None:
    complete = {*driver().versions, *SET.kernel}
    assert plan.missing_packages(SET, driver(), complete, headers=False) == []
    assert plan.missing_packages(SET, driver(), complete - {"linux-headers-amd64"}, headers=False) == ["linux-headers-amd64"]
    assert plan.missing_packages(SET, driver(), complete - {"linux-headers-6.1.0-40-amd64"}, headers=True) == []
    somebody_elses = State({"libnvidia-compute-580": "580.95.05-1", "nvidia-dkms-580-open": "580.95.05-1"})
    assert plan.missing_packages(SET, somebody_elses, set(), headers=False) == []


def test_headers_of_the_kernel_that_runs() -> None:
    name = "linux-headers-6.1.0-40-amd64"
    assert plan.headers_problem(SET, KERNEL, [name], []) is None
    assert plan.headers_problem(SET, KERNEL, [], [name]) is None
    problem = plan.headers_problem(SET, KERNEL, ["linux-headers-amd64"], [])
    assert problem and problem.code == "no_kernel_headers" and "linux-image-amd64" in problem.remedy
    signed = package_set("ubuntu2404", Repository.DISTRIBUTION, 580, OPEN, KERNEL)
    assert plan.headers_problem(signed, KERNEL, [], []) is None


@pytest.mark.parametrize(
    ("changes", "held", "found"),
    [
        ([Change("nvidia-driver-cuda", "580.95.05-1", "590.48.01-1")], (), ["left_behind"]),
        ([Change(name, "580.95.05-1", "590.48.01-1") for name in driver().versions], (), []),
        ([Change(name, "580.95.05-1", "590.48.01-1") for name in driver().versions], ("libcuda1",), ["on_hold"]),
        ([Change(name, "580.95.05-1", None) for name in driver().versions], (), []),
        ([*[Change(name, "1", "590.48.01-1") for name in driver().versions], Change("blender", "3.4", None)], (), ["would_remove"]),
        (
            [*[Change(name, "1", "590.48.01-1") for name in driver().versions], Change("nvidia-container-toolkit", "1", None)],
            (),
            ["would_remove"],
        ),
        (
            [*[Change(name, "1", "590.48.01-1") for name in driver().versions], Change("libnvidia-ml1", None, "610.43.02-1")],
            (),
            ["mixed_versions"],
        ),
        ([*[Change(name, "1", "590.48.01-1") for name in driver().versions], Change("nvidia-settings", None, "610.43.02-1")], (), []),
        ([*[Change(name, "1", "590.48.01-1") for name in driver().versions], Change("dkms", None, "3.0.10-8")], (), []),
    ],
)
def test_what_speaks_against_a_transaction(changes: list[Change], held: tuple[str, ...], found: list[str]) -> None:
    assert codes(plan.transaction_problems(changes, driver(), "590.48.01", held=held)) == found


@pytest.mark.parametrize(
    ("names", "does"),
    [(["linux-headers-6.1.0-41-amd64"], False), (["dkms", "nvidia-driver-cuda"], True), (["libcuda1:amd64"], True), ([], False)],
)
def test_what_makes_another_driver(names: list[str], does: bool) -> None:
    assert plan.changes_driver(Change(name, None, "1") for name in names) is does


@pytest.mark.parametrize(
    ("boot_free", "initramfs", "var_free", "download", "dkms", "found"),
    [
        (200, 60, 4000, 400, True, []),
        (75, 60, 4000, 400, True, ["boot_full"]),
        (76, 60, 4000, 400, True, []),
        (None, 0, 4000, 400, True, []),
        (200, 60, 1823, 400, True, ["var_full"]),
        (200, 60, 1824, 400, True, []),
        (200, 60, 800, 400, False, []),
        (10, 60, 10, 400, True, ["boot_full", "var_full"]),
    ],
)
def test_room(boot_free: int | None, initramfs: int, var_free: int, download: int, dkms: bool, found: list[str]) -> None:
    free = None if boot_free is None else boot_free * MIB
    assert codes(plan.space_problems(free, initramfs * MIB, var_free * MIB, download * MIB, dkms=dkms)) == found
