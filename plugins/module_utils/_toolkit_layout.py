# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA's wheels become: a CUDA toolkit with the layout that nvcc, CMake and the linker expect.

The wheels hold ``nvidia/cu13/{bin,include,lib,nvvm}``. What is missing there is what only linking needs: names without a
version, ``lib64``, a libcuda to link with where no driver is installed, and a version.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

CUDA_HEADER = "include/cuda.h"
NVCC = "bin/nvcc"
STUB = "lib/stubs/libcuda.so"
VERSION_FILE = "version.json"

# Nothing that is compiled or linked with needs these: nvcc's own compiler is a program, and NVBLAS stands in for another BLAS.
_LEFT_OUT = re.compile(r"lib/lib(?:nvvm|nvblas)\.so[.\d]*")
_LIBRARY = re.compile(r"lib/(lib\w+\.so)\.\d[\d.]*")

# The entries of NVIDIA's version.json.
_COMPONENTS = {
    "nvidia-cublas": ("libcublas", "CUDA cuBLAS"),
    "nvidia-cuda-cccl": ("cuda_cccl", "CUDA C++ Core Compute Libraries"),
    "nvidia-cuda-nvcc": ("cuda_nvcc", "CUDA NVCC"),
    "nvidia-cuda-runtime": ("cuda_cudart", "CUDA Runtime (cudart)"),
}

# CUDA_ERROR_STUB_LIBRARY
_STUB_ANSWER = 34


def place_of(member: str, version: str) -> str | None:
    """Where a file of a wheel belongs below the toolkit's root; None where it is of no use."""
    top = f"nvidia/cu{version.partition('.')[0]}/"
    place = member.removeprefix(top)
    if place == member or place.endswith("/") or place.startswith(".") or _LEFT_OUT.fullmatch(place):
        return None
    return place


def links(places: Iterable[str]) -> dict[str, str]:
    """The symbolic links to add, place -> target."""
    libraries = {f"lib/{match[1]}": place.removeprefix("lib/") for place in places if (match := _LIBRARY.fullmatch(place))}
    return {"lib64": "lib", **libraries}


def version_json(version: str, packages: Mapping[str, str]) -> str:
    parts = {key: {"name": name, "version": packages[package]} for package, (key, name) in _COMPONENTS.items() if package in packages}
    return json.dumps({"cuda": {"name": "CUDA SDK", "version": version}, **parts}, indent=2) + "\n"


def driver_functions(header: str) -> list[str]:
    """Every symbol that a program compiled with this cuda.h can want of libcuda: what it declares, and what it renames that to."""
    declared = re.findall(r"\bCUDAAPI\s+(cu[A-Z]\w*)\s*\(", header)
    renamed = re.findall(r"^\s*#\s*define\s+cu[A-Z]\w*\s+(cu[A-Z]\w*)\s*$", header, re.MULTILINE)
    return sorted({*declared, *renamed})


def stub_source(functions: Iterable[str]) -> str:
    """A libcuda in C to link with. The driver's own takes its place when the program runs."""
    return "".join(f"int {name}(void) {{ return {_STUB_ANSWER}; }}\n" for name in functions)


def stub_argv(compiler: str, source: str, library: str) -> list[str]:
    return [compiler, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-o", library, "-x", "c", source]
