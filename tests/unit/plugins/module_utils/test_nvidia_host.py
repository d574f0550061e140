# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts made of recorded files and of programs that answer as the real ones were recorded to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Survey, survey
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_nvidia_host import FakeHost

UUID = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11"
A10 = f"0, {UUID}, 00000000:17:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U22-I3-B17-02-5)\n"
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.126"
NOT_LOADED = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
LOST = "Unable to determine the device handle for GPU0000:CB:00.0: Unknown Error"


@pytest.fixture
def fake(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def codes(found: Survey) -> list[str]:
    return [problem.code for problem in found.problems]


def test_a_host_that_works_is_asked_once(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236", "nvidia")
    fake.loaded("580.126.09")
    fake.module_on_disk("580.126.09")
    fake.library("580.126.09")
    fake.smi(A10)
    found = fake.survey()
    assert (codes(found), fake.asked()) == ([], ["--query-gpu"])
    assert found.gpus[0].as_dict() == {
        "index": 0,
        "uuid": UUID,
        "name": "NVIDIA A10",
        "pci_bus_id": "0000:17:00.0",
        "pci_id": "10de:2236",
        "compute_capability": "8.6",
        "memory_mib": 23028,
        "mig_devices": [],
    }
    assert found.driver.as_dict() == {
        "loaded_version": "580.126.09",
        "installed_version": "580.126.09",
        "kernel_module": "open",
        "reboot_required": False,
        "pinned_version": None,
    }


def test_eight_gpus_without_a_driver(fake: FakeHost) -> None:
    for bus in range(8):
        fake.gpu(f"0000:{bus:02x}:00.0", "2b85")
    fake.write("sys/bus/pci/devices/0000:00:1f.0/vendor", "0x8086\n")
    found = fake.survey()
    assert codes(found) == ["no_driver"]
    assert [(gpu.index, gpu.compute_capability) for gpu in found.gpus] == [(index, "12.0") for index in range(8)]
    assert found.driver.as_dict() == {
        "loaded_version": None,
        "installed_version": None,
        "kernel_module": "none",
        "reboot_required": False,
        "pinned_version": None,
    }


def test_nothing_at_all(fake: FakeHost) -> None:
    assert codes(fake.survey()) == ["no_gpu"]


def test_a_driver_upgraded_under_the_running_one(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236")
    fake.loaded("580.95.05")
    fake.write("proc/driver/nvidia/gpus/0000:17:00.0/information", f"Model: \t\t NVIDIA A10\nGPU UUID: \t {UUID}\n")
    fake.module_on_disk("580.126.09")
    fake.library("580.95.05")
    fake.library("580.126.09")
    fake.smi(MISMATCH, rc=18)
    found = fake.survey()
    assert codes(found) == ["driver_mismatch", "reboot_required"]
    assert (found.driver.loaded_version, found.driver.installed_version) == ("580.95.05", "580.126.09")
    assert [(gpu.index, gpu.uuid) for gpu in found.gpus] == [(0, UUID)]


def test_the_library_that_programs_get_counts(fake: FakeHost) -> None:
    fake.library("590.48.01")
    fake.library("580.126.09")  # the link leads here now
    assert fake.survey().driver.installed_version == "580.126.09"


def test_an_installed_driver_without_a_module_for_this_kernel(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236")
    fake.write("proc/sys/kernel/osrelease", "6.1.0-40-amd64\n")
    fake.library("580.126.09")
    fake.program("bin/modinfo", "exit 1")
    fake.smi(NOT_LOADED, rc=9)
    found = fake.survey()
    assert codes(found) == ["no_kernel_module"]
    assert "6.1.0-40-amd64" in found.problems[0].remedy


@pytest.mark.parametrize(("licence", "flavour"), [("NVIDIA", "proprietary"), ("Dual MIT/GPL", "open")])
def test_a_module_that_waits_for_its_first_boot(fake: FakeHost, licence: str, flavour: str) -> None:
    fake.gpu("0000:17:00.0", "2236", "nouveau")
    fake.write("sys/module/nouveau/initstate", "live\n")
    fake.module_on_disk("535.247.01", licence, name="nvidia-current")
    found = fake.survey()
    assert codes(found) == ["nouveau_loaded", "reboot_required"]
    assert (found.driver.installed_version, found.driver.kernel_module.value) == ("535.247.01", flavour)


def test_a_lost_gpu(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236")
    fake.gpu("0000:cb:00.0", "2b85")
    fake.loaded("580.126.09")
    fake.library("580.126.09")
    fake.smi(LOST, rc=15)
    found = fake.survey()
    assert codes(found) == ["gpu_lost"]
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA A10", "NVIDIA GeForce RTX 5090"]


def test_an_nvidia_smi_that_hangs_is_asked_once(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236")
    fake.loaded("580.126.09")
    fake.program("bin/nvidia-smi", f'echo "$1" >>{fake.root}/asked\nexec sleep 60')
    started = time.monotonic()
    found = survey(fake.host(timeout=0.2).evidence())
    assert time.monotonic() - started < 5
    assert (codes(found), fake.asked()) == (["nvidia_smi_hangs"], ["--query-gpu"])
    assert found.gpus[0].name == "NVIDIA A10" and "0.2 s" in found.problems[0].message


def test_a_file_that_nobody_may_execute_is_no_nvidia_smi(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236")
    fake.loaded("580.126.09")
    fake.write("bin/nvidia-smi", "#!/bin/sh\n")
    assert codes(fake.survey()) == ["no_nvidia_smi"]


def test_an_old_nvidia_smi_is_asked_for_what_it_knows(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236")
    fake.loaded("470.182.03")
    fake.library("470.182.03")
    answer = A10.replace(" 8.6,", "").replace("580.126.09", "470.182.03")
    fake.program(
        "bin/nvidia-smi",
        f"case $1 in *compute_cap*) echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2;; *) echo '{answer}';; esac",
    )
    found = fake.survey()
    assert codes(found) == []
    assert (found.gpus[0].memory_mib, found.gpus[0].compute_capability) == (23028, "8.6")


def test_mig_devices_are_asked_for_where_mig_is_on(fake: FakeHost) -> None:
    fake.loaded("580.126.09")
    fake.library("580.126.09")
    listing = f"GPU 0: NVIDIA A100 (UUID: {UUID})\n  MIG 1g.5gb Device 0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)"
    row = f"0, {UUID}, 00000000:17:00.0, 8.0, 40960, 580.126.09, Enabled, NVIDIA A100-PCIE-40GB"
    fake.program("bin/nvidia-smi", f"[ \"$1\" = -L ] && cat <<'END' || echo '{row}'\n{listing}\nEND")
    found = fake.survey()
    assert codes(found) == []
    assert [device.profile for device in found.gpus[0].mig_devices] == ["1g.5gb"]


def test_versions_come_from_nvidia_smi_where_no_file_tells_them(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "2236")
    fake.program(
        "bin/nvidia-smi",
        "[ \"$1\" = --version ] || { echo 'No devices were found'; exit 6; }\n"
        'printf \'NVIDIA-SMI version  : 610.57.04\\nDRIVER version      : Deprecated, see "KMD version" instead\\n'
        "KMD version         : 610.57.04\\n'",
    )
    found = fake.survey()
    assert (found.driver.loaded_version, found.driver.installed_version) == ("610.57.04", "610.57.04")
    assert codes(found) == ["gpu_not_visible"]


@pytest.mark.parametrize("directory", ["run", "var/run"])
def test_packages_that_ask_for_a_reboot(fake: FakeHost, directory: str) -> None:
    fake.write(f"{directory}/reboot-required", "*** System restart required ***\n")
    fake.write(f"{directory}/reboot-required.pkgs", "linux-base\nlinux-base\n")
    found = fake.survey()
    assert codes(found) == ["no_gpu", "reboot_required"] and found.driver.reboot_required
    assert "(linux-base)" in found.problems[-1].message


def test_a_gpu_kept_for_a_virtual_machine(fake: FakeHost) -> None:
    fake.gpu("0000:17:00.0", "1db4", "vfio-pci")
    fake.gpu("0000:cb:00.0", "2b85")
    found = fake.survey()
    assert codes(found) == ["gpu_passed_through", "no_driver"]
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA GeForce RTX 5090"]


def nvcc(fake: FakeHost, root: str, release: str) -> None:
    fake.program(
        f"{root}/bin/nvcc",
        f"[ \"$1\" = --dryrun ] && echo '#$ TOP={fake.root}/{root}/bin/..' >&2 || echo 'Cuda compilation tools, release {release}, V{release}.88'",
    )


def test_toolkits_wherever_they_are(fake: FakeHost) -> None:
    wheels = "lib/python3.11/site-packages/nvidia/cu13"
    nvcc(fake, "usr/local/cuda-12.4", "12.4")
    fake.write("usr/local/cuda-12.4/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}}')
    (fake.root / "usr/local/cuda").symlink_to("cuda-12.4")
    fake.write("usr/local/cuda-12.8/version.json", '{"cuda": {"version": "12.8.0"}}')  # the runtime alone cannot compile
    nvcc(fake, f"srv/cuda/13.0/{wheels}", "13.0")
    nvcc(fake, f"srv/env/{wheels}", "13.1")
    nvcc(fake, "srv/one", "12.9")
    nvcc(fake, "opt/elsewhere", "12.6")
    fake.program("bin/nvcc", f'exec {fake.root}/opt/elsewhere/bin/nvcc "$@"')
    found = [
        (toolkit.version, os.path.relpath(toolkit.root, fake.root))
        for toolkit in fake.host().toolkits([f"/{name}" for name in ("srv/cuda", "srv/env", "srv/one", "srv/none")])
    ]
    assert found == [
        ("12.6", "opt/elsewhere"),
        ("12.4.1", "usr/local/cuda-12.4"),
        ("13.0", f"srv/cuda/13.0/{wheels}"),
        ("13.1", f"srv/env/{wheels}"),
        ("12.9", "srv/one"),
    ]
