# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as pin
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change, Package, Simulation
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Kernel, Offer, Repository, Supply
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import Needs, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import Seen, State
from ansible_collections.baremetal.llm.plugins.module_utils._driver_work import (
    Request,
    Work,
    decide,
    missing_packages,
    must_ask_apt,
    packages_after,
    reboot_required,
    rehearsed,
    specs,
    way_back,
)
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, ModuleVersion

OPEN, PROPRIETARY = Flavour.OPEN, Flavour.PROPRIETARY
KERNEL = Kernel("6.1.0-40-amd64", ("amd64",))
HEADERS = KERNEL.headers
MODULES = "nvidia-kernel-open-dkms"
NAMES = (MODULES, "nvidia-driver-cuda", "libcuda1", "nvidia-persistenced")
DRIVER = dict.fromkeys(NAMES, "580.95.05-1")
ON_OFFER = ("580.95.05", "580.126.09", "590.48.01")
RECORD = Record("580.95.05", "open", DRIVER, (), "590.48.01", "k", "b", "t")


def request(version: str = "", *, flavour: Flavour | None = None, upgrade: bool = False, gpu: str = "NVIDIA A10", **more: Any) -> Request:
    return Request(Wish(version, flavour, upgrade), Needs([{"name": gpu}]), **more)


def seen(packages: Mapping[str, str] = {}, *, broken: str = "", **more: Any) -> Seen:
    found = (Package(name, version, "installed", held=False, intact=name != broken) for name, version in packages.items())
    return Seen(**{"kernel": KERNEL, "packages": tuple(found), **more})


def supply(*versions: str, flavour: Flavour = OPEN, headers: bool = True) -> Supply:
    every = [f"{version}-1" for version in reversed(versions)]
    there = {**dict.fromkeys((*NAMES, "nvidia-kernel-dkms"), every), **({name: ["1"] for name in HEADERS} if headers else {})}
    catalogue = request().catalogue("debian12", KERNEL)
    return catalogue.supply(flavour, catalogue.branches(there), there)


def decided(wanted: Request, there: Seen, has: Supply, *, expected: bool = False) -> Work:
    return decide(wanted, there, wanted.catalogue("debian12", there.kernel), has, expected=expected)


def codes(work: Work) -> list[str]:
    return [problem.code for problem in work.problems]


WHOLE = {**DRIVER, **dict.fromkeys(HEADERS, "1")}


@pytest.mark.parametrize(
    ("wanted", "there", "asks"),
    [
        (request(), seen(), True),
        (request(), seen(WHOLE), False),
        (request("580"), seen(WHOLE), False),
        (request("590"), seen(WHOLE), False),  # it is refused, whatever there is
        (request("590", upgrade=True), seen(WHOLE), True),
        (request("580.95.05", upgrade=True), seen(WHOLE), False),
        (request(), seen(WHOLE, broken="libcuda1"), True),
        (request(), seen(DRIVER), True),  # headers are missing
        (request(), seen(DRIVER, headers=True), True),  # those for the next kernel
        (request(), seen({**DRIVER, HEADERS[1]: "1"}, headers=True), False),
        (request("590"), seen(DRIVER), False),
        (request(flavour=PROPRIETARY), seen(DRIVER), False),
        (request(), seen({"libnvidia-compute-580": "580.95.05-1", "nvidia-dkms-580-open": "580.95.05-1"}), False),  # somebody else's choice
        (request(), seen(foreign="/usr/lib/libnvidia-ml.so.580.95.05"), False),
    ],
)
def test_apt_is_only_asked_when_it_matters(wanted: Request, there: Seen, asks: bool) -> None:
    assert must_ask_apt(wanted, there, wanted.catalogue("debian12", KERNEL)) is asks


NEW = [f"{name}=580.126.09-1" for name in sorted({*NAMES} - {"libcuda1"})]


