# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All of llama.cpp, compiled by the real nvcc for each host class on a fresh host: about 20 minutes of two cores for each.

No GPU and no driver are needed to compile. What is built then runs here on the CPU, as it would on a host whose driver does not work: it
is healthy and answers, and must not pass for a service on a GPU.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._elf import mapped
from ansible_collections.baremetal.llm.plugins.module_utils._fatbin import embedded_architectures
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_layout import stub_argv, stub_source
from ansible_collections.baremetal.llm.tests.host_classes import HOST_CLASSES, TINY, HostClass
from ansible_collections.baremetal.llm.tests.integration.deployment import RANGE, ROOT, Run
from ansible_collections.baremetal.llm.tests.integration.gpu_hosts import GpuHost, gpu_host

DRIVER = "580.126.09"
DRIVER_LIBRARY = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
KEY = "a-key-of-the-tests-0123456789abcdef"
HOURS = 3600
BIN = "/opt/llama.cpp/current/bin"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / TINY.rpartition("/")[2]
    subprocess.run([sys.executable, ROOT / "tools" / "tiny_gguf.py", path, "--context-length", "32768"], check=True, timeout=120)
    return str(path)


@pytest.fixture(scope="module")
def driver_library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A libcuda that finds no GPU, in place of the driver's."""
    directory = tmp_path_factory.mktemp("libcuda")
    functions = (
        "cuInit",
        "cuGetErrorString",
        "cuDeviceGet",
        "cuDeviceGetAttribute",
        "cuMemCreate",
        "cuMemMap",
        "cuMemUnmap",
        "cuMemRelease",
    )
    functions += ("cuMemAddressReserve", "cuMemAddressFree", "cuMemSetAccess", "cuMemGetAllocationGranularity")
    (directory / "libcuda.c").write_text(stub_source(functions), encoding="utf-8")
    library = directory / "libcuda.so.1"
    subprocess.run(stub_argv("gcc", str(directory / "libcuda.c"), str(library)), check=True)
    return library.read_bytes()


class Scene:
    """A host of one class, and what is overridden there in each run."""

    def __init__(self, host_class: HostClass, host: GpuHost, model: str, driver_library: bytes) -> None:
        self.host_class = host_class
        self.host = host
        self.overridden = {
            **host_class.without_gpu,
            "models_local_files": [model],
            host_class.key: KEY,
            "nvidia_repository_manage": False,
        }
        del self.overridden["llama_cpp_backend"]
        self.driver_library = driver_library

    def play(self, extra: t.Mapping[str, t.Any], without: t.Collection[str] = ()) -> Run:
        kept = {name: value for name, value in self.overridden.items() if name not in without}
        return self.host.play("site.yml", {**kept, **extra}, "--limit", self.host_class.host)

    def give_driver_library(self) -> None:
        self.host.run("rm", "-f", DRIVER_LIBRARY)
        self.host.put(DRIVER_LIBRARY, self.driver_library)


@pytest.fixture(scope="module", params=HOST_CLASSES, ids=lambda host_class: host_class.host)
def scene(request: pytest.FixtureRequest, model: str, driver_library: bytes) -> t.Iterator[Scene]:
    host_class: HostClass = request.param
    name = f"cuda-{host_class.card}"
    with gpu_host(name, alias=host_class.host, inventories=("inventories/example",), patience=2 * HOURS) as host:
        yield Scene(host_class, host, model, driver_library)


def test_a_host_without_gpu_builds_for_the_gpus_of_others(scene: Scene, tmp_path: pathlib.Path) -> None:
    scene.give_driver_library()

    run = scene.play({"nvidia_driver_gpus": [{"name": scene.host_class.gpu}]})

    assert run.rc == 0, run.output
    built = run.task("Build and activate llama.cpp").result
    assert built["rebuilt"]
    assert built["manifest"]["inputs"]["cuda_architectures"] == [scene.host_class.architecture]
    library = tmp_path / "libggml-cuda.so"
    with library.open("wb") as file:
        subprocess.run([RANGE, "ssh", scene.host.name, "--", "cat", f"{BIN}/libggml-cuda.so"], stdout=file, check=True, timeout=300)
    with mapped(library) as data:
        assert data is not None
        assert [str(found) for found in embedded_architectures(data)] == [scene.host_class.architecture]
    print(json.dumps({"embedded": scene.host_class.architecture, "bytes": library.stat().st_size, "key": built["build_key"]}))


def test_nothing_is_missing_without_the_toolkit(scene: Scene) -> None:
    scene.host.run("rm", "-rf", "/opt/cuda")

    assert "libcublasLt.so.13" in scene.host.run("ls", BIN)
    assert "version:" in scene.host.run(f"{BIN}/llama-server", "--version")
    again = scene.play({"nvidia_driver_gpus": [{"name": scene.host_class.gpu}]})
    assert (again.rc, again.changed) == (0, []), again.output
    assert "No such file" in scene.host.run("ls", "/opt/cuda", check=False)


def test_it_does_not_pass_for_a_service_on_a_gpu(scene: Scene) -> None:
    """Now with the class's GPU and driver, and the service on it as written; the CUDA library finds nothing and llama-server goes on."""
    scene.host.plug(scene.host_class.card, driver=DRIVER)
    scene.give_driver_library()
    gpus = next(name for name in scene.overridden if name.endswith("_gpus"))

    run = scene.play({}, without=[gpus])

    assert run.rc != 0, run.output
    assert "holds no memory on" in run.failure, run.failure
    assert scene.host_class.gpu in run.failure
    assert not any(task.name.endswith("Build and activate llama.cpp") and task.changed for task in run.tasks)
    print(run.failure)
