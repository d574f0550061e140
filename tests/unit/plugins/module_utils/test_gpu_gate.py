# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_wheels import WHEELS
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_gate import Wanted, host_problems
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, errors

A10, RTX5090, V100 = (
    ("NVIDIA A10", "10de:2236", "8.6"),
    ("NVIDIA GeForce RTX 5090", "10de:2b85", "12.0"),
    ("Tesla V100-PCIE-16GB", "10de:1db4", "7.0"),
)
UNKNOWN = ("NVIDIA GPU 10de:ffff", "10de:ffff", None)
NO_GPU = {"code": "no_gpu", "severity": "warning", "message": "No NVIDIA GPU is in this host", "remedy": "Use backend: cpu"}
AWAY = {
    "code": "gpu_passed_through",
    "severity": "warning",
    "message": "NVIDIA A10 at 0000:17:00.0 is bound to vfio-pci",
    "remedy": "Bind it",
}
NO_DRIVER = {"code": "no_driver", "severity": "error", "message": "No NVIDIA driver is installed", "remedy": "Install one"}
LOST = {"code": "gpu_lost", "severity": "error", "message": "NVIDIA A10 is lost", "remedy": "Power-cycle the host"}


def host(
    *gpus: tuple[str, str, str | None], driver: str | None = "580.126.09", modules: str = "open", problems: Any = ()
) -> dict[str, Any]:
    """What gpu_info returns."""
    found = [
        {"name": name, "pci_id": pci, "pci_bus_id": f"0000:{index + 1:02x}:00.0", "uuid": None, "compute_capability": capability}
        for index, (name, pci, capability) in enumerate(gpus)
    ]
    versions = {"loaded_version": driver, "installed_version": driver, "pinned_version": driver}
    told = [*problems, *([NO_DRIVER] if driver is None and gpus else []), *([] if gpus or problems else [NO_GPU])]
    return {
        "gpus": found,
        "driver": {**versions, "kernel_module": modules if driver else "none", "reboot_required": False},
        "problems": told,
    }


def cuda(**wanted: Any) -> Wanted:
    return Wanted(**{"needs_gpu": True, "toolkit_version": "13.0.3", "toolkit_source": "pypi", **wanted})


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (host(), Wanted()),
        (host(A10), Wanted()),
        (host(A10), cuda()),
        (host(A10, RTX5090), cuda(cuda_architectures=["86-real", "120a-real"])),
        (host(A10, driver=None), cuda()),
        (host(A10, driver=None), cuda(driver_version="590.48.01")),
        (host(A10, driver=None), cuda(driver_version="580", kernel_module="proprietary")),
        (host(V100, modules="proprietary"), cuda(toolkit_version="12.8", toolkit_source="apt")),
        (host(V100, modules="proprietary"), cuda(toolkit_version="12.8", toolkit_source="existing")),
        # One that nobody knows, but its driver does; or the operator.
        (host(("NVIDIA RTX 9999", "10de:ffff", "12.0")), cuda()),
        (host(UNKNOWN, driver=None), cuda(gpus=[{"compute_capability": "12.0"}])),
        # A host that compiles for others.
        (host(), cuda(gpus=[{"name": "NVIDIA A10"}])),
        (host(driver=None), cuda(gpus=[{"name": "NVIDIA A10"}], manage=False)),
        (host(A10), cuda(gpus=[{"name": "NVIDIA H100"}], cuda_architectures=["90-real"])),
        # An upgrade weighs the driver that comes, not the one that is there.
        (host(A10, driver="535.54.03"), cuda(driver_version="580.126.09", upgrade=True)),
        (host(RTX5090, modules="proprietary"), cuda(driver_version="590.48.01", kernel_module="open", upgrade=True)),
    ],
)
def test_nothing_stands_in_the_way(found: dict[str, Any], wanted: Wanted) -> None:
    assert host_problems(found, wanted) == []


