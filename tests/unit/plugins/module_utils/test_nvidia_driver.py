# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import (
    Evidence,
    Flavour,
    ModuleVersion,
    ProcGpu,
    flavour_of_licence,
    library_version,
    parse_proc_gpu,
    parse_proc_version,
    required_flavour,
    survey,
)
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import Answer, MigDevice, Row, Trouble, Versions
from ansible_collections.baremetal.llm.plugins.module_utils._pci_gpus import PciGpu, model_of

OPEN, PROPRIETARY, NONE = Flavour.OPEN, Flavour.PROPRIETARY, Flavour.NONE
VERSION = "580.126.09"
OLD = "580.95.05"
UUID = "GPU-9221d5d1-b60b-a624-bf14-0a1819cfda3b"


@pytest.mark.parametrize(
    ("text", "module"),
    [
        (
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  590.48.01  Mon Dec  8 11:22:45 UTC 2025\n"
                "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2)\n"
            ),
            ("590.48.01", PROPRIETARY),
        ),
        (
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22-I3-B17-02-5)  "
                "Tue Sep 23 09:55:41 UTC 2025\nGCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2)\n"
            ),
            ("580.95.05", OPEN),
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.142  Release Build\n", ("580.142", OPEN)),
        (  # somebody's own build, without a date
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)  \n"
                "GCC version:  gcc version 15.3.0 (GCC) \n"
            ),
            ("580.159.04", OPEN),
        ),
        ("", None),
    ],
)
def test_proc_version(text: str, module: tuple[str, Flavour] | None) -> None:
    assert parse_proc_version(text) == module


@pytest.mark.parametrize(("uuid", "known"), [(UUID, UUID), ("GPU-????????-????-????-????-????????????", None)])
def test_proc_gpu(uuid: str, known: str | None) -> None:
    text = f"Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 10\nGPU UUID: \t {uuid}\nBus Location: \t 0000:62:00.0\nGPU Excluded:\t No\n"
    assert parse_proc_gpu(text) == ProcGpu("NVIDIA H100 80GB HBM3", known)
    assert parse_proc_gpu("") == ProcGpu(None, None)


@pytest.mark.parametrize(("licence", "flavour"), [("Dual MIT/GPL\n", OPEN), ("NVIDIA\n", PROPRIETARY)])
def test_licence(licence: str, flavour: Flavour) -> None:
    assert flavour_of_licence(licence) is flavour


@pytest.mark.parametrize(
    ("names", "version"),
    [
        (["libnvidia-ml.so.580.126.09"], "580.126.09"),
        (["libnvidia-ml.so.1", "libnvidia-ml.so.580.95.05", "libnvidia-ml.so.580.126.09"], "580.126.09"),
        (["libnvidia-ml.so.580.142"], "580.142"),
        (["libnvidia-ml.so.1", "libnvidia-ml.so"], None),
        ([], None),
    ],
)
def test_library_version(names: list[str], version: str | None) -> None:
    assert library_version(names) == version


@pytest.mark.parametrize(
    ("capability", "name", "flavour"),
    [
        ("12.0", "NVIDIA GeForce RTX 5090", OPEN),
        ("12.1", "NVIDIA GB10", OPEN),
        ("10.0", "NVIDIA B200", OPEN),
        ("9.0", "NVIDIA GH200 480GB", OPEN),
        ("9.0", "NVIDIA H100 PCIe", None),
        ("8.6", "NVIDIA A10", None),
        ("7.5", "Tesla T4", None),
        ("7.0", "Tesla V100-PCIE-16GB", PROPRIETARY),
        (None, "NVIDIA GPU 10de:ffff", None),
    ],
)
def test_required_flavour(capability: str | None, name: str, flavour: Flavour | None) -> None:
    assert required_flavour(capability, name) is flavour


def slot(device: str, address: str = "0000:17:00.0", kernel_driver: str | None = None) -> PciGpu:
    return PciGpu(address, device, model_of(device), kernel_driver)


A10, RTX5090, V100, UNKNOWN = (slot(device) for device in ("2236", "2b85", "1db4", "3fff"))
SECOND = slot("2b85", "0000:cb:00.0")
A10_ROW = Row(0, UUID, "0000:17:00.0", "NVIDIA A10", "8.6", 23028, VERSION)
SECOND_ROW = Row(1, "GPU-1", "0000:cb:00.0", "NVIDIA GeForce RTX 5090", "12.0", 32607, VERSION)
RUNS: dict[str, Any] = {"loaded": ModuleVersion(VERSION, OPEN), "on_disk": ModuleVersion(VERSION, OPEN), "library": VERSION}
INSTALLED: dict[str, Any] = {"on_disk": ModuleVersion(VERSION, OPEN), "library": VERSION}
NOTHING_SHOWN = Answer(trouble=Trouble.NO_DEVICES)


