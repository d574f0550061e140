# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import (
    FIELDS,
    App,
    MigDevice,
    Row,
    Trouble,
    invalid_field,
    parse_answer,
    parse_apps,
    parse_mig,
    parse_names,
    parse_rows,
    parse_versions,
    query,
)

A10 = "0, GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11, 00000000:17:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10\n"
UUID = "GPU-8b89b58e-b427-108d-ac50-06138d78fe78"


def test_the_query() -> None:
    assert query() == (
        "--query-gpu=index,uuid,pci.bus_id,compute_cap,memory.total,driver_version,mig.mode.current,name",
        "--format=csv,noheader,nounits",
    )


def test_a_whole_row() -> None:
    assert parse_rows(A10) == (
        Row(
            index=0,
            uuid="GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11",
            address="0000:17:00.0",
            name="NVIDIA A10",
            compute_capability="8.6",
            memory_mib=23028,
            driver_version="580.126.09",
        ),
    )


@pytest.mark.parametrize(
    ("fields", "line", "row"),
    [
        (
            "name,memory.total,driver_version",
            "NVIDIA A10, 23028 MiB, 580.126.09",
            Row(name="NVIDIA A10", memory_mib=23028, driver_version="580.126.09"),
        ),
        (
            "name,compute_cap,memory.total,memory.used,memory.free,temperature.gpu",
            "NVIDIA GeForce RTX 5090, 12.0, 32607, 1071, 31031, 38",
            Row(name="NVIDIA GeForce RTX 5090", compute_capability="12.0", memory_mib=32607),
        ),
        (
            "index,name,uuid,driver_version,memory.total,mig.mode.current",
            f"0, NVIDIA RTX PRO 6000 Blackwell Server Edition, {UUID}, 610.43.02, 97887 MiB, Enabled",
            Row(0, UUID, None, "NVIDIA RTX PRO 6000 Blackwell Server Edition", None, 97887, "610.43.02", mig=True),
        ),
        (
            "index,name,compute_cap,pci.bus_id,driver_version",
            "0, NVIDIA GB10, 12.1, 0000000F:01:00.0, 580.142",
            Row(0, None, "000f:01:00.0", "NVIDIA GB10", "12.1", None, "580.142"),
        ),
        (
            "index,uuid,pci.bus_id,compute_cap,memory.total,driver_version,mig.mode.current,name",
            f"0, {UUID}, 00000000:00:06.0, 9.0, 143771, 580.159.04, Disabled, NVIDIA H200",
            Row(0, UUID, "0000:00:06.0", "NVIDIA H200", "9.0", 143771, "580.159.04"),
        ),
        ("index,memory.total", "0, [N/A]", Row(0)),
        ("index,memory.total", "0, [Not Supported]", Row(0)),
        ("index,memory.total", "0, [Unknown Error]", Row(0)),
        ("index,memory.total", "0, [Insufficient Permissions]", Row(0)),
        ("index,memory.total", "0, ERR!", Row(0)),
        ("index,memory.total", "0, [GPU is lost]", Row(0, trouble=Trouble.LOST)),
        ("index,memory.total", "0, [GPU requires reset]", Row(0, trouble=Trouble.NEEDS_RESET)),
    ],
)
def test_recorded_rows(fields: str, line: str, row: Row) -> None:
    assert parse_rows(f"{line}\n", fields.split(",")) == (row,)


NOT_LOADED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.126\n"
LOST = "Unable to determine the device handle for GPU0000:CB:00.0: Unknown Error\n"


@pytest.mark.parametrize(
    ("rc", "stdout", "trouble", "address"),
    [
        (18, MISMATCH, Trouble.MISMATCH, None),
        (9, NOT_LOADED, Trouble.NOT_LOADED, None),
        (6, "No devices were found\n", Trouble.NO_DEVICES, None),
        (0, "No devices were found\n", Trouble.NO_DEVICES, None),
        (15, LOST, Trouble.LOST, "0000:cb:00.0"),
        (15, "Unable to determine the device handle for GPU 0000:CB:00.0: GPU requires reset\n", Trouble.NEEDS_RESET, "0000:cb:00.0"),
        (4, "Failed to initialize NVML: Insufficient Permissions\n", Trouble.NO_PERMISSION, None),
        (255, "Failed to initialize NVML: Unknown Error\n", Trouble.OTHER, None),
        (124, "", Trouble.HANGS, None),
        (0, "", Trouble.OTHER, None),
        # what it says may change, its exit status stays
        (18, "?", Trouble.MISMATCH, None),
        (9, "?", Trouble.NOT_LOADED, None),
        (6, "?", Trouble.NO_DEVICES, None),
        (15, "?", Trouble.LOST, None),
        (16, "?", Trouble.NEEDS_RESET, None),
        (4, "?", Trouble.NO_PERMISSION, None),
    ],
)
def test_failures(rc: int, stdout: str, trouble: Trouble, address: str | None) -> None:
    answer = parse_answer(rc, stdout)
    assert (answer.rows, answer.trouble, answer.address) == ((), trouble, address)
    assert answer.said.endswith(f"(rc {rc})")


