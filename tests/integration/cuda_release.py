# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source tree that is compiled for a GPU in seconds and serves for real: one kernel, and a llama-server that was built before."""

from __future__ import annotations

import io
import pathlib
import tarfile

# The proof of a build reads the architectures from the library's own code, and starts the server.
CMAKE = """\
cmake_minimum_required(VERSION 3.18)
project(served LANGUAGES CXX CUDA)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_library(ggml-cuda SHARED kernel.cu)
add_custom_target(llama-server ALL COMMAND cp -a ${CMAKE_SOURCE_DIR}/built/. ${CMAKE_BINARY_DIR}/bin/)
add_dependencies(llama-server ggml-cuda)
"""

KERNEL = """\
__global__ void scale(float *values, float by) { values[threadIdx.x] *= by; }
extern "C" void scale_on_gpu(float *values, float by) { scale<<<1, 32>>>(values, by); }
"""


def archive(binaries: pathlib.Path) -> bytes:
    """``binaries``: the directory with llama-server and its libraries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, text in (("CMakeLists.txt", CMAKE), ("kernel.cu", KERNEL)):
            member = tarfile.TarInfo(f"served/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        for path in sorted(binaries.iterdir()):
            tar.add(path, arcname=f"served/built/{path.name}")
    return packed.getvalue()
