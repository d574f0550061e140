# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import DISTRIBUTIONS, Catalogue, Kernel, Repository
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import installed_flavours, is_driver_package
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour

OPEN, PROPRIETARY = Flavour.OPEN, Flavour.PROPRIETARY
NVIDIA, DISTRIBUTION = Repository.NVIDIA, Repository.DISTRIBUTION
KERNEL = Kernel("6.8.0-40-generic", ("generic",))


@pytest.mark.parametrize(
    ("distribution", "repository", "branch", "flavour", "driver", "companions"),
    [
        *[
            (debian, NVIDIA, branch, flavour, (modules, "nvidia-driver-cuda"), ("nvidia-persistenced",))
            for debian in ("debian12", "debian13")
            for branch in (570, 580, 590, 610)
            for flavour, modules in ((OPEN, "nvidia-kernel-open-dkms"), (PROPRIETARY, "nvidia-kernel-dkms"))
        ],
        *[
            (
                debian,
                DISTRIBUTION,
                branch,
                flavour,
                (modules, "nvidia-smi", "libcuda1"),
                ("libnvidia-ptxjitcompiler1", "nvidia-persistenced"),
            )
            for debian, branch in (("debian12", 535), ("debian13", 550))
            for flavour, modules in ((OPEN, "nvidia-open-kernel-dkms"), (PROPRIETARY, "nvidia-kernel-dkms"))
        ],
        *[
            (
                ubuntu,
                NVIDIA,
                branch,
                flavour,
                (f"nvidia-dkms-{branch}{suffix}", f"libnvidia-compute-{branch}", f"nvidia-utils-{branch}"),
                (f"nvidia-compute-utils-{branch}", "nvidia-persistenced"),
            )
            for ubuntu in ("ubuntu2204", "ubuntu2404")
            for branch in (570, 580)
            for flavour, suffix in ((OPEN, "-open"), (PROPRIETARY, ""))
        ],
        *[
            (ubuntu, NVIDIA, branch, flavour, (modules, "libnvidia-compute"), ("nvidia-persistenced",))
            for ubuntu in ("ubuntu2204", "ubuntu2404")
            for branch in (590, 595, 610)
            for flavour, modules in ((OPEN, "nvidia-dkms-open"), (PROPRIETARY, "nvidia-dkms"))
        ],
        *[
            (
                ubuntu,
                DISTRIBUTION,
                branch,
                flavour,
                (f"nvidia-headless-no-dkms-{branch}-server{suffix}", f"nvidia-utils-{branch}-server"),
                (),
            )
            for ubuntu in ("ubuntu2204", "ubuntu2404")
            for branch in (570, 580, 590)
            for flavour, suffix in ((OPEN, "-open"), (PROPRIETARY, ""))
        ],
    ],
)
def test_the_packages_of_a_driver(
    distribution: str, repository: Repository, branch: int, flavour: Flavour, driver: tuple[str, ...], companions: tuple[str, ...]
) -> None:
    packages = Catalogue(distribution, repository, KERNEL).package_set(branch, flavour)
    assert (packages.driver, packages.companions) == (driver, companions)
    signed = distribution.startswith("ubuntu") and repository is DISTRIBUTION
    assert packages.dkms != signed
    if signed:
        suffix = "-open" if flavour is OPEN else ""
        assert packages.kernel == (f"linux-modules-nvidia-{branch}-server{suffix}-generic",)
    else:
        assert packages.kernel == ("linux-headers-6.8.0-40-generic", "linux-headers-generic")
    assert all(is_driver_package(name) for name in (*driver, *companions))
    assert installed_flavours([*driver, *packages.kernel]) == {flavour}


