# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA toolkit in a directory of this host: which version it is, and whether all that a build needs is there.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._command import run
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_toolkits import COMPILER, parse_nvcc_build, parse_version_json

LIBRARIES = "lib64"
# What stands in for the driver's library when linking; a host that builds needs no driver.
DRIVER_STUB = f"{LIBRARIES}/stubs/libcuda.so"

# A toolkit comes in pieces, and each of these is in another one.
_PIECES = (
    COMPILER,
    "nvvm/bin/cicc",
    "include/crt/host_config.h",
    "include/cuda_runtime.h",
    "include/cublas_v2.h",
    "include/cub/cub.cuh",
    f"{LIBRARIES}/libcudart.so",
    f"{LIBRARIES}/libcublas.so",
    DRIVER_STUB,
)
# Beside the header directory itself, or below it since 13.0.
_MOVED = {"include/cub/cub.cuh": "include/cccl/cub/cub.cuh"}


def toolkit_version(root: Path) -> str | None:
    """The version as NVIDIA counts toolkits, or the compiler's own where that is not told; None where there is no toolkit."""
    told = parse_version_json(read_text_or_none(root / "version.json") or "")
    if told and (root / COMPILER).is_file():
        return told
    return parse_nvcc_build(run([str(root / COMPILER), "--version"]).stdout)


def missing_pieces(root: Path) -> list[str]:
    return [piece for piece in _PIECES if not (root / piece).exists() and not (root / _MOVED.get(piece, piece)).exists()]
