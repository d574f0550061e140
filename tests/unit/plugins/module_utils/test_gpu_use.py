# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import GpuUse, judge_gpus, offloaded_layers
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import App, Apps

A10, RTX, MIG = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11", "GPU-8b89b58e-b427-108d-ac50-06138d78fe78", "MIG-c6d4f1ef-42e4-5de3"
NAMES = {A10: "NVIDIA A10", RTX: "NVIDIA GeForce RTX 5090"}

# As llama.cpp 0c1e57098 prints it: a build for the CPU with n_gpu_layers, one for CUDA whose driver is not there, and layers.
CPU_BUILD = [
    "warning: no usable GPU found, --gpu-layers option will be ignored",
    "warning: one possible reason is that llama.cpp was compiled without GPU support",
    "warning: consult docs/build.md for compilation instructions",
    "main: server is listening on http://127.0.0.1:8080",
]
NO_DRIVER = ["ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected", *CPU_BUILD]
WRONG_ARCHITECTURE = [
    "CUDA error: no kernel image is available for execution on the device",
    "  current device: 0, in function launch_fattn",
]
# Qwen2-VL 7B on an H200, with 32768 tokens: MiB that are planned for weights and cache; held with all layers on the GPU, with none, with none
# but the projector, with 14 of 29 and the projector, and where CUDA finds no GPU; and what the last says.
PLANNED, ON_GPU, ON_CPU_BESIDE_A_GPU, PROJECTOR_ALONE, FOURTEEN = 5721, 8008, 702, 2266, 5218
NO_VISIBLE_GPU = ["0.00.013.057 E ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected"]
OFFLOADED = ["load_tensors: offloading 32 repeating layers to GPU", "load_tensors: offloaded {}/33 layers to GPU"]


def judged(
    *apps: App, asked: tuple[str, ...] = (A10,), layers: str | None = "all", planned: int | None = None, failure: str = "", **more: Any
) -> Check:
    return judge_gpus(asked, layers, planned, GpuUse(Apps(apps, failure), **{"mine": frozenset({7, 8}), "names": NAMES, **more}))


def offloaded(count: int) -> list[str]:
    return [line.format(count) for line in OFFLOADED]


@pytest.mark.parametrize(
    ("apps", "more", "detail"),
    [
        ([App(A10, 7, 812)], {}, f"812 MiB on {A10} (NVIDIA A10)"),
        ([App(A10, 7, 800), App(A10, 8, 12)], {}, f"812 MiB on {A10} (NVIDIA A10)"),
        ([App(A10, 7, None)], {}, f"memory on {A10} (NVIDIA A10)"),
        ([App(A10, 7, 1), App(RTX, 7, 2)], {"asked": (RTX, A10)}, f"2 MiB on {RTX} (NVIDIA GeForce RTX 5090), 1 MiB on {A10} (NVIDIA A10)"),
        ([App(A10, 7, 9)], {"asked": (MIG,), "parents": {MIG: A10}}, f"9 MiB on {MIG} (NVIDIA A10)"),
        ([App(MIG, 7, 9)], {"asked": (MIG,), "parents": {MIG: A10}}, f"9 MiB on {MIG} (NVIDIA A10)"),
        ([App(A10, 7, 9)], {"names": {}}, f"9 MiB on {A10}"),
        ([App(A10, 7, 9)], {"failure": "Unable to determine the device handle (rc 15)"}, f"9 MiB on {A10} (NVIDIA A10)"),  # of another
        ([App(A10, 7, 9)], {"journal": offloaded(33)}, f"9 MiB on {A10} (NVIDIA A10), 33 of 33 layers"),
        ([App(A10, 7, 9)], {"journal": offloaded(20), "layers": "20"}, f"9 MiB on {A10} (NVIDIA A10), 20 of 33 layers"),
        ([App(A10, 7, 9)], {"journal": offloaded(33), "layers": "99"}, f"9 MiB on {A10} (NVIDIA A10), 33 of 33 layers"),
        ([App(A10, 7, 9)], {"journal": offloaded(1), "layers": None}, f"9 MiB on {A10} (NVIDIA A10), 1 of 33 layers"),
        ([App(A10, 7, ON_GPU)], {"planned": PLANNED}, f"8008 MiB on {A10} (NVIDIA A10)"),
        ([App(A10, 7, PLANNED)], {"planned": PLANNED, "layers": None}, f"5721 MiB on {A10} (NVIDIA A10)"),
        (
            [App(A10, 7, 3000), App(RTX, 7, 3000)],
            {"planned": PLANNED, "asked": (A10, RTX), "names": {}},
            f"3000 MiB on {A10}, 3000 MiB on {RTX}",
        ),
        ([App(A10, 7, None), App(A10, 8, 5)], {"planned": PLANNED}, f"5 MiB on {A10} (NVIDIA A10)"),  # not all that it holds is told
    ],
)
def test_it_computes_where_it_should(apps: list[App], more: dict[str, Any], detail: str) -> None:
    assert judged(*apps, **more) == Check("gpu", True, detail)


