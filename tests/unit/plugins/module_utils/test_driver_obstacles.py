# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_obstacles as obstacles
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Catalogue, Kernel, Repository
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import State
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour

KERNEL = Kernel("6.1.0-40-amd64", ("amd64",))
SET = Catalogue("debian12", Repository.NVIDIA, KERNEL).package_set(580, Flavour.OPEN)
DRIVER = dict.fromkeys(("nvidia-kernel-open-dkms", "nvidia-driver-cuda", "libcuda1", "nvidia-persistenced"), "580.95.05-1")
MIB = 1 << 20


def codes(problems: Any) -> list[str]:
    return [problem.code for problem in problems]


def test_headers_of_the_kernel_that_runs() -> None:
    name = "linux-headers-6.1.0-40-amd64"
    assert obstacles.headers_problem(SET, KERNEL, [name], []) is None
    assert obstacles.headers_problem(SET, KERNEL, [], [name]) is None
    problem = obstacles.headers_problem(SET, KERNEL, ["linux-headers-amd64"], [])
    assert problem and problem.code == "no_kernel_headers" and "linux-image-amd64" in problem.remedy
    signed = Catalogue("ubuntu2404", Repository.DISTRIBUTION, KERNEL).package_set(580, Flavour.OPEN)
    assert obstacles.headers_problem(signed, KERNEL, [], []) is None


@pytest.mark.parametrize(
    ("changes", "held", "found"),
    [
        ([Change("nvidia-driver-cuda", "580.95.05-1", "590.48.01-1")], (), ["left_behind"]),
        ([Change(name, "580.95.05-1", "590.48.01-1") for name in DRIVER], (), []),
        ([Change(name, "580.95.05-1", "590.48.01-1") for name in DRIVER], ("libcuda1",), ["on_hold"]),
        ([Change(name, "580.95.05-1", None) for name in DRIVER], (), []),
        ([*[Change(name, "1", "590.48.01-1") for name in DRIVER], Change("blender", "3.4", None)], (), ["would_remove"]),
        (
            [*[Change(name, "1", "590.48.01-1") for name in DRIVER], Change("nvidia-container-toolkit", "1", None)],
            (),
            ["would_remove"],
        ),
        (
            [*[Change(name, "1", "590.48.01-1") for name in DRIVER], Change("libnvidia-ml1", None, "610.43.02-1")],
            (),
            ["mixed_versions"],
        ),
        ([*[Change(name, "1", "590.48.01-1") for name in DRIVER], Change("nvidia-settings", None, "610.43.02-1")], (), []),
        ([*[Change(name, "1", "590.48.01-1") for name in DRIVER], Change("dkms", None, "3.0.10-8")], (), []),
    ],
)
def test_what_speaks_against_a_transaction(changes: list[Change], held: tuple[str, ...], found: list[str]) -> None:
    assert codes(obstacles.transaction_problems(changes, State(DRIVER, held=held), "590.48.01")) == found


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
    assert codes(obstacles.space_problems(free, initramfs * MIB, var_free * MIB, download * MIB, dkms=dkms)) == found


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State(DRIVER, upgraded_from="580.95.05"), "upgrade_not_accepted"),  # not begun with
        (State(dict.fromkeys(DRIVER, "590.48.01-1"), upgraded_from="580.95.05"), "upgrade_not_accepted"),
        (State(DRIVER, upgraded_from="580.95.05", broken=("libcuda1",)), "upgrade_unfinished"),
        (State({**DRIVER, "libcuda1": "590.48.01-1"}, upgraded_from="580.95.05"), "upgrade_unfinished"),
        (State(dict.fromkeys(DRIVER, "610.43.02-1"), upgraded_from="580.95.05"), "upgrade_unfinished"),
        (State(), "upgrade_unfinished"),
    ],
)
def test_an_upgrade_that_has_no_end(state: State, code: str) -> None:
    record = Record("580.95.05", "open", DRIVER, (), "590.48.01", "k", "b", "t")
    problem = obstacles.unended_upgrade(record, state)
    assert problem.code == code
    assert "An upgrade of NVIDIA driver 580.95.05 to 590.48.01 was begun" in problem.message
    assert "playbooks/driver_upgrade.yml" in problem.remedy


@pytest.mark.parametrize(("expected", "severity"), [(True, "warning"), (False, "error")])
def test_a_repository_that_is_missing_may_still_come(expected: bool, severity: str) -> None:
    problem = obstacles.no_repository(["libcuda1", "nvidia-smi"], expected=expected)
    assert (problem.code, problem.severity.value) == ("repository_missing", severity)
    assert "libcuda1, nvidia-smi" in problem.message
