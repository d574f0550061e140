# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_choice as choice
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_conflicts import OF_THE_DRIVER
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import Needs, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import State
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem

OPEN, PROPRIETARY = Flavour.OPEN, Flavour.PROPRIETARY
OFFERED = ["570.211.01", "580.95.05", "580.126.09", "590.48.01", "610.43.02"]
A10, RTX5090, V100 = ({"name": name} for name in ("NVIDIA A10", "NVIDIA GeForce RTX 5090", "Tesla V100-PCIE-16GB"))
UNKNOWN = {"name": "NVIDIA GPU 10de:ffff", "compute_capability": None}


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
    assert choice.wanted_version(Wish(version, upgrade=upgrade), Needs(), installed, OFFERED) == target


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
    assert choice.wanted_version(Wish(), Needs(gpus, toolkit), None, OFFERED) == target


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
    assert choice.wanted_flavour(wish, Needs(gpus), state) is flavour


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
    target = choice.wanted_version(wish, needs, state.version, OFFERED)
    flavour = choice.wanted_flavour(wish, needs, state)
    assert codes(choice.version_problems(wish, needs, state, target, flavour, OFFERED)) == found


FITS = [
    ([RTX5090], "", "550.54.14", OPEN, ["driver_too_old"]),
    ([V100], "", "590.48.01", PROPRIETARY, ["driver_too_new"]),
    ([A10], "13.0.3", "570.211.01", OPEN, ["toolkit_newer_than_driver"]),
    ([RTX5090], "", "580.95.05", PROPRIETARY, ["open_modules_required"]),
    ([V100], "", "580.95.05", OPEN, ["proprietary_modules_required"]),
    ([V100, RTX5090], "", "580.95.05", OPEN, ["gpus_without_common_driver"]),
    ([A10], "13.0.3", "580.95.05", OPEN, []),
    ([UNKNOWN], "13.0.3", "550.54.14", OPEN, []),
    # what no driver could mend
    ([RTX5090], "12.2", "580.95.05", OPEN, []),
    ([A10], "13.9.9", "580.95.05", OPEN, []),
    ([{"name": "NVIDIA A10", "compute_capability": "9.0"}], "", "580.95.05", OPEN, []),
]


@pytest.mark.parametrize(("gpus", "toolkit", "version", "flavour", "found"), FITS)
def test_whether_a_driver_fits(gpus: list[Mapping[str, object]], toolkit: str, version: str, flavour: Flavour, found: list[str]) -> None:
    assert codes(Needs(gpus, toolkit).problems(version, flavour)) == found


def test_every_code_about_the_driver_was_seen() -> None:
    assert {code for *_given, found in FITS for code in found} == OF_THE_DRIVER


def test_another_version_names_both_and_the_way() -> None:
    (problem,) = choice.version_problems(Wish("590"), Needs(), driver(), "590.48.01", OPEN, OFFERED)
    assert "580.95.05" in problem.message and "590, of which 590.48.01 is the newest" in problem.message
    assert "playbooks/driver_upgrade.yml" in problem.remedy


def test_a_pin_that_is_not_on_offer_lists_what_is() -> None:
    many = [f"580.{number}" for number in range(100, 120)]
    problem = choice.not_offered("580.99", many, OPEN)
    assert "580.119, 580.118" in problem.message and "and 8 older ones" in problem.message and "580.107," not in problem.message
    assert "offers none" in choice.not_offered("580.99", [], OPEN).message


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
    assert choice.needs_offers(wish, state, OPEN) is asks