ON_CPU = f"the process holds no memory on {A10} (NVIDIA A10): it computes on the CPU"


@pytest.mark.parametrize(
    ("apps", "more", "detail", "remedy"),
    [
        ([], {}, ON_CPU, "Build llama.cpp with backend: cuda if this release was built for the CPU"),
        ([App(A10, 9, 812)], {}, ON_CPU, "Build llama.cpp with backend: cuda if"),  # somebody else's process
        ([App(RTX, 7, 812)], {}, ON_CPU, "Build llama.cpp with backend: cuda if"),
        ([App(A10, 7, 0)], {}, ON_CPU, "Build llama.cpp with backend: cuda if"),
        ([], {"journal": CPU_BUILD}, ON_CPU, f"Build llama.cpp with backend: cuda. Its journal says: {CPU_BUILD[0]} / {CPU_BUILD[1]}"),
        ([], {"journal": NO_DRIVER}, ON_CPU, f"See what baremetal.llm.gpu_info says of the driver. Its journal says: {NO_DRIVER[0]}"),
        (
            [],
            {"journal": NO_VISIBLE_GPU},
            ON_CPU,
            f"See what baremetal.llm.gpu_info says of the driver. Its journal says: {NO_VISIBLE_GPU[0]}",
        ),
        ([], {"journal": WRONG_ARCHITECTURE}, ON_CPU, "Build llama.cpp for this GPU's compute capability (cuda_architectures)"),
        (
            [App(A10, 7, 812)],
            {"asked": (A10, RTX)},
            f"the process holds no memory on {RTX} (NVIDIA GeForce RTX 5090): it computes on the others alone",
            "Build llama.cpp",
        ),
        (
            [],
            {"failure": "it is not there"},
            f"nvidia-smi does not tell whether the process uses {A10} (NVIDIA A10): it is not there",
            "See what",
        ),
        (
            [App(A10, 7, 9)],
            {"journal": offloaded(20)},
            "20 of the model's 33 layers are on the GPU, you asked for all: the CPU computes the rest",
            "n_gpu_layers: 20",
        ),
        (
            [App(A10, 7, 9)],
            {"journal": offloaded(20), "layers": "99"},
            "20 of the model's 33 layers are on the GPU, you asked for 99",
            "Free",
        ),
        (
            [App(A10, 7, 9)],
            {"journal": offloaded(8), "layers": "20"},
            "8 of the model's 33 layers are on the GPU, you asked for 20",
            "Free",
        ),
        (
            [App(A10, 7, ON_CPU_BESIDE_A_GPU)],
            {"journal": offloaded(0), "planned": PLANNED},
            "0 of the model's 33 layers are on the GPU, you asked for all",
            "or gpus: [] if that is meant",
        ),
        *(
            (
                [App(A10, 7, held)],
                {"planned": PLANNED, "layers": layers},
                f"the process holds {held} MiB on {A10} (NVIDIA A10), but the weights and the cache that were planned for there take 5721 MiB",
                "See with `nvidia-smi` who else holds memory there",
            )
            for held, layers in ((ON_CPU_BESIDE_A_GPU, "all"), (PROJECTOR_ALONE, None), (FOURTEEN, "all"))
        ),
    ],
)
def test_it_does_not(apps: list[App], more: dict[str, Any], detail: str, remedy: str) -> None:
    check = judged(*apps, **more)
    assert (check.name, check.ok) == ("gpu", False)
    assert check.detail.startswith(detail)
    assert remedy in check.remedy


def test_the_layers_of_the_model_and_not_of_the_one_that_drafts_for_it() -> None:
    assert offloaded_layers([*offloaded(33), "load_tensors: offloaded 5/9 layers to GPU"]) == (33, 33)
    assert offloaded_layers(CPU_BUILD) is None