@pytest.mark.parametrize(
    ("found", "wanted", "code", "message", "remedy"),
    [
        (host(), cuda(), "no_gpu", "No NVIDIA GPU is in this host, and llama_cpp_backend is cuda", "nvidia_driver_gpus"),
        (host(), cuda(cuda_architectures=["86-real"]), "no_gpu", "No NVIDIA GPU", "Set llama_cpp_backend to cpu"),
        (host(problems=[AWAY]), cuda(), "no_gpu", "NVIDIA A10 at 0000:17:00.0 is bound to vfio-pci, and llama_cpp", "nvidia_driver_gpus"),
        (host(A10, UNKNOWN, driver=None), cuda(), "gpu_unknown", "The GPU at 0000:02:00.0 with the PCI id 10de:ffff", "Set nvidia_driver_gpus to all"),
        (host(UNKNOWN, driver=None), cuda(toolkit_version="12.2"), "gpu_unknown", "10de:ffff", "compute_capability: '12.0'"),
        (host(A10), cuda(gpus=[{"name": "P40"}]), "gpu_unknown", "nvidia_driver_gpus[0] is 'P40', which", "Give its compute_capability"),
        (host(A10, RTX5090), cuda(cuda_architectures=["86-real"]), "architecture_missing", "llama_cpp_cuda_architectures (86-real) has nothing that NVIDIA GeForce RTX 5090 can run", "Use 86-real;120a-real, or leave llama_cpp_cuda_architectures out"),
        (host(A10), cuda(cuda_architectures=["native"]), "architecture_invalid", "llama_cpp_cuda_architectures has native, which is not", "Use 86-real"),
        (host(RTX5090), cuda(toolkit_version="12.2"), "toolkit_too_old", "CUDA 12.2 doesn't know NVIDIA GeForce RTX 5090", "Use CUDA 12.8 to 13.4 (cuda_toolkit_version)"),
        (host(V100, modules="proprietary"), cuda(), "toolkit_too_new", "CUDA 13.0.3 no longer builds for Tesla V100", "Use CUDA 11.8 to 12.9 (cuda_toolkit_version)"),
        (host(A10, driver="535.54.03"), cuda(), "toolkit_newer_than_driver", "newer than driver 535.54.03", "or use CUDA 11.8 to 12.9 (cuda_toolkit_version)"),
        (host(A10, driver="590.48.01"), cuda(driver_version="535.54.03", upgrade=True), "toolkit_newer_than_driver", "newer than driver 535.54.03", "driver 580"),
        (host(A10), cuda(toolkit_version="13.9.9"), "toolkit_unknown", "cuda_toolkit_version is 13.9.9, which is none of 11.8", "Use CUDA 11.8 to 13.4"),
        (host(A10), cuda(toolkit_version="13.0.99"), "toolkit_not_packaged", f"is pypi, which has {', '.join(WHEELS)} only", "Set cuda_toolkit_version to one of these"),
        (host(A10), cuda(toolkit_version="12.8.1"), "toolkit_not_packaged", "cuda_toolkit_version is 12.8.1, and cuda_toolkit_source is pypi", "or cuda_toolkit_source to apt"),
        (host(V100, RTX5090, driver=None), cuda(toolkit_version=""), "gpus_without_common_driver", "a host has one of them", "leave it out of nvidia_driver_gpus"),
        (host(A10, driver=None), cuda(manage=False), "no_driver", "No NVIDIA driver is installed", "nvidia_driver_manage: false"),
        (host(A10, problems=[LOST]), cuda(), "gpu_lost", "NVIDIA A10 is lost", "Power-cycle"),
        (host(A10), cuda(driver_version="590"), "other_version", "nvidia_driver_version is 590", "playbooks/driver_upgrade.yml"),
        (host(A10), cuda(driver_version="newest"), "not_understood", "nvidia_driver_version is 'newest'", "580.126.09, or 580"),
        (host(A10), cuda(kernel_module="opne"), "not_understood", "nvidia_driver_kernel_module is 'opne'", "open or proprietary"),
        (host(A10), cuda(toolkit_version="latest"), "not_understood", "cuda_toolkit_version is 'latest'", "13.0.3"),
    ],
)  # fmt: skip
def test_it_is_stopped(found: dict[str, Any], wanted: Wanted, code: str, message: str, remedy: str) -> None:
    problem = only(host_problems(found, wanted))
    assert problem.code == code
    assert message in problem.message
    assert remedy in problem.remedy


def only(problems: list[Problem]) -> Problem:
    [problem] = errors(problems)
    return problem


def test_a_host_without_a_gpu_that_uses_none_is_left_alone() -> None:
    assert host_problems(host(), Wanted(manage=False, driver_version="590.48.01")) == []


def test_two_gpus_that_no_toolkit_of_today_serves_are_told_with_the_driver() -> None:
    codes = [problem.code for problem in host_problems(host(V100, RTX5090, modules="proprietary"), cuda())]
    assert codes == ["toolkit_too_new", "gpus_without_common_driver"]
