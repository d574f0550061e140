# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the names of NVIDIA's GPUs say about them.

The names are those that nvidia-smi prints and those of PCI databases: with or without the maker and the brand, with the form factor and
the memory ("A100-SXM4-80GB", "H100 80GB HBM3"), with a vGPU profile ("A10-24Q") or a MIG profile ("A100-SXM4-40GB MIG 1g.5gb") behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import (
    ADA,
    AMPERE,
    BLACKWELL,
    CAPABILITIES,
    GRACE_HOPPER,
    HOPPER,
    TURING,
    VOLTA,
    Capability,
    Family,
)


@dataclass(frozen=True)
class Model:
    """GPUs whose names look alike and whose code is the same."""

    family: Family
    capability: Capability
    examples: str
    pattern: str
    """What the simplified name starts with, as whole words."""


# Source: NVIDIA's tables of compute capabilities, developer.nvidia.com/cuda-gpus and developer.nvidia.com/cuda-legacy-gpus; the names of
# vGPUs: NVIDIA's Virtual GPU Software documentation. Quadro RTX 6000, RTX A6000, RTX 6000 Ada and RTX PRO 6000 are four families.
MODELS = (
    Model(VOLTA, Capability(7, 0), "V100, TITAN V, Quadro GV100", r"v100(d|dx|l|s|x)?|titan v|(quadro )?gv100"),
    Model(
        TURING,
        Capability(7, 5),
        "T4, Quadro RTX 6000, RTX 20xx, GTX 16xx, T1000",
        r"t4g?|(quadro )?t(400e?|500|550|600|1000|1200|2000)|quadro rtx [34568]000|rtx[68]000p?(?! ada)"
        r"|(geforce )?(rtx 20[678]0|gtx 16[356]0|mx[45]50)|titan rtx|cmp [345]0hx",
    ),
    Model(AMPERE, Capability(8, 0), "A100, A800, A30", r"a[18]00(d|dx|x)?|a30x?|ax800|pg50[69]|cmp 170hx"),
    Model(
        AMPERE,
        Capability(8, 6),
        "A10, A40, A16, A2, RTX A6000, RTX 30xx",
        r"a10[gm]?|a16|a2|a40|rtx ?a\d{3,4}h?|(geforce )?(rtx 30[6-9]0|rtx 3050(?! a\b)|rtx 2050|mx570)|cmp [79]0hx",
    ),
    Model(
        ADA,
        Capability(8, 9),
        "L4, L40S, RTX 6000 Ada, RTX 40xx",
        r"l2|l4|l20|l40[sg]?|rtx ?\d{3,4}e? (sff )?ada|(geforce )?(rtx 40[5-9]0|rtx 3050 a)",
    ),
    Model(HOPPER, Capability(9, 0), "H100, H200, H20", r"h[18]00(l|x|xm)?|h200x?|h20"),
    Model(GRACE_HOPPER, Capability(9, 0), "GH200", r"gh200"),
    Model(BLACKWELL, Capability(10, 0), "B200, GB200", r"g?b200"),
    Model(BLACKWELL, Capability(10, 3), "B300, GB300", r"g?b300"),
    Model(BLACKWELL, Capability(12, 0), "RTX 50xx, RTX PRO 6000 Blackwell", r"(geforce )?rtx 50[5-9]0|rtx pro \d{3,4}|rtx 6000d"),
    Model(BLACKWELL, Capability(12, 1), "GB10", r"gb10"),
)


def identify(name: str) -> Model | None:
    """The model that ``name`` belongs to, or None when no row knows it: nothing is guessed from a name that merely looks alike."""
    words = re.sub(r"[\s_-]+", " ", name).strip().lower()
    simplified = re.sub(r"^((nvidia|tesla|grid) )+", "", words)
    # As whole words, since an L40 is no L4 and an A100 no A10.
    return next((model for model in MODELS if re.match(rf"(?:{model.pattern})(?![0-9a-z])", simplified, re.ASCII)), None)


def family_of(name: str, capability: Capability | None) -> Family | None:
    """The family of a GPU: by its name, which tells Hopper from Grace Hopper, or else by its compute capability."""
    model = identify(name)
    if model:
        return model.family
    support = CAPABILITIES.get(capability) if capability else None
    return support.family if support else None


def known_names() -> str:
    """All families with examples, for the message about a name that is not among them."""
    by_family: dict[str, list[str]] = {}
    for model in MODELS:
        by_family.setdefault(model.family.name, []).append(model.examples)
    return "; ".join(f"{family} ({', '.join(examples)})" for family, examples in by_family.items())