@pytest.mark.parametrize(
    ("evidence", "codes"),
    [
        # healthy
        (Evidence(pci=(A10,), smi=Answer((A10_ROW,)), **RUNS), []),
        (Evidence(pci=(A10, SECOND), smi=Answer((A10_ROW, SECOND_ROW)), **RUNS), []),
        # nothing there, nothing installed
        (Evidence(), ["no_gpu"]),
        (Evidence(pci=(A10,)), ["no_driver"]),
        (Evidence(pci=(A10,), nouveau=True), ["no_driver"]),
        (Evidence(pci=(UNKNOWN,)), ["unknown_gpu", "no_driver"]),
        (Evidence(pci=(slot("2236", kernel_driver="vfio-pci"),)), ["gpu_passed_through"]),
        (Evidence(smi=Answer(trouble=Trouble.NOT_LOADED), **INSTALLED), ["no_gpu"]),
        # installed, but not running
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.NOT_LOADED), **INSTALLED), ["driver_not_loaded"]),
        (Evidence(pci=(A10,), **INSTALLED), ["driver_not_loaded"]),
        (Evidence(pci=(A10,), nouveau=True, **INSTALLED), ["nouveau_loaded", "reboot_required"]),
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.NOT_LOADED), library=VERSION), ["no_kernel_module"]),
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.NOT_LOADED), versions=Versions(VERSION, None)), ["no_kernel_module"]),
        # upgraded under the running kernel module
        (
            Evidence(
                pci=(A10,),
                smi=Answer(trouble=Trouble.MISMATCH),
                loaded=ModuleVersion(OLD, OPEN),
                on_disk=ModuleVersion(VERSION, OPEN),
                library=VERSION,
            ),
            ["driver_mismatch", "reboot_required"],
        ),
        (
            Evidence(pci=(A10,), loaded=ModuleVersion(OLD, OPEN), library=VERSION),
            ["no_nvidia_smi", "driver_mismatch", "reboot_required"],
        ),
        (
            Evidence(
                pci=(A10,),
                smi=Answer((A10_ROW,)),
                loaded=ModuleVersion(VERSION, OPEN),
                on_disk=ModuleVersion("590.48.01", OPEN),
                library=VERSION,
            ),
            ["reboot_required"],
        ),
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.MISMATCH)), ["driver_mismatch", "reboot_required"]),
        # the other modules
        (
            Evidence(pci=(RTX5090,), smi=NOTHING_SHOWN, loaded=ModuleVersion(VERSION, PROPRIETARY), library=VERSION),
            ["wrong_module_flavour"],
        ),
        (Evidence(pci=(V100,), smi=NOTHING_SHOWN, **RUNS), ["wrong_module_flavour"]),
        (
            Evidence(pci=(A10, SECOND), smi=Answer((A10_ROW,)), loaded=ModuleVersion(VERSION, PROPRIETARY), library=VERSION),
            ["wrong_module_flavour"],
        ),
        # what works, works
        (Evidence(pci=(V100,), smi=Answer((Row(0, UUID, V100.address, "Tesla V100-PCIE-16GB", "7.0"),)), **RUNS), []),
        # GPUs in trouble
        (Evidence(pci=(A10,), smi=NOTHING_SHOWN, **RUNS), ["gpu_not_visible"]),
        (Evidence(pci=(A10, SECOND), smi=Answer((A10_ROW,)), **RUNS), ["gpu_not_visible"]),
        (Evidence(pci=(A10, SECOND), smi=Answer(trouble=Trouble.LOST, address="0000:cb:00.0"), **RUNS), ["gpu_lost"]),
        (Evidence(pci=(A10, SECOND), smi=Answer((A10_ROW,), Trouble.LOST, "0000:cb:00.0"), **RUNS), ["gpu_lost"]),
        (Evidence(pci=(A10,), smi=Answer((Row(0, address="0000:17:00.0", trouble=Trouble.LOST),)), **RUNS), ["gpu_lost"]),
        (Evidence(pci=(A10,), smi=Answer((Row(0, address="0000:17:00.0", trouble=Trouble.NEEDS_RESET),)), **RUNS), ["gpu_needs_reset"]),
        # nvidia-smi in trouble
        (Evidence(pci=(A10,), **RUNS), ["no_nvidia_smi"]),
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.HANGS), **RUNS), ["nvidia_smi_hangs"]),
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.NO_PERMISSION), **RUNS), ["no_permission"]),
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.OTHER, said="? (rc 255)"), **RUNS), ["nvidia_smi_failed"]),
        (Evidence(pci=(A10,), smi=Answer(trouble=Trouble.NOT_LOADED, said="? (rc 9)"), **RUNS), ["nvidia_smi_failed"]),
        # MIG
        (Evidence(pci=(A10,), smi=Answer((Row(0, UUID, "0000:17:00.0", mig=True),)), **RUNS), ["mig_without_devices"]),
        (
            Evidence(pci=(A10,), smi=Answer((Row(0, UUID, "0000:17:00.0", mig=True),)), mig={UUID: [MigDevice("MIG-1", "1g.5gb")]}, **RUNS),
            [],
        ),
        # other packages
        (Evidence(pci=(A10,), smi=Answer((A10_ROW,)), pending_reboot=("linux-image-6.1.0-40-amd64",), **RUNS), ["reboot_required"]),
        (Evidence(pending_reboot=()), ["no_gpu", "reboot_required"]),
    ],
)
def test_problems(evidence: Evidence, codes: list[str]) -> None:
    found = survey(evidence)
    assert [problem.code for problem in found.problems] == codes
    assert found.driver.reboot_required == ("reboot_required" in codes)
    assert not any("None" in str(problem) for problem in found.problems)


