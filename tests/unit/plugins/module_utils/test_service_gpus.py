# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._service import parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import devices, find, gpu_problems

A10, RTX = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11", "GPU-8b89b58e-b427-108d-ac50-06138d78fe78"
H100, SMALL, LARGE = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77", "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-cba663e8-9bed-5b25"


def gpu(index: int | None, name: str, uuid: str | None, *mig: tuple[str, str]) -> dict[str, Any]:
    return {"index": index, "name": name, "uuid": uuid, "mig_devices": [{"uuid": part, "profile": profile} for part, profile in mig]}


TWO = [gpu(0, "NVIDIA A10", A10), gpu(1, "NVIDIA GeForce RTX 5090", RTX)]
SPLIT = [gpu(0, "NVIDIA H100", H100, (SMALL, "1g.10gb"), (LARGE, "3g.40gb")), gpu(1, "NVIDIA A10", A10)]
NO_DRIVER = [gpu(0, "NVIDIA A10", None), gpu(1, "NVIDIA A10", None)]


def found(wanted: list[int | str], gpus: list[dict[str, Any]]) -> list[tuple[str, str]]:
    service, problems = parse({"name": "chat", "model": {"file": "/m.gguf"}, "port": 1, "gpus": wanted})
    assert service is not None and problems == []
    return [(problem.code, problem.message) for problem in gpu_problems(service, gpus)]


@pytest.mark.parametrize(
    ("wanted", "gpus"),
    [
        ([], []),
        ([], TWO),
        ([0, 1], TWO),
        ([1], TWO),
        ([RTX, 0], TWO),
        ([RTX.lower().replace("gpu-", "GPU-")], TWO),
        ([SMALL], SPLIT),
        ([1], SPLIT),
        ([1], NO_DRIVER),
        ([A10], NO_DRIVER),  # which nobody can tell yet
        ([SMALL], NO_DRIVER),
        ([1], [TWO[0], gpu(None, "NVIDIA A10", None)]),  # a GPU is there that the driver does not show
    ],
)
def test_gpus_that_are_there(wanted: list[int | str], gpus: list[dict[str, Any]]) -> None:
    assert found(wanted, gpus) == []


@pytest.mark.parametrize(
    ("wanted", "gpus", "code", "told"),
    [
        ([2], TWO, "gpu_not_there", [f"gpus: 2 is not there; this host has 0 (NVIDIA A10, {A10}), 1 (NVIDIA GeForce RTX 5090, {RTX})"]),
        ([0, 7, LARGE], TWO, "gpu_not_there", [f"gpus: 7, {LARGE} are not there"]),
        (["GPU-0"], TWO, "gpu_not_there", ["gpus: GPU-0 is not there"]),
        ([0], [], "gpu_not_there", ["this host has no NVIDIA GPU"]),
        ([2], NO_DRIVER, "gpu_not_there", ["gpus: 2 is not there; this host has 0 (NVIDIA A10), 1 (NVIDIA A10)"]),
        ([2], [TWO[0], gpu(None, "NVIDIA A10", None)], "gpu_not_there", [f"this host has 0 (NVIDIA A10, {A10})"]),
        (["MIG-0"], SPLIT, "gpu_not_there", [f"(NVIDIA H100, MIG 1g.10gb, {SMALL})"]),
        ([0], SPLIT, "gpu_is_split", ["gpus: 0 (NVIDIA H100) is split into MIG devices"]),
        ([0, A10], TWO, "gpu_twice", [f"gpus: 0, {A10} names a GPU twice"]),
        ([1, 1], NO_DRIVER, "gpu_twice", ["gpus: 1, 1 names a GPU twice"]),
        ([SMALL, LARGE], SPLIT, "gpu_mig_alone", ["a process can use one MIG device"]),
        ([SMALL, 1], SPLIT, "gpu_mig_alone", ["a process can use one MIG device"]),
    ],
)
def test_gpus_that_will_not_do(wanted: list[int | str], gpus: list[dict[str, Any]], code: str, told: list[str]) -> None:
    ((found_code, message),) = found(wanted, gpus)
    assert found_code == code
    for text in told:
        assert text in message


def test_a_mig_device_knows_its_gpu() -> None:
    device = find(LARGE, devices(SPLIT))
    assert device is not None
    assert (device.uuid, device.gpu, device.is_mig) == (LARGE, H100, True)