@pytest.mark.parametrize(
    ("distribution", "repository", "branch", "flavour", "meta"),
    [
        ("debian13", NVIDIA, 580, OPEN, ("nvidia-kernel-open-dkms", "nvidia-open")),
        ("debian13", NVIDIA, 580, PROPRIETARY, ("nvidia-kernel-dkms", "cuda-drivers")),
        ("ubuntu2404", NVIDIA, 580, OPEN, ("nvidia-dkms-580-open", "nvidia-open-580")),
        ("ubuntu2404", NVIDIA, 580, PROPRIETARY, ("nvidia-dkms-580", "cuda-drivers-580")),
        ("ubuntu2404", NVIDIA, 590, OPEN, ("nvidia-dkms-open", "nvidia-open")),
        ("ubuntu2404", DISTRIBUTION, 580, OPEN, ("nvidia-driver-580-server-open",)),
    ],
)
def test_the_packages_with_screens(distribution: str, repository: Repository, branch: int, flavour: Flavour, meta: tuple[str, ...]) -> None:
    assert Catalogue(distribution, repository, KERNEL, compute_only=False).package_set(branch, flavour).driver == meta


def test_signed_modules_come_for_each_kind_of_kernel() -> None:
    hwe = Kernel("6.14.0-37-generic", ("aws", "generic-hwe-24.04"))
    assert Catalogue("ubuntu2404", DISTRIBUTION, hwe).package_set(580, OPEN).kernel == (
        "linux-modules-nvidia-580-server-open-aws",
        "linux-modules-nvidia-580-server-open-generic-hwe-24.04",
    )


def test_which_branches_to_look_for() -> None:
    names = ["nvidia-dkms-570-open", "nvidia-dkms-580", "libnvidia-compute-580", "nvidia-dkms-open", "nvidia-modprobe"]
    assert Catalogue("ubuntu2404", NVIDIA, KERNEL).branches(names) == [570, 580, 590]
    assert Catalogue("ubuntu2404", DISTRIBUTION, KERNEL).branches(names, [535]) == [535, 570, 580]
    assert Catalogue("debian12", NVIDIA, KERNEL).branches(names, [580]) == [0, 580]


def test_only_complete_drivers_are_on_offer_newest_revision_first() -> None:
    offered = {
        "nvidia-kernel-open-dkms": ["610.43.02-1", "580.126.09-2", "580.126.09-1", "580.95.05-1"],
        "nvidia-driver-cuda": ["590.48.01-1", "580.126.09-2", "580.126.09-1", "580.95.05-1"],
        "nvidia-persistenced": ["580.126.09-1"],
    }
    found = Catalogue("debian12", NVIDIA, KERNEL).supply(OPEN, [0, 580], offered).offers
    assert [offer.version for offer in found] == ["580.95.05", "580.126.09"]
    assert found[1].packages == {"nvidia-kernel-open-dkms": "580.126.09-2", "nvidia-driver-cuda": "580.126.09-2"}
    assert [offer.companions for offer in found] == [{"nvidia-persistenced": ""}, {"nvidia-persistenced": "580.126.09-1"}]
    assert Catalogue("debian12", NVIDIA, KERNEL).supply(PROPRIETARY, [0, 580], offered).offers == []


def test_ubuntus_names_with_and_without_a_branch_are_one_list_of_versions() -> None:
    catalogue = Catalogue("ubuntu2404", NVIDIA, KERNEL)
    looked_for = catalogue.branches(["nvidia-dkms-580-open"])
    old = {name: ["580.126.09-1ubuntu1"] for name in ("nvidia-dkms-580-open", "libnvidia-compute-580", "nvidia-utils-580")}
    new = {name: ["610.43.02-1ubuntu1", "590.48.01-1ubuntu1"] for name in ("nvidia-dkms-open", "libnvidia-compute")}
    found = catalogue.supply(OPEN, looked_for, {**old, **new}).offers
    assert [(offer.version, set(offer.packages)) for offer in found] == [
        ("580.126.09", set(old)),
        ("590.48.01", set(new)),
        ("610.43.02", set(new)),
    ]
    assert {*old, *new} <= set(catalogue.names(OPEN, looked_for))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("repository", list(Repository))
def test_every_distribution_and_repository_has_packages_of_every_branch(distribution: str, repository: Repository) -> None:
    assert all(Catalogue(distribution, repository, KERNEL).package_set(branch, OPEN).driver for branch in (535, 580, 590, 999))
