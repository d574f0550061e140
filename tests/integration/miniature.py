# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source tree with the shape of llama.cpp that compiles in a few seconds, and the module run on it as a real process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

MODULE = "ansible_collections.baremetal.llm.plugins.modules.llama_build"
TARGETS = ["llama-server", "llama-bench"]

_CMAKE = """\
cmake_minimum_required(VERSION 3.14)
project(miniature C CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(CONFIGURE_SECONDS)
  execute_process(COMMAND sleep ${CONFIGURE_SECONDS})
endif()
add_library(mini SHARED mini.c more.cpp)
set_target_properties(mini PROPERTIES VERSION 1.2.3 SOVERSION 1)
if(BUILD_SECONDS)
  add_custom_target(slow COMMAND sleep ${BUILD_SECONDS})
  add_dependencies(mini slow)
endif()
foreach(name llama-server llama-bench)
  add_executable(${name} main.cpp)
  target_link_libraries(${name} PRIVATE mini)
  target_compile_definitions(${name} PRIVATE COMMIT="${LLAMA_BUILD_COMMIT}" START_SECONDS=0${START_SECONDS} EXIT_STATUS=0${EXIT_STATUS})
endforeach()
"""
# What the variant for CUDA has besides: a library like llama.cpp's, linked against the runtime and the driver.
_CUDA_CMAKE = """\
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
add_library(ggml-cuda SHARED ggml-cuda.cu)
target_link_libraries(ggml-cuda PRIVATE CUDA::cudart CUDA::cublas CUDA::cuda_driver)
foreach(name llama-server llama-bench)
  target_link_libraries(${name} PRIVATE ggml-cuda)
  target_compile_definitions(${name} PRIVATE CUDA)
endforeach()
"""
# The anonymous namespace and the file's name are what nvcc makes different in each directory and each run.
_CUDA = """\
#include <cublas_v2.h>
#include <cuda.h>
#include <cuda_runtime.h>
#include <cstdio>
namespace { __global__ void twice(float *values) { values[threadIdx.x] *= 2; } }
template <int N> static __global__ void add(float *values) { values[threadIdx.x] += N; }
__global__ void both(float *values) {
  values[0] += 1;
  if (values[0] < 0) printf("%s\\n", __FILE__);
}
extern "C" int cuda_devices(void) {
  int count = 0, version = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return 0;
  cublasHandle_t handle;
  cuDriverGetVersion(&version);
  if (cublasCreate(&handle) != CUBLAS_STATUS_SUCCESS) return 0;
  float *values;
  cudaMalloc(&values, 1024);
  add<3><<<1, 1>>>(values);
  twice<<<1, 1>>>(values);
  both<<<1, 1>>>(values);
  return cudaDeviceSynchronize() == cudaSuccess ? count : 0;
}
"""
# The objects that the two targets consist of.
OBJECTS = 4

_MINI = "const char *source_file(void) { return __FILE__; }\n"
_MORE = "int more() { return 1; }\n"
_MAIN = """\
#include <cstdio>
#include <cstring>
#include <unistd.h>
extern "C" const char *source_file(void);
int more();
#ifdef CUDA
extern "C" int cuda_devices(void);
#else
static int cuda_devices(void) { return 0; }
#endif
int main(int argc, char **argv) {
  sleep(START_SECONDS);
  if (argc == 2 && !std::strcmp(argv[1], "--list-devices")) {
    std::printf("Available devices:\\n");
    for (int device = 0; device < cuda_devices(); ++device) std::printf("  CUDA%d: one (2 MiB, 1 MiB free)\\n", device);
    return EXIT_STATUS;
  }
  std::fprintf(stderr, "version: 0 (build 0, commit %s) from %s, %d\\n", COMMIT, source_file(), more());
  if (argc == 1) pause();
  return EXIT_STATUS;
}
"""


def make_tree(directory: Path, *, cuda: bool = False) -> Path:
    directory.mkdir(parents=True)
    (directory / "CMakeLists.txt").write_text(_CMAKE + (_CUDA_CMAKE if cuda else ""))
    if cuda:
        (directory / "ggml-cuda.cu").write_text(_CUDA)
    (directory / "mini.c").write_text(_MINI)
    (directory / "main.cpp").write_text(_MAIN)
    (directory / "more.cpp").write_text(_MORE)
    return directory


def make_archive(tree: Path, archive: Path, top: str = "llama.cpp-1") -> dict[str, str]:
    """A tar archive of ``tree`` under one directory; returns the source that describes it."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, arcname=top)
    return {"kind": "archive", "path": str(archive), "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}


def make_source_distribution(tree: Path, index: Path, version: str) -> None:
    """A package that carries ``tree``, whose build backend must never be run, for pip's ``--find-links``."""
    package = tree.parent / f"miniature_llama-{version}"
    shutil.copytree(tree, package / "vendor" / "llama.cpp")
    (package / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: miniature_llama\nVersion: {version}\n")
    (package / "pyproject.toml").write_text('[build-system]\nrequires = ["nothing-like-it"]\nbuild-backend = "nothing_like_it.build"\n')
    index.mkdir(exist_ok=True)
    with tarfile.open(index / f"miniature_llama-{version}.tar.gz", "w:gz") as tar:
        tar.add(package, arcname=package.name)


def git(*arguments: str, cwd: Path) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


def make_repository(tree: Path, bare: Path) -> dict[str, str]:
    """A bare repository of ``tree`` with the branch main and the tag v1."""
    git("init", "--quiet", cwd=tree)
    git("add", ".", cwd=tree)
    git("commit", "--quiet", "--message=one", cwd=tree)
    git("tag", "--annotate", "--message=one", "v1", cwd=tree)
    git("clone", "--quiet", "--bare", str(tree), str(bare), cwd=tree)
    return {"kind": "git", "repo": str(bare), "version": "v1"}


class Result(dict[str, t.Any]):
    """What the module returned."""

    @property
    def failed(self) -> bool:
        return bool(self.get("failed"))


class Host:
    """A prefix, and the module run on it."""

    def __init__(self, directory: Path) -> None:
        self.prefix = directory / "opt" / "llama.cpp"
        self._arguments = directory / "arguments"
        self._arguments.mkdir(parents=True)
        self._count = 0

    def start(self, *, check: bool = False, env: dict[str, str] | None = None, **arguments: t.Any) -> subprocess.Popen[str]:
        self._count += 1
        file = self._arguments / f"{self._count}.json"
        arguments = {"prefix": str(self.prefix), "targets": TARGETS, **arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        return subprocess.Popen(
            [sys.executable, "-m", MODULE, str(file)],
            env={**os.environ, **(env or {})},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *, check: bool = False, env: dict[str, str] | None = None, **arguments: t.Any) -> Result:
        process = self.start(check=check, env=env, **arguments)
        stdout, stderr = process.communicate(timeout=120)
        assert stdout, stderr
        return Result(json.loads(stdout))

    def releases(self) -> list[str]:
        directory = self.prefix / "releases"
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def current(self) -> str:
        return os.path.basename(os.readlink(self.prefix / "current"))

    def processes(self) -> list[str]:
        """The command lines that name the prefix, other than the module's own."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.prefix) in command:
                found.append(command)
        return found
