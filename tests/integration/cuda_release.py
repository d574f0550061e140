# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source tree that is compiled for a GPU in seconds and serves for real: one kernel, and a llama-server that was built before.

No CUDA program sees the GPUs of a simulated host, so which there are is asked of its nvidia-smi.
"""

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
add_custom_target(llama-server-built ALL COMMAND cp -a ${CMAKE_SOURCE_DIR}/built/. ${CMAKE_BINARY_DIR}/bin/)
add_custom_target(llama-server ALL COMMAND cp -a ${CMAKE_SOURCE_DIR}/llama-server ${CMAKE_BINARY_DIR}/bin/)
add_dependencies(llama-server llama-server-built ggml-cuda)
"""
TARGETS = ("llama-server", "llama-server-built")

SERVER = """\
#!/bin/sh
if [ "$*" = --list-devices ]; then
  echo "Available devices:"
  nvidia-smi --query-gpu=index,name --format=csv,noheader | sed 's/^\\([0-9]*\\), /  CUDA\\1: /'
  exit
fi
exec "$(dirname "$0")/llama-server-built" "$@"
"""

# The anonymous namespace and the file's name are what nvcc makes different in each directory, if it is let.
KERNEL = """\
namespace { __global__ void scale(float *values, float by) { values[threadIdx.x] *= by; } }
extern "C" void scale_on_gpu(float *values, float by) { scale<<<1, 32>>>(values, by); }
extern "C" const char *scale_source(void) { return __FILE__; }
"""


def archive(binaries: pathlib.Path) -> bytes:
    """``binaries``: the directory with llama-server and its libraries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, text, mode in (("CMakeLists.txt", CMAKE, 0o644), ("kernel.cu", KERNEL, 0o644), ("llama-server", SERVER, 0o755)):
            member = tarfile.TarInfo(f"served/{name}")
            member.size, member.mode = len(text.encode()), mode
            tar.addfile(member, io.BytesIO(text.encode()))
        for path in sorted(binaries.iterdir()):
            name = "llama-server-built" if path.name == "llama-server" else path.name
            tar.add(path, arcname=f"served/built/{name}")
    return packed.getvalue()