@pytest.mark.parametrize(
    ("wanted", "there", "has", "target", "arguments"),
    [
        # a first one
        (request("580"), seen(), supply(*ON_OFFER), "580.126.09", [*NEW, *HEADERS]),
        (request("580.126.09"), seen(), supply(*ON_OFFER), "580.126.09", [*NEW, *HEADERS]),
        (request(gpu="Tesla V100-PCIE-16GB"), seen(), supply(*ON_OFFER, flavour=PROPRIETARY), "580.126.09", None),
        # one that is there
        (request(), seen(WHOLE), Supply(), "580.95.05", []),
        (request("580"), seen(WHOLE), Supply(), "580.95.05", []),
        (request(), seen(DRIVER), supply(*ON_OFFER), "580.95.05", [*HEADERS]),
        (request(), seen({**DRIVER, HEADERS[0]: "1"}), supply(*ON_OFFER), "580.95.05", [HEADERS[1]]),
        (request(), seen(DRIVER), supply("590.48.01"), "580.95.05", []),  # whatever it lacks is nowhere
        # another one
        (request("590", upgrade=True), seen(WHOLE), supply(*ON_OFFER), "590.48.01", None),
        (request(upgrade=True), seen(WHOLE), supply(*ON_OFFER), "580.126.09", None),
        (request("580.95.05", upgrade=True), seen(WHOLE), Supply(), "580.95.05", []),
        # one that an interrupted run has left in pieces
        (request("580"), seen(WHOLE, broken="libcuda1"), supply(*ON_OFFER), "580.95.05", None),
        (request("590", upgrade=True), seen({**WHOLE, "libcuda1": "590.48.01-1"}, record=RECORD), supply(*ON_OFFER), "590.48.01", None),
    ],
)
def test_what_apt_is_to_install(wanted: Request, there: Seen, has: Supply, target: str, arguments: list[str] | None) -> None:
    """None for all of the driver, in its version."""
    work = decided(wanted, there, has)
    assert (work.target, codes(work)) == (target, [])
    if arguments is None:
        assert f"nvidia-driver-cuda={target}-1" in work.arguments
    else:
        assert list(work.arguments) == arguments
    assert (work.due, work.installs) == (True, bool(work.arguments))


def test_what_is_on_offer_is_told_where_there_is_a_choice() -> None:
    assert decided(request("580"), seen(), supply(*ON_OFFER)).offered == ON_OFFER
    assert decided(request(upgrade=True), seen(WHOLE), supply(*ON_OFFER)).offered == ON_OFFER
    assert decided(request(), seen(DRIVER), supply(*ON_OFFER)).offered == ()


@pytest.mark.parametrize(
    ("wanted", "there", "has", "found", "installs"),
    [
        (request(), seen(foreign="/usr/lib/libnvidia-ml.so.580.95.05"), Supply(), ["not_from_apt"], False),
        (request(), seen(), Supply(), ["repository_missing"], False),
        (request("590.48.01", upgrade=True), seen(WHOLE), Supply(), ["repository_missing"], False),
        (request("600"), seen(), supply(*ON_OFFER), ["version_not_offered"], True),
        (request("580.99"), seen(), supply(*ON_OFFER), ["version_not_offered"], True),
        (request("590"), seen(WHOLE), Supply(), ["other_version"], False),
        (request(flavour=PROPRIETARY), seen(WHOLE), Supply(), ["other_flavour"], False),
        (request("590", gpu="Tesla V100-PCIE-16GB"), seen(), supply(*ON_OFFER, flavour=PROPRIETARY), ["driver_too_new"], False),
        (request("580"), seen(), supply(*ON_OFFER, headers=False), ["no_kernel_headers"], False),
        (request(), seen(WHOLE, record=RECORD), Supply(), ["upgrade_not_accepted"], False),
        (request("590"), seen(WHOLE, record=RECORD), Supply(), ["upgrade_not_accepted", "other_version"], False),
        (request(), seen({**WHOLE, "libcuda1": "590.48.01-1"}, record=RECORD), supply(*ON_OFFER), ["upgrade_unfinished"], False),
        (request("610"), seen({**WHOLE, "libcuda1": "590.48.01-1"}, record=RECORD), supply(*ON_OFFER), ["upgrade_unfinished"], False),
    ],
)
def test_what_speaks_against_it(wanted: Request, there: Seen, has: Supply, found: list[str], installs: bool) -> None:
    work = decided(wanted, there, has)
    assert (codes(work), work.installs) == (found, installs)
    assert work.arguments == ()