@pytest.mark.parametrize(
    ("evidence", "driver"),
    [
        (Evidence(), (None, None, NONE)),
        (Evidence(**INSTALLED), (None, VERSION, OPEN)),
        (Evidence(loaded=ModuleVersion(OLD, PROPRIETARY), **INSTALLED), (OLD, VERSION, PROPRIETARY)),
        (Evidence(loaded=ModuleVersion(VERSION, NONE), **INSTALLED), (VERSION, VERSION, OPEN)),
        (Evidence(on_disk=ModuleVersion(VERSION, PROPRIETARY)), (None, VERSION, PROPRIETARY)),
        (Evidence(smi=Answer((A10_ROW,)), versions=Versions("580.142", None)), (VERSION, "580.142", NONE)),
        (Evidence(smi=NOTHING_SHOWN, versions=Versions(VERSION, OLD)), (OLD, VERSION, NONE)),
    ],
)
def test_driver(evidence: Evidence, driver: tuple[str | None, str | None, Flavour]) -> None:
    found = survey(evidence).driver
    assert (found.loaded_version, found.installed_version, found.kernel_module) == driver


def test_a_gpu_without_driver_is_known_by_its_pci_id() -> None:
    (gpu,) = survey(Evidence(pci=(A10,))).gpus
    assert gpu.as_dict() == {
        "index": 0,
        "uuid": None,
        "name": "NVIDIA A10",
        "pci_bus_id": "0000:17:00.0",
        "pci_id": "10de:2236",
        "compute_capability": "8.6",
        "memory_mib": None,
        "mig_devices": [],
    }


def test_gpus_keep_their_uuid_while_nvidia_smi_does_not_work() -> None:
    (gpu,) = survey(Evidence(pci=(A10,), proc={A10.address: ProcGpu("NVIDIA A10", UUID)}, loaded=ModuleVersion(OLD, OPEN))).gpus
    assert (gpu.index, gpu.uuid) == (0, UUID)


def test_without_nvidia_smi_the_bus_decides_about_the_order() -> None:
    gpus = survey(Evidence(pci=(slot("2236", "10000:01:00.0"), slot("2b85", "ffff:cb:00.0"), UNKNOWN))).gpus
    assert [(gpu.index, gpu.pci_bus_id) for gpu in gpus] == [(0, "0000:17:00.0"), (1, "ffff:cb:00.0"), (2, "10000:01:00.0")]


def test_a_gpu_that_the_driver_does_not_show_comes_last_and_has_no_index() -> None:
    hidden = slot("2b85", "0000:01:00.0")
    gpus = survey(Evidence(pci=(hidden, A10), smi=Answer((A10_ROW,)), **RUNS)).gpus
    assert [(gpu.index, gpu.name) for gpu in gpus] == [(0, "NVIDIA A10"), (None, "NVIDIA GeForce RTX 5090")]


def test_the_driver_knows_better_than_the_table_which_fills_in_for_an_old_one() -> None:
    told = Row(0, UUID, A10.address, "NVIDIA A10X", "8.7", 1)
    untold = Row(0, UUID, A10.address, "NVIDIA A10", None, 1)
    assert [survey(Evidence(pci=(A10,), smi=Answer((row,)), **RUNS)).gpus[0].compute_capability for row in (told, untold)] == ["8.7", "8.6"]


def test_messages_name_what_they_are_about() -> None:
    (unknown, _no_driver) = survey(Evidence(pci=(UNKNOWN,))).problems
    assert "10de:3fff" in unknown.message and "cuda_architectures" in unknown.remedy
    (lost,) = survey(Evidence(pci=(A10, SECOND), smi=Answer(trouble=Trouble.LOST, address="0000:cb:00.0"), **RUNS)).problems
    assert lost.message.startswith("NVIDIA GeForce RTX 5090 at 0000:cb:00.0 is lost")
    (no_module,) = survey(Evidence(pci=(A10,), library=VERSION, kernel="6.1.0-40-amd64")).problems
    assert "linux-headers-6.1.0-40-amd64" in no_module.remedy
    (wrong,) = survey(Evidence(pci=(RTX5090,), smi=NOTHING_SHOWN, loaded=ModuleVersion(VERSION, PROPRIETARY), library=VERSION)).problems
    assert "open kernel modules only" in wrong.message and "nvidia-open" in wrong.remedy
    reboot = survey(Evidence(loaded=ModuleVersion(OLD, OPEN), library=VERSION, pending_reboot=("linux-base",))).problems[-1]
    assert OLD in reboot.message and VERSION in reboot.message and "linux-base" in reboot.message
