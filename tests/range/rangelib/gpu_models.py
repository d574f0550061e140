# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPU models that a host can be given, and the cards that are made of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .errors import RangeError

# The order of the bus is the order in which nvidia-smi counts.
SLOTS = ("0000:17:00.0", "0000:31:00.0", "0000:4b:00.0", "0000:65:00.0", "0000:98:00.0", "0000:b1:00.0", "0000:ca:00.0", "0000:e3:00.0")
_NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@dataclass(frozen=True)
class Model:
    name: str
    device: str
    """The PCI device id."""
    compute_capability: str
    memory_mib: int
    subdevice: str = "0000"
    flavours: tuple[str, ...] = ("open", "proprietary")
    """The kernel modules with which it works."""
    last_branch: int | None = None
    """The newest driver branch that knows it."""
    display: bool = False
    """Whether it drives displays, and so has a function for sound."""


MODELS = {
    "v100": Model("Tesla V100-PCIE-16GB", "1db4", "7.0", 16384, "1214", ("proprietary",), last_branch=580),
    "t4": Model("Tesla T4", "1eb8", "7.5", 15360, "12a2"),
    "a100": Model("NVIDIA A100-SXM4-80GB", "20b2", "8.0", 81920, "1463"),
    "a10": Model("NVIDIA A10", "2236", "8.6", 23028, "1482"),
    "rtx3090": Model("NVIDIA GeForce RTX 3090", "2204", "8.6", 24576, display=True),
    "rtx4090": Model("NVIDIA GeForce RTX 4090", "2684", "8.9", 24564, display=True),
    "l40s": Model("NVIDIA L40S", "26b9", "8.9", 46068, "1851"),
    "h100": Model("NVIDIA H100 80GB HBM3", "2330", "9.0", 81559, "16c1"),
    "b200": Model("NVIDIA B200", "2901", "10.0", 183359, "1999", ("open",)),
    "rtx5090": Model("NVIDIA GeForce RTX 5090", "2b85", "12.0", 32607, flavours=("open",), display=True),
    "rtxpro6000": Model("NVIDIA RTX PRO 6000 Blackwell Server Edition", "2bb5", "12.0", 97887, "204e", flavours=("open",)),
}
# One that came after everything that is written down about GPUs: only its driver knows what it is.
UNKNOWN = "unknown"
MODELS[UNKNOWN] = Model("NVIDIA RTX 9999", "ffff", "12.0", 32607, flavours=("open",), display=True)


@dataclass(frozen=True)
class Card:
    """A GPU in its slot. The same model in the same slot has the same UUID, on every host."""

    index: int
    address: str
    uuid: str
    model: Model

    def as_dict(self) -> dict[str, Any]:
        return {"index": self.index, "address": self.address, "uuid": self.uuid, **asdict(self.model)}


def cards(names: Sequence[str]) -> list[Card]:
    if unknown := sorted(set(names) - set(MODELS)):
        raise RangeError(f"No GPU model is called {', '.join(unknown)}; there are: {', '.join(MODELS)}.")
    if len(names) > len(SLOTS):
        raise RangeError(f"{len(names)} GPUs do not fit: a host has {len(SLOTS)} slots.")
    return [
        Card(index, address, f"GPU-{uuid.uuid5(_NAMESPACE, f'{name}@{address}')}", MODELS[name])
        for index, (name, address) in enumerate(zip(names, SLOTS, strict=False))
    ]