def test_of_a_repository_that_is_still_to_come_the_names_are_known() -> None:
    work = decided(request("580"), seen(), Supply(), expected=True)
    assert (work.target, work.arguments) == (None, (MODULES, "nvidia-driver-cuda"))
    assert work.changes == (Change(MODULES, None, "580"), Change("nvidia-driver-cuda", None, "580"))
    assert decided(request(), seen(), Supply(), expected=True).changes[0].new == "(newest)"


def test_only_the_files_that_say_something_else_are_written() -> None:
    assert [file.path for file in decided(request(), seen(WHOLE), Supply()).files] == [*pin.FILES]
    kept = pin.texts("580.95.05")
    work = decided(request(), seen(WHOLE, files=kept), Supply())
    assert (work.files, work.due) == ((), False)
    (file,) = decided(request(), seen(WHOLE, files={**kept, pin.PIN: "Package: *\n"}), Supply()).files
    assert file == (pin.PIN, "Package: *\n", pin.pin_text("580.95.05"))
    assert decided(request(), seen(WHOLE, files=kept, interrupted=True), Supply()).due


def offer(version: str) -> Offer:
    exact = {"nvidia-kernel-open-dkms": f"{version}-1", "nvidia-driver-cuda": f"{version}-1"}
    return Offer(version, exact, {"nvidia-persistenced": f"{version}-1"}, request().catalogue("debian12", KERNEL).package_set(580, OPEN))


def test_everything_of_the_driver_moves_along() -> None:
    state = State({**DRIVER, "nvidia-settings": "580.95.05-1", "libcuda1:i386": "580.95.05-1", "nvidia-kernel-dkms": "580.95.05-1"})
    offered = {name: ["590.48.01-1"] for name in ("libcuda1", "nvidia-settings", "nvidia-kernel-dkms", "linux-headers-amd64")}
    assert specs(offer("590.48.01"), OPEN, state, offered) == [
        "libcuda1=590.48.01-1",
        "nvidia-driver-cuda=590.48.01-1",
        "nvidia-kernel-open-dkms=590.48.01-1",
        "nvidia-persistenced=590.48.01-1",
        "nvidia-settings=590.48.01-1",
        "linux-headers-amd64",
        "nvidia-kernel-dkms-",
    ]


@pytest.mark.parametrize(
    ("installed", "headers", "missing"),
    [
        ({*WHOLE}, False, []),
        ({*WHOLE} - {HEADERS[1]}, False, [HEADERS[1]]),
        ({*WHOLE} - {HEADERS[0]}, False, [HEADERS[0]]),
        ({*WHOLE} - {HEADERS[0]}, True, []),
        ({*WHOLE} - {"nvidia-persistenced"}, False, ["nvidia-persistenced"]),
        ({"libnvidia-compute-580", "nvidia-dkms-580-open"}, False, []),  # of another set
    ],
)
def test_only_what_is_of_this_set_is_missed(installed: set[str], headers: bool, missing: list[str]) -> None:
    packages = request(repository=Repository.NVIDIA).catalogue("debian12", KERNEL).package_set(580, OPEN)
    assert missing_packages(packages, seen(dict.fromkeys(installed, "580.95.05-1"), headers=headers)) == missing


# -- what apt says to it ---------------------------------------------------------------------------------------------------

WORK = Work("590.48.01", arguments=("libcuda1=590.48.01-1",))
MOVED = tuple(Change(name, "580.95.05-1", "590.48.01-1") for name in NAMES)


