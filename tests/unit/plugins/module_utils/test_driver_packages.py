# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import (
    installed_flavours,
    installed_version,
    is_driver_package,
    is_version,
    kernel_metas,
    upstream,
)
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour

OPEN, PROPRIETARY = Flavour.OPEN, Flavour.PROPRIETARY


def test_the_meta_packages_of_the_kernel() -> None:
    names = ["linux-image-amd64", "linux-image-6.1.0-40-amd64", "linux-image-generic-hwe-24.04", "linux-image-unsigned-6.8.0-40-generic"]
    assert kernel_metas([*names, "linux-image-amd64-dbg", "linux-headers-amd64"]) == ("amd64", "generic-hwe-24.04")


@pytest.mark.parametrize(
    ("version", "plain"),
    [
        ("580.126.09-1", "580.126.09"),
        ("580.126.09-0ubuntu0.24.04.1", "580.126.09"),
        ("535.261.03-1~deb12u1", "535.261.03"),
        ("1:580.142-1", "580.142"),
        ("580.142", "580.142"),
    ],
)
def test_upstream(version: str, plain: str) -> None:
    assert upstream(version) == plain
    assert is_version(plain)


@pytest.mark.parametrize("text", ["580", "6.8.0-40.40", "20220217+3", "", "580.x", "58.1.2"])
def test_what_is_no_version_of_the_driver(text: str) -> None:
    assert not is_version(text)


@pytest.mark.parametrize(
    "name",
    [
        "nvidia-container-toolkit",
        "libnvidia-container1",
        "nvidia-cuda-toolkit",
        "nvidia-docker2",
        "nvidia-prime",
        "nvidia-driver-pinning-580",
        "libnvidia-egl-wayland1",
        "cuda-toolkit-13-0",
        "libcublas-13-0",
        "dkms",
        "linux-image-amd64",
    ],
)
def test_what_is_not_a_part_of_the_driver(name: str) -> None:
    assert not is_driver_package(name)


@pytest.mark.parametrize(
    "name",
    [
        "libcuda1",
        "libcuda1:i386",
        "libnvidia-ml1",
        "nvidia-settings",
        "cuda-drivers-580",
        "firmware-nvidia-gsp",
        "nvidia-firmware-580-580.95.05",
        "linux-modules-nvidia-580-server-open-6.8.0-40-generic",
        "xserver-xorg-video-nvidia-580",
        "nvidia-fabricmanager-580",
    ],
)
def test_what_is_a_part_of_the_driver(name: str) -> None:
    assert is_driver_package(name)


@pytest.mark.parametrize(
    ("packages", "version", "flavours"),
    [
        ({}, None, set()),
        ({"nvidia-driver-cuda": "580.95.05-1", "nvidia-kernel-open-dkms": "580.95.05-1"}, "580.95.05", {OPEN}),
        ({"libcuda1": "590.48.01-1", "nvidia-driver-cuda": "580.95.05-1"}, "590.48.01", set()),
        ({"libnvidia-compute-580-server": "580.95.05-0ubuntu0.24.04.3"}, "580.95.05", set()),
        ({"libnvidia-compute": "610.43.02-1ubuntu1", "nvidia-dkms": "610.43.02-1ubuntu1"}, "610.43.02", {PROPRIETARY}),
        ({"nvidia-kernel-dkms": "535.261.03-1~deb12u1"}, "535.261.03", {PROPRIETARY}),
        ({"nvidia-settings": "510.47.03-0ubuntu4", "nvidia-persistenced": "535.171.04-1"}, None, set()),
        ({"linux-modules-nvidia-580-open-6.14.0-37-generic": "6.14.0-37.37"}, None, {OPEN}),
        (
            {"linux-modules-nvidia-580-6.14.0-37-generic": "6.14.0-37.37", "nvidia-dkms-580-open": "580.95.05-1"},
            "580.95.05",
            {OPEN, PROPRIETARY},
        ),
    ],
)
def test_what_is_installed(packages: dict[str, str], version: str | None, flavours: set[Flavour]) -> None:
    assert installed_version(packages) == version
    assert installed_flavours(packages) == flavours
