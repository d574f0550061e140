# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of CMAKE_CUDA_ARCHITECTURES: what they mean, which GPUs they serve, and who can build them."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import CAPABILITIES, Capability
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version

# ggml's CMakeLists.txt for CUDA asks for it.
MIN_CMAKE: Version = (3, 18)
# nvcc's documentation, "GPU Feature List": family-specific targets came with this toolkit.
FIRST_FAMILY_TOOLKIT: Version = (12, 9)


class Coverage(enum.IntEnum):
    NONE = 0
    PTX = 1
    """The driver compiles it when the program first runs."""
    BINARY = 2
    """It runs as it is, without what the GPU has beyond it."""
    EXACT = 3


@dataclass(frozen=True, order=True)
class Architecture:
    """One entry. ``a`` stands for code with all that this very GPU has, ``f`` for code that later GPUs of its family run too."""

    capability: Capability
    suffix: str = ""
    real: bool = True
    virtual: bool = False

    def __str__(self) -> str:
        kind = "" if self.real and self.virtual else "-real" if self.real else "-virtual"
        return f"{self.capability.major}{self.capability.minor}{self.suffix}{kind}"

    def coverage(self, gpu: Capability) -> Coverage:
        """How it serves a GPU of this compute capability (CUDA C++ Programming Guide, "Binary Compatibility", "PTX Compatibility")."""
        if self.capability == gpu:
            return Coverage.EXACT if self.real else Coverage.PTX
        if self.suffix == "a" or self.capability > gpu:
            return Coverage.NONE
        if self.real and self.capability.major == gpu.major:
            return Coverage.BINARY
        return Coverage.PTX if self.virtual and (not self.suffix or self.capability.major == gpu.major) else Coverage.NONE

    def built_by(self, toolkit: Version) -> bool:
        return CAPABILITIES[self.capability].built_by(toolkit) and (self.suffix != "f" or toolkit >= FIRST_FAMILY_TOOLKIT)


def for_gpus(capabilities: Iterable[Capability]) -> list[Architecture]:
    """Exactly the code that these GPUs run.

    There is no PTX in it, because there is no GPU that it could help: each has its own code, PTX is the slowest part of a build to compile,
    llama.cpp's for Blackwell serves that one architecture only, and a driver older than the toolkit can't compile it.
    """
    return [Architecture(capability, _own_suffix(capability)) for capability in sorted(set(capabilities))]


def parse(text: str) -> Architecture | None:
    """``text`` as llama.cpp's build takes it; None where it is no architecture of a known GPU, as with ``native``."""
    match = re.fullmatch(r"(\d{1,2})(\d)([af]?)(?:-(real|virtual))?", text.strip(), re.ASCII)
    if not match:
        return None
    capability, suffix = Capability(int(match[1]), int(match[2])), match[3]
    oldest = {"": Capability(0, 0), "a": Capability(9, 0), "f": Capability(10, 0)}[suffix]
    if capability not in CAPABILITIES or capability < oldest:
        return None
    return Architecture(capability, suffix or _own_suffix(capability), match[4] != "virtual", match[4] != "real")


def cmake_knows_families(cmake: Version) -> bool:
    """Whether this CMake takes ``120f`` (Modules/Internal/CMakeCUDAArchitecturesValidate.cmake, by way of ggml's CMakeLists.txt)."""
    return (3, 31, 8) <= cmake < (4,) or cmake >= (4, 0, 2)


def _own_suffix(capability: Capability) -> str:
    # ggml's CMakeLists.txt turns 12X into 12Xa, for the FP4 tensor cores; so it is spelled out from the start.
    return "a" if capability.major == 12 else ""