@pytest.mark.parametrize(
    ("work", "there", "simulation", "healed", "arguments", "found"),
    [
        (WORK, seen(DRIVER), Simulation(MOVED), False, WORK.arguments, []),
        (WORK, seen(DRIVER), Simulation((*MOVED, Change("blender", "4", None))), False, WORK.arguments, ["would_remove"]),
        (WORK, seen(dict.fromkeys(NAMES, "590.48.01-1")), Simulation(), False, (), []),  # it is all there
        (WORK, seen(dict.fromkeys(NAMES, "590.48.01-1"), broken="libcuda1"), Simulation(), False, WORK.arguments, []),
        (WORK, seen(DRIVER), Simulation(refusal="no"), False, WORK.arguments, ["apt_refuses"]),
        (replace(WORK, unfinished=True), seen(DRIVER), Simulation(refusal="dpkg was interrupted"), False, WORK.arguments, []),
        (replace(WORK, unfinished=True), seen(DRIVER), Simulation(refusal="no"), True, WORK.arguments, ["apt_refuses"]),
    ],
)
def test_what_apt_says(work: Work, there: Seen, simulation: Simulation, healed: bool, arguments: tuple[str, ...], found: list[str]) -> None:
    after = rehearsed(work, there, simulation, healed=healed)
    assert (after.arguments, after.changes, codes(after)) == (arguments, simulation.changes, found)


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ((), "NVIDIA driver 590.48.01"),
        ((*MOVED, Change(HEADERS[0], None, "1")), "NVIDIA driver 590.48.01"),
        ((Change(HEADERS[0], None, "1"),), "linux-headers-6.1.0-40-amd64 for NVIDIA driver 590.48.01"),
        ((Change("blender", "4", None), Change("dkms", None, "3")), "dkms for NVIDIA driver 590.48.01"),
    ],
)
def test_what_it_brings(changes: tuple[Change, ...], subject: str) -> None:
    assert replace(WORK, changes=changes).subject == subject


# -- back ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "arguments"),
    [
        (seen(DRIVER), ()),
        (seen(DRIVER, broken="libcuda1"), ("kept.deb",)),
        (seen({**DRIVER, "libcuda1": "590.48.01-1"}), ("kept.deb",)),
        (seen({**DRIVER, "libnvidia-new": "590.48.01-1"}), ("kept.deb", "libnvidia-new-")),
        (seen(), ("kept.deb",)),
    ],
)
def test_the_way_back(there: Seen, arguments: tuple[str, ...]) -> None:
    work = way_back(RECORD, there, ["kept.deb"])
    assert (work.target, work.flavour, work.arguments) == ("580.95.05", OPEN, arguments)
    assert [file.path for file in work.files] == [*pin.FILES]


# -- what will be ----------------------------------------------------------------------------------------------------------


def test_the_packages_afterwards() -> None:
    changes = [
        Change("libcuda1", "1", "2"),
        Change("nvidia-smi", "1", None),
        Change("nvidia-driver-cuda", None, "2"),
        Change("dkms", None, "3"),
    ]
    assert packages_after(State({"libcuda1": "1", "nvidia-smi": "1"}), changes) == ["libcuda1=2", "nvidia-driver-cuda=2"]
    assert packages_after(State({"libcuda1": "1"}), ()) == ["libcuda1=1"]


CLOSED = {name.replace("-open", ""): version for name, version in DRIVER.items()}


@pytest.mark.parametrize(
    ("there", "coming", "required"),
    [
        (seen(DRIVER, loaded=ModuleVersion("580.95.05", OPEN)), None, False),
        (seen(DRIVER, loaded=ModuleVersion("590.48.01", OPEN)), None, True),
        (seen(CLOSED, loaded=ModuleVersion("580.95.05", OPEN)), None, True),
        (seen(CLOSED, loaded=ModuleVersion("580.95.05", PROPRIETARY)), None, False),
        (seen(CLOSED, loaded=ModuleVersion("580.95.05", Flavour.NONE)), None, False),  # nobody can tell
        (seen(DRIVER), None, False),  # that it does not run has another reason
        (seen(DRIVER, came_since_boot=True), None, True),
        (seen(), None, False),
        (seen(loaded=ModuleVersion("580.95.05", OPEN)), None, False),
        (seen(), WORK, True),
        (seen(DRIVER, loaded=ModuleVersion("580.95.05", OPEN)), WORK, True),
        (seen(DRIVER, loaded=ModuleVersion("590.48.01", OPEN)), WORK, False),
        (seen(DRIVER, loaded=ModuleVersion("590.48.01", PROPRIETARY)), WORK, True),
    ],
)
def test_what_needs_a_reboot(there: Seen, coming: Work | None, required: bool) -> None:
    assert reboot_required(there, coming) is required
