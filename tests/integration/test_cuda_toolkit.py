# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cuda_toolkit as a real process: NVIDIA's own wheels and nvcc, and miniature ones to be killed; needs no range host."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.tests.unit.plugins.miniature_toolkit import VERSION, make_wheels

from .cuda import TOOLKIT, Toolkits
from .test_llama_build import wait_until

_PROGRAM = """\
#include <cstdio>
#include <cublas_v2.h>
#include <cub/cub.cuh>
#include <cuda.h>
#include <cuda_runtime.h>
__global__ void twice(float *x) { x[threadIdx.x] *= 2; }
int main() {
  cublasHandle_t handle;
  CUdevice device;
  twice<<<1, 1>>>(nullptr);
  int driver = cuDeviceGet(&device, 0), runtime = cudaDeviceSynchronize(), blas = cublasCreate(&handle);
  std::printf("driver %d runtime %d blas %d\\n", driver, runtime != 0, blas != 0);
}
"""


# --- NVIDIA's own -------------------------------------------------------------------------------------------------------


def test_nvcc_compiles_and_links_without_a_driver(cuda_root: Path, tmp_path: Path) -> None:
    (tmp_path / "program.cu").write_text(_PROGRAM)
    built = subprocess.run(
        [cuda_root / "bin" / "nvcc", "-arch=sm_86", "-cudart=shared", "program.cu", "-o", "program", "-lcublas", "-lcuda"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    stub = cuda_root / "lib64" / "stubs"
    (tmp_path / "libcuda.so.1").symlink_to(stub / "libcuda.so")
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{cuda_root / 'lib64'}:{tmp_path}"}
    ran = subprocess.run([tmp_path / "program"], env=environment, capture_output=True, text=True, check=True)
    # The loader finds every library and symbol; 34 is what a stub answers, and nothing that needs a GPU works.
    assert ran.stdout == "driver 34 runtime 1 blas 1\n"


def test_cmake_finds_all_that_llama_cpp_asks_for(cuda_root: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\n"
        "project(asks CXX)\n"
        "find_package(CUDAToolkit REQUIRED)\n"
        "foreach(name cudart cudart_static cublas cublasLt cuda_driver)\n"
        "  get_target_property(where CUDA::${name} IMPORTED_LOCATION)\n"
        '  file(APPEND found "${name} ${where}\\n")\n'
        "endforeach()\n"
    )
    configured = subprocess.run(
        ["cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCUDAToolkit_ROOT={cuda_root}"], capture_output=True, text=True, check=False
    )
    assert configured.returncode == 0, configured.stderr
    found = dict(line.split() for line in (tmp_path / "found").read_text().splitlines())
    assert {name: str(Path(place).resolve().relative_to(cuda_root)) for name, place in found.items()} == {
        "cudart": "lib/libcudart.so.13",
        "cudart_static": "lib/libcudart_static.a",
        "cublas": "lib/libcublas.so.13",
        "cublasLt": "lib/libcublasLt.so.13",
        "cuda_driver": "lib/stubs/libcuda.so",
    }


def test_a_second_run_changes_nothing_and_needs_neither_pip_nor_network(cuda_root: Path) -> None:
    toolkits = Toolkits(cuda_root.parent)
    again = toolkits.run(version=TOOLKIT, env={"PATH": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_NO_INDEX": "1"})
    assert not again["changed"] and again["reasons"] == [] and again["download_mib"] == 0
    assert again["diff"]["before"] == again["diff"]["after"]
    assert json.loads((cuda_root / "version.json").read_text())["cuda"]["version"] == TOOLKIT


# --- killed -------------------------------------------------------------------------------------------------------------


class Index:
    """A package index with the wheels, which can keep one waiting for the end of a file."""

    def __init__(self, wheels: Path) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()
        self.release.set()
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                if name.endswith(".whl"):
                    index.asked.append(name)
                    data = (wheels / name).read_bytes()
                else:
                    package = self.path.strip("/").rpartition("/")[2].replace("-", "_")
                    data = "".join(f'<a href="/{wheel.name}">{wheel.name}</a>' for wheel in wheels.glob(f"{package}-*")).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[:-1])
                self.wfile.flush()
                if name.endswith(".whl"):
                    index.release.wait(60)
                self.wfile.write(data[-1:])

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def index(tmp_path: Path) -> t.Iterator[Index]:
    index = Index(tmp_path / "wheels")
    yield index
    index.close()


@pytest.fixture
def miniature(tmp_path: Path, index: Index) -> Toolkits:
    """Toolkits of a CUDA that never was, from that index alone."""
    table = make_wheels(tmp_path / "wheels", ballast_mib=100)
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    return Toolkits(tmp_path / "cuda", table=table, env=pip)


def test_killed_while_it_fetches(miniature: Toolkits, index: Index) -> None:
    index.release.clear()
    process = miniature.start(version=VERSION)
    wait_until(lambda: miniature.progress().get("step") == f"fetch CUDA {VERSION}" and bool(index.asked))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert miniature.visible() == []
    wait_until(lambda: miniature.processes() == [])  # pip has gone with it

    index.release.set()
    assert miniature.run(version=VERSION)["changed"]
    assert miniature.visible() == [VERSION] and miniature.damaged(VERSION) == []


def test_killed_while_it_unpacks(miniature: Toolkits, index: Index) -> None:
    process = miniature.start(version=VERSION)
    wait_until(lambda: miniature.progress().get("step") == f"unpack CUDA {VERSION}")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert miniature.visible() == []

    fetched = len(index.asked)
    assert miniature.run(version=VERSION)["changed"]
    assert miniature.visible() == [VERSION] and miniature.damaged(VERSION) == []
    assert len(index.asked) == fetched == 2  # what is there and sound is not fetched again
    assert miniature.own() == ["install.log", "lock"]


def test_two_runs_at_once_install_it_once(miniature: Toolkits, index: Index) -> None:
    index.release.clear()
    first = miniature.start(version=VERSION)
    wait_until(lambda: bool(index.asked))
    second = miniature.start(version=VERSION)
    time.sleep(1)
    index.release.set()
    results = [json.loads(process.communicate(timeout=60)[0]) for process in (first, second)]
    assert [result.get("failed", False) for result in results] == [False, False], results
    assert sorted(index.asked) == sorted({*index.asked}) and miniature.damaged(VERSION) == []


def test_index_that_is_not_there(miniature: Toolkits) -> None:
    failed = miniature.run(version=VERSION, env={"PIP_INDEX_URL": "http://127.0.0.1:9/simple"})
    assert failed["failed"] and "can't be reached, so CUDA 13.9.7 can't be fetched" in failed["msg"]
    assert miniature.visible() == []
