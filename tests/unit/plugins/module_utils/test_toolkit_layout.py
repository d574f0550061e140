# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_layout import (
    driver_functions,
    links,
    place_of,
    stub_argv,
    stub_source,
    version_json,
)

# From CUDA 13.0's cuda.h.
HEADER = """\
#define CUDAAPI
    #define cuDeviceTotalMem                    cuDeviceTotalMem_v2
    #define cuMemAlloc                          cuMemAlloc_v2
    #define cuMemcpyHtoD                        __CUDA_API_PTDS(cuMemcpyHtoD_v2)
#define CUDA_VERSION 13000
typedef void (CUDA_CB *CUhostFn)(void *userData);
typedef CUresult (CUDAAPI *CUmemcpyFn)(void);
CUresult CUDAAPI cuGetErrorString(CUresult error, const char **pStr);
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *dptr, size_t bytesize);
CUresult CUDAAPI cuDeviceTotalMem(size_t *bytes, CUdevice dev);
"""


def test_place_of_a_file_below_the_root() -> None:
    assert place_of("nvidia/cu13/bin/crt/link.stub", "13.0.3") == "bin/crt/link.stub"
    assert place_of("nvidia/cu14/lib/libcudart.so.14", "14.1.0") == "lib/libcudart.so.14"
    assert place_of("nvidia/cu13/include/nvvm.h", "13.0.3") == "include/nvvm.h"


def test_what_a_build_has_no_use_for_stays_in_the_wheel() -> None:
    useless = [
        "nvidia/cu13/lib/libnvvm.so.4",
        "nvidia/cu13/lib/libnvblas.so.13",
        "nvidia/cu13/.metadata/provenance.txt",
        "nvidia/cu13/lib/",
        "nvidia_nvvm-13.0.88.dist-info/METADATA",
    ]
    assert [place_of(member, "13.0.3") for member in useless] == [None] * len(useless)


def test_names_for_the_linker() -> None:
    places = ["lib/libcublas.so.13", "lib/libcublasLt.so.13", "lib/libcudart_static.a", "lib/cmake/cub/cub-config.cmake", "bin/nvcc"]
    assert links(places) == {"lib64": "lib", "lib/libcublas.so": "libcublas.so.13", "lib/libcublasLt.so": "libcublasLt.so.13"}


def test_version_json_is_nvidias() -> None:
    said = json.loads(version_json("13.0.3", {"nvidia-cuda-nvcc": "13.0.88", "nvidia-nvvm": "13.0.88"}))
    assert said == {"cuda": {"name": "CUDA SDK", "version": "13.0.3"}, "cuda_nvcc": {"name": "CUDA NVCC", "version": "13.0.88"}}


def test_a_program_that_uses_the_header_links_with_the_stub(tmp_path: Path) -> None:
    functions = driver_functions(HEADER)
    assert functions == ["cuDeviceTotalMem", "cuDeviceTotalMem_v2", "cuGetErrorString", "cuMemAlloc", "cuMemAlloc_v2"]
    source, library, program = tmp_path / "stub", tmp_path / "libcuda.so", tmp_path / "program.c"
    source.write_text(stub_source(functions))
    subprocess.run(stub_argv("cc", str(source), str(library)), check=True)
    program.write_text("int cuMemAlloc_v2(void *, long);\nint main(void) { return cuMemAlloc_v2(0, 1); }\n")
    subprocess.run(["cc", str(program), f"-L{tmp_path}", "-lcuda", "-o", str(tmp_path / "program")], check=True)
    needed = subprocess.run(["readelf", "-d", str(tmp_path / "program")], check=True, capture_output=True, text=True).stdout
    assert "[libcuda.so.1]" in needed
