# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA toolkits: which drivers run what they build, and which host compilers their nvcc takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version, parse_version, show
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


@dataclass(frozen=True)
class HostCompiler:
    name: str
    major: int

    def __str__(self) -> str:
        return f"{self.name} {self.major}"


@dataclass(frozen=True)
class Toolkit:
    version: Version
    paired_driver: Version
    """The driver that was released with it: the oldest that can compile its PTX."""
    max_gcc: int
    max_clang: int
    pypi: bool = False
    """Whether the Python packages hold all of it, with nvcc: no root and no repository needed."""

    def __str__(self) -> str:
        return f"CUDA {show(self.version)}"

    @property
    def min_driver(self) -> Version:
        """The oldest driver that runs what it builds, apart from PTX."""
        return _MIN_DRIVERS[self.version[0]]

    def newest(self, compiler: str) -> int:
        return self.max_clang if compiler == "clang" else self.max_gcc

    def takes(self, compiler: HostCompiler | None) -> bool:
        return compiler is None or compiler.major <= self.newest(compiler.name)


# Source: CUDA Toolkit Release Notes, "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility".
_MIN_DRIVERS: dict[int, Version] = {11: (450,), 12: (525,), 13: (580,)}

# Sources: the driver from the same page, "CUDA Toolkit and Corresponding Driver Versions" (13.4: its branch); the compilers from
# crt/host_config.h of each toolkit; the Python packages: `nvcc` is in those of 13.0 and later. There is no 12.7.
TOOLKITS = (
    Toolkit((11, 8), (520, 61, 5), max_gcc=11, max_clang=14),
    Toolkit((12, 0), (525, 60, 13), max_gcc=12, max_clang=14),
    Toolkit((12, 1), (530, 30, 2), max_gcc=12, max_clang=15),
    Toolkit((12, 2), (535, 54, 3), max_gcc=12, max_clang=16),
    Toolkit((12, 3), (545, 23, 6), max_gcc=12, max_clang=16),
    Toolkit((12, 4), (550, 54, 14), max_gcc=13, max_clang=17),
    Toolkit((12, 5), (555, 42, 2), max_gcc=13, max_clang=17),
    Toolkit((12, 6), (560, 28, 3), max_gcc=13, max_clang=18),
    Toolkit((12, 8), (570, 26), max_gcc=14, max_clang=19),
    Toolkit((12, 9), (575, 51, 3), max_gcc=14, max_clang=19),
    Toolkit((13, 0), (580, 65, 6), max_gcc=15, max_clang=20, pypi=True),
    Toolkit((13, 1), (590, 44, 1), max_gcc=15, max_clang=21, pypi=True),
    Toolkit((13, 2), (595, 45, 4), max_gcc=15, max_clang=21, pypi=True),
    Toolkit((13, 3), (610, 43, 2), max_gcc=15, max_clang=21, pypi=True),
    Toolkit((13, 4), (615,), max_gcc=16, max_clang=22, pypi=True),
)


def parse_toolkit_version(text: str) -> Version:
    return parse_version(text, "toolkit_version", "13.0 or 12.8.1", parts=2)


def find(version: Version) -> Toolkit | None:
    """The toolkit of this major and minor version; what follows, as in 12.8.1, makes no difference here."""
    return next((toolkit for toolkit in TOOLKITS if toolkit.version == version[:2]), None)


def parse_host_compiler(text: str) -> HostCompiler:
    match = re.fullmatch(r"\s*(gcc|g\+\+|clang|clang\+\+)[ -]?(\d+)(?:\.\d+)*\s*", text, re.ASCII)
    if not match:
        raise UserError(f"host_compiler is {text!r}, of which nothing is known; write it like 'gcc 12' or 'clang 16'")
    return HostCompiler("clang" if match[1].startswith("clang") else "gcc", int(match[2]))
