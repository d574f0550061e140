# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _pci_gpus
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import CAPABILITIES
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_names import MODELS, identify, known_names


@pytest.mark.parametrize(
    ("name", "capability", "family"),
    [
        # Volta
        ("Tesla V100-SXM2-16GB", "7.0", "Volta"),
        ("Tesla V100S-PCIE-32GB", "7.0", "Volta"),
        ("GRID V100D-8Q", "7.0", "Volta"),
        ("NVIDIA TITAN V", "7.0", "Volta"),
        ("Quadro GV100", "7.0", "Volta"),
        # Turing
        ("Tesla T4", "7.5", "Turing"),
        ("GRID T4-16Q", "7.5", "Turing"),
        ("NVIDIA T4G", "7.5", "Turing"),
        ("NVIDIA T1000 8GB", "7.5", "Turing"),
        ("Quadro RTX 6000", "7.5", "Turing"),
        ("GRID RTX6000-24Q", "7.5", "Turing"),
        ("NVIDIA RTX8000P-48C", "7.5", "Turing"),
        ("NVIDIA GeForce RTX 2080 Ti", "7.5", "Turing"),
        ("NVIDIA GeForce GTX 1660 SUPER", "7.5", "Turing"),
        ("NVIDIA TITAN RTX", "7.5", "Turing"),
        ("NVIDIA T400E", "7.5", "Turing"),
        ("NVIDIA GeForce MX450", "7.5", "Turing"),
        ("NVIDIA CMP 30HX", "7.5", "Turing"),
        # Ampere
        ("NVIDIA A100-SXM4-80GB", "8.0", "Ampere"),
        ("NVIDIA A100 80GB PCIe", "8.0", "Ampere"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "8.0", "Ampere"),
        ("NVIDIA A100X", "8.0", "Ampere"),
        ("NVIDIA A800-SXM4-80GB", "8.0", "Ampere"),
        ("NVIDIA A30", "8.0", "Ampere"),
        ("NVIDIA PG506-232", "8.0", "Ampere"),
        ("NVIDIA AX800", "8.0", "Ampere"),
        ("NVIDIA CMP 170HX", "8.0", "Ampere"),
        ("NVIDIA A10", "8.6", "Ampere"),
        ("NVIDIA A10G", "8.6", "Ampere"),
        ("NVIDIA A10-24Q", "8.6", "Ampere"),
        ("NVIDIA A16-4C", "8.6", "Ampere"),
        ("NVIDIA A2", "8.6", "Ampere"),
        ("NVIDIA A40-48Q", "8.6", "Ampere"),
        ("NVIDIA RTX A6000", "8.6", "Ampere"),
        ("NVIDIA RTXA6000-48Q", "8.6", "Ampere"),
        ("NVIDIA RTX A2000 12GB", "8.6", "Ampere"),
        ("NVIDIA GeForce RTX 3090 Ti", "8.6", "Ampere"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", "8.6", "Ampere"),
        ("NVIDIA GeForce RTX 2050", "8.6", "Ampere"),
        ("NVIDIA GeForce RTX 3050", "8.6", "Ampere"),
        ("NVIDIA GeForce RTX 3050 Laptop GPU", "8.6", "Ampere"),
        ("NVIDIA GeForce MX570 A", "8.6", "Ampere"),
        ("NVIDIA RTX A4000H", "8.6", "Ampere"),
        ("NVIDIA CMP 90HX", "8.6", "Ampere"),
        # Ada
        ("NVIDIA L4", "8.9", "Ada"),
        ("NVIDIA L40S", "8.9", "Ada"),
        ("NVIDIA L40S-48Q", "8.9", "Ada"),
        ("NVIDIA RTX 6000 Ada Generation", "8.9", "Ada"),
        ("NVIDIA RTX6000-Ada-48Q", "8.9", "Ada"),
        ("NVIDIA RTX 4000 SFF Ada Generation", "8.9", "Ada"),
        ("NVIDIA GeForce RTX 4090", "8.9", "Ada"),
        ("NVIDIA GeForce RTX 4090 D", "8.9", "Ada"),
        ("NVIDIA GeForce RTX 4060 Ti", "8.9", "Ada"),
        ("NVIDIA GeForce RTX 3050 A Laptop GPU", "8.9", "Ada"),
        ("NVIDIA RTX 2000E Ada Generation", "8.9", "Ada"),
        # Hopper
        ("NVIDIA H100 80GB HBM3", "9.0", "Hopper"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "9.0", "Hopper"),
        ("NVIDIA H100XM-80C", "9.0", "Hopper"),
        ("NVIDIA H100 NVL", "9.0", "Hopper"),
        ("NVIDIA H200", "9.0", "Hopper"),
        ("NVIDIA H20", "9.0", "Hopper"),
        ("NVIDIA GH200 480GB", "9.0", "Grace Hopper"),
        # Blackwell
        ("NVIDIA B200", "10.0", "Blackwell"),
        ("NVIDIA GB200", "10.0", "Blackwell"),
        ("NVIDIA B300 SXM6 AC", "10.3", "Blackwell"),
        ("NVIDIA GB300", "10.3", "Blackwell"),
        ("NVIDIA GeForce RTX 5090", "12.0", "Blackwell"),
        ("NVIDIA GeForce RTX 5060 Ti", "12.0", "Blackwell"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0", "Blackwell"),
        ("NVIDIA RTX Pro 6000 Blackwell DC-96Q", "12.0", "Blackwell"),
        ("NVIDIA RTX 6000D", "12.0", "Blackwell"),
        ("NVIDIA GB10", "12.1", "Blackwell"),
        # as people write them
        ("rtx 5090", "12.0", "Blackwell"),
        ("  a10 ", "8.6", "Ampere"),
    ],
)
def test_a_name_as_nvidia_smi_prints_it(name: str, capability: str, family: str) -> None:
    model = identify(name)
    assert model, name
    assert (str(model.capability), model.family.name) == (capability, family)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "NVIDIA",
        "MIG 1g.5gb",
        "NVIDIA Graphics Device",
        "Tesla P40",
        "NVIDIA GeForce GTX 1080 Ti",
        "NVIDIA A1",
        "NVIDIA A105",
        "NVIDIA L400",
        "NVIDIA H1000",
        "RTX 6000",  # of which family?
        "NVIDIA RTX 4000",
        "NVIDIA GeForce RTX 6090",
        "AMD Instinct MI300X",
    ],
)
def test_nothing_is_guessed_from_a_name_that_merely_looks_alike(name: str) -> None:
    assert identify(name) is None


def test_a_name_belongs_to_one_model_only() -> None:
    for model in MODELS:
        for example in model.examples.split(", "):
            name = f"NVIDIA {example.replace('xx', '60')}"
            assert identify(name) is model, name


def test_every_model_has_a_known_capability_and_every_family_is_told() -> None:
    assert {model.capability for model in MODELS} == set(CAPABILITIES)
    assert [known.split(" (")[0] for known in known_names().split("; ")] == list(dict.fromkeys(model.family.name for model in MODELS))


def test_the_names_of_the_pci_table_have_the_capability_that_it_gives_them() -> None:
    for model in _pci_gpus._MODELS.values():
        known = identify(model.name)
        assert known is not None, model.name
        assert str(known.capability) == model.compute_capability, model.name
