# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._pci_gpus import bus_order, find_address, gpu, model_of


@pytest.mark.parametrize(
    ("device", "subdevice", "name", "capability"),
    [
        ("1db4", None, "Tesla V100-PCIE-16GB", "7.0"),
        ("1eb8", "12a2", "Tesla T4", "7.5"),
        ("1e04", None, "NVIDIA GeForce RTX 2080 Ti", "7.5"),
        ("20b5", "1533", "NVIDIA A100 80GB PCIe", "8.0"),
        ("2236", "1482", "NVIDIA A10", "8.6"),
        ("2235", None, "NVIDIA A40", "8.6"),
        ("25b6", "157e", "NVIDIA A2", "8.6"),
        ("25b6", "14a9", "NVIDIA A16", "8.6"),
        ("2204", None, "NVIDIA GeForce RTX 3090", "8.6"),
        ("27b8", None, "NVIDIA L4", "8.9"),
        ("26b9", None, "NVIDIA L40S", "8.9"),
        ("2684", None, "NVIDIA GeForce RTX 4090", "8.9"),
        ("2331", None, "NVIDIA H100 PCIe", "9.0"),
        ("2335", "18be", "NVIDIA H200", "9.0"),
        ("2342", "1809", "NVIDIA GH200 480GB", "9.0"),
        ("2901", None, "NVIDIA B200", "10.0"),
        ("3182", None, "NVIDIA B300 SXM6 AC", "10.3"),
        ("2b85", None, "NVIDIA GeForce RTX 5090", "12.0"),
        ("2bb5", "204e", "NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0"),
        ("2e12", None, "NVIDIA GB10", "12.1"),
    ],
)
def test_models(device: str, subdevice: str | None, name: str, capability: str) -> None:
    assert model_of(device, subdevice) == (name, capability)


def test_an_unknown_subsystem_has_the_capability_of_its_device() -> None:
    model = model_of("25b6", "ffff")
    assert model and model.compute_capability == "8.6"
    assert model_of("ffff", "157e") is None


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"vendor": "0x10de\n", "device": "0x2236\n", "class": "0x030200\n", "subsystem_device": "0x1482\n"}, "NVIDIA A10"),
        ({"vendor": "0x10de\n", "device": "0x2B85\n", "class": "0x030000\n"}, "NVIDIA GeForce RTX 5090"),
        ({"vendor": "0x10de\n", "device": "0x3fff\n", "class": "0x030200\n"}, "NVIDIA GPU 10de:3fff"),
        ({"vendor": "0x10de\n", "device": "0x2236\n"}, "NVIDIA A10"),
        ({"vendor": "0x10de\n", "device": "0x22e8\n", "class": "0x040300\n"}, None),  # its sound
        ({"vendor": "0x10de\n", "device": "0x22a3\n", "class": "0x068000\n"}, None),  # an NVSwitch
        ({"vendor": "0x1002\n", "device": "0x2236\n", "class": "0x030000\n"}, None),  # AMD
        ({}, None),
    ],
)
def test_what_is_a_gpu(files: dict[str, str], found: str | None) -> None:
    seen = gpu("0000:17:00.0", lambda name: files.get(name, ""), None)
    assert (seen.name if seen else None) == found


@pytest.mark.parametrize(("driver", "away"), [("vfio-pci", True), ("nvidia", False), ("nouveau", False), (None, False)])
def test_a_gpu_for_a_virtual_machine(driver: str | None, away: bool) -> None:
    files = {"vendor": "0x10de", "device": "0x2236", "class": "0x030200"}
    seen = gpu("0000:17:00.0", lambda name: files.get(name, ""), driver)
    assert seen and (seen.handed_away, seen.pci_id) == (away, "10de:2236")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:17:00.0", "0000:17:00.0"),
        ("0000000F:01:00.0", "000f:01:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("handle for GPU0000:CB:00.0: Unknown Error", "0000:cb:00.0"),
        ("handle for GPU 0000:CB:00.0", "0000:cb:00.0"),
        ("GPU-8b89b58e-b427-108d-ac50-06138d78fe78", None),
    ],
)
def test_addresses(text: str, address: str | None) -> None:
    assert find_address(text) == address


def test_bus_order() -> None:
    assert sorted(["10000:01:00.0", "ffff:01:00.0", "0000:cb:00.0", "0000:17:00.0"], key=bus_order) == [
        "0000:17:00.0",
        "0000:cb:00.0",
        "ffff:01:00.0",
        "10000:01:00.0",
    ]
