# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The families of GPUs from Volta to Blackwell and their compute capabilities: which toolkits and drivers know them."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version


class Capability(NamedTuple):
    """A compute capability. CMake and nvcc write 8.6 as 86."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Capability | None:
        match = re.fullmatch(r"\s*(\d{1,2})\.(\d)\s*", text, re.ASCII)
        return cls(int(match[1]), int(match[2])) if match else None


class Modules(enum.Enum):
    """Which flavour of NVIDIA's kernel modules drives a GPU."""

    PROPRIETARY = "proprietary"
    EITHER = "either"
    OPEN = "open"


@dataclass(frozen=True)
class Family:
    name: str
    modules: Modules
    last_driver: int | None = None
    """The last driver branch that still drives it."""


# Source: NVIDIA Driver Installation Guide, "Kernel Modules": the open ones need the GSP, which came with Turing; Blackwell and Grace Hopper
# have nothing else. Release 580 is the last one for Volta.
VOLTA = Family("Volta", Modules.PROPRIETARY, last_driver=580)
TURING = Family("Turing", Modules.EITHER)
AMPERE = Family("Ampere", Modules.EITHER)
ADA = Family("Ada", Modules.EITHER)
HOPPER = Family("Hopper", Modules.EITHER)
GRACE_HOPPER = Family("Grace Hopper", Modules.OPEN)
BLACKWELL = Family("Blackwell", Modules.OPEN)


@dataclass(frozen=True)
class Support:
    """What a GPU of one compute capability needs."""

    family: Family
    driver: int
    """The first driver branch for it."""
    first_toolkit: Version
    last_toolkit: Version | None = None

    def built_by(self, toolkit: Version) -> bool:
        return self.first_toolkit <= toolkit and (self.last_toolkit is None or toolkit <= self.last_toolkit)


# Sources: the toolkits' `nvcc --list-gpu-code` and `ptxas --help` (11.8 to 13.0); their release notes for those before and for what was
# removed. The driver is the branch that was released with the first toolkit. Jetsons are left out: their drivers come with JetPack.
CAPABILITIES: dict[Capability, Support] = {
    Capability(7, 0): Support(VOLTA, 384, (9, 0), last_toolkit=(12, 9)),
    Capability(7, 5): Support(TURING, 410, (10, 0)),
    Capability(8, 0): Support(AMPERE, 450, (11, 0)),
    Capability(8, 6): Support(AMPERE, 455, (11, 1)),
    Capability(8, 9): Support(ADA, 520, (11, 8)),
    Capability(9, 0): Support(HOPPER, 520, (11, 8)),
    Capability(10, 0): Support(BLACKWELL, 570, (12, 8)),
    Capability(10, 3): Support(BLACKWELL, 575, (12, 9)),
    Capability(12, 0): Support(BLACKWELL, 570, (12, 8)),
    Capability(12, 1): Support(BLACKWELL, 575, (12, 9)),
}