def test_a_mismatch_tells_the_library() -> None:
    assert parse_answer(18, MISMATCH).library_version == "580.126"


def test_a_lost_gpu_beside_a_good_one() -> None:
    answer = parse_answer(15, A10 + LOST)
    assert [row.name for row in answer.rows] == ["NVIDIA A10"]
    assert (answer.trouble, answer.address) == (Trouble.LOST, "0000:cb:00.0")


def test_a_good_answer_is_no_trouble() -> None:
    assert parse_answer(0, A10, "a warning") == parse_answer(0, A10)
    assert parse_answer(0, A10).trouble is None


@pytest.mark.parametrize(
    ("output", "field"),
    [('Field "compute_cap" is not a valid field to query.\n\n', "compute_cap"), (A10, None), (NOT_LOADED, None)],
)
def test_a_field_that_an_old_one_does_not_know(output: str, field: str | None) -> None:
    assert invalid_field(output) == field
    assert field is None or field in FIELDS


def test_mig_devices_by_gpu() -> None:
    listing = (
        "GPU 0: NVIDIA A100-PCIE-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)\n"
        "  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)\n"
        "  MIG 1g.5gb Device 1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)\n"
        f"GPU 1: NVIDIA RTX PRO 6000 Blackwell Server Edition (UUID: {UUID})\n"
    )
    assert parse_mig(listing) == {
        "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77": [
            MigDevice("MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "1g.5gb"),
            MigDevice("MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb", "1g.5gb"),
        ],
        UUID: [],
    }


def test_names_by_gpu() -> None:
    listing = f"GPU 0: NVIDIA A10 (UUID: {UUID})\n  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)\n"
    assert parse_names(listing) == {UUID: "NVIDIA A10"}


@pytest.mark.parametrize(
    ("rc", "stdout", "found", "failure"),
    [
        (0, "", (), ""),
        (0, f"{UUID}, 4711, 21504\n", (App(UUID, 4711, 21504),), ""),
        (0, f"{UUID}, 4711, 21504 MiB\n", (App(UUID, 4711, None),), ""),
        (0, f"{UUID}, 1, [N/A]\n{UUID}, 2, [Insufficient Permissions]\n", (App(UUID, 1, None), App(UUID, 2, None)), ""),
        (9, NOT_LOADED, (), "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver"),
        (18, MISMATCH, (), "Failed to initialize NVML: Driver/library version mismatch (rc 18)"),
        (6, "No devices were found\n", (), "No devices were found (rc 6)"),
        (2, 'Field "gpu_uuid" is not a valid field to query.\n\n', (), 'Field "gpu_uuid" is not a valid field to query. (rc 2)'),
        (124, "", (), "it says nothing (rc 124)"),
        (15, f"{UUID}, 4711, 512\n{LOST}", (App(UUID, 4711, 512),), "Unable to determine the device handle"),
    ],
)
def test_what_computes_on_gpus(rc: int, stdout: str, found: tuple[App, ...], failure: str) -> None:
    answer = parse_apps(rc, stdout)
    assert answer.found == found
    assert answer.failure.startswith(failure) and bool(answer.failure) == bool(rc)


@pytest.mark.parametrize(
    ("output", "versions"),
    [
        (
            "NVIDIA-SMI version  : 590.48.01\nNVML version        : 590.48\nDRIVER version      : 590.48.01\nCUDA Version        : 13.1\n",
            ("590.48.01", "590.48.01"),
        ),
        (
            (
                'NVIDIA-SMI version  : 610.57.04\nNVML version        : 610.57\nDRIVER version      : Deprecated, see "KMD version" instead\n'
                'CUDA version        : Deprecated, see "CUDA UMD version" instead\nKMD version         : 610.57.04\nCUDA UMD version    : 13.3\n'
            ),
            ("610.57.04", "610.57.04"),
        ),
        (
            "NVIDIA-SMI version  : 580.159.04\nNVML version        : 580.159\nDRIVER version      : 580.159.04\nCUDA Version        : 13.0\n",
            ("580.159.04", "580.159.04"),
        ),
        ("NVIDIA-SMI version  : 590.48.01\nDRIVER version      : N/A\n", ("590.48.01", None)),
        (NOT_LOADED, (None, None)),
    ],
)
def test_versions_before_and_after_610(output: str, versions: tuple[str | None, str | None]) -> None:
    assert parse_versions(output) == versions
