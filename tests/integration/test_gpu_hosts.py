# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_info on hosts with simulated GPUs, over Ansible, and cuda_plan with what it found."""

from __future__ import annotations

import os
import subprocess
import typing as t

import pytest

from .deployment import RANGE, Deployment
from .gpu_hosts import GpuHost, gpu_host

pytestmark = [pytest.mark.range, pytest.mark.skipif(os.geteuid() != 0, reason="the range needs root")]

DRIVER = "580.126.09"
PLAYBOOK = """\
- hosts: quickstart
  gather_facts: false
  tasks:
    - name: Look
      baremetal.llm.gpu_info:
      register: gpu_info
    - name: Plan
      baremetal.llm.cuda_plan:
        gpus: "{{ gpu_info.gpus }}"
        driver_version: "{{ gpu_info.driver.loaded_version or omit }}"
        driver_kernel_module: "{{ gpu_info.driver.kernel_module if gpu_info.driver.kernel_module != 'none' else omit }}"
      when: gpu_info.gpus | length > 0
"""


class Seen(t.NamedTuple):
    gpus: list[dict[str, t.Any]]
    driver: dict[str, t.Any]
    codes: list[str]
    plan: dict[str, t.Any]


def look(host: Deployment) -> Seen:
    playbook = host.directory / "look.yml"
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    run = host.play(str(playbook))
    assert run.rc == 0, run.output
    found = run.task("Look").result
    assert run.changed == []
    return Seen(found["gpus"], found["driver"], [problem["code"] for problem in found["problems"]], run.task("Plan").result)


@pytest.fixture(scope="module", params=["debian12", "debian13"])
def host(request: pytest.FixtureRequest) -> t.Iterator[GpuHost]:
    with gpu_host(f"gpus-{request.param}", distribution=request.param) as host:
        yield host


def driver(version: str | None, installed: str | None = None, modules: str = "open", *, reboot: bool = False) -> dict[str, t.Any]:
    return {
        "loaded_version": version,
        "installed_version": installed or version,
        "kernel_module": modules,
        "reboot_required": reboot,
        "pinned_version": None,
    }


def test_no_gpu(host: GpuHost) -> None:
    host.plug(driver="none")
    seen = look(host)
    assert (seen.gpus, seen.codes) == ([], ["no_gpu"])


def test_no_driver(host: GpuHost) -> None:
    """The PCI bus alone says what there is, and that is enough to plan for."""
    host.plug("a10", "rtx5090", driver="none")
    assert "not found" in host.run("nvidia-smi", check=False)
    seen = look(host)
    assert seen.codes == ["no_driver"]
    assert seen.driver == driver(None, modules="none")
    assert [(gpu["index"], gpu["name"], gpu["pci_id"], gpu["compute_capability"], gpu["memory_mib"]) for gpu in seen.gpus] == [
        (0, "NVIDIA A10", "10de:2236", "8.6", None),
        (1, "NVIDIA GeForce RTX 5090", "10de:2b85", "12.0", None),
    ]
    assert seen.plan["driver"]["open_required"] is True
    assert seen.plan["cuda_architectures"] == ["86-real", "120a-real"]


@pytest.mark.parametrize(
    ("models", "version", "modules", "memory", "architectures"),
    [
        (["a10"], DRIVER, "open", [23028], ["86-real"]),
        (["a10"], DRIVER, "proprietary", [23028], ["86-real"]),
        (["rtx5090"], "590.48.01", "open", [32607], ["120a-real"]),
        (["a10", "rtx5090"], "610.43.02", "open", [23028, 32607], ["86-real", "120a-real"]),
        (["h100"] * 8, DRIVER, "open", [81559] * 8, ["90-real"]),
        (["v100"], DRIVER, "proprietary", [16384], ["70-real"]),
    ],
    ids=lambda value: "-".join(map(str, value[:2])) if isinstance(value, list) else str(value),
)
def test_all_is_well(host: GpuHost, models: list[str], version: str, modules: str, memory: list[int], architectures: list[str]) -> None:
    cards = host.plug(*models, driver=version, modules=modules)
    seen = look(host)
    assert seen.codes == []
    assert seen.driver == driver(version, modules=modules)
    assert [(gpu["index"], gpu["pci_bus_id"], gpu["uuid"], gpu["name"]) for gpu in seen.gpus] == cards
    assert [gpu["memory_mib"] for gpu in seen.gpus] == memory
    assert seen.plan["cuda_architectures"] == architectures
    assert [problem for problem in seen.plan["problems"] if problem["severity"] == "error"] == []


def test_an_upgrade_without_a_reboot_is_a_mismatch_until_the_reboot(host: GpuHost) -> None:
    cards = host.plug("a10", "rtx5090", driver="580.95.05")
    host.install_driver(DRIVER)
    seen = look(host)
    assert seen.codes == ["driver_mismatch", "reboot_required"]
    assert seen.driver == driver("580.95.05", DRIVER, reboot=True)
    assert [gpu["uuid"] for gpu in seen.gpus] == [card.uuid for card in cards]
    host.reboot()
    seen = look(host)
    assert seen.codes == []
    assert seen.driver == driver(DRIVER)


def test_a_power_cut_heals_a_mismatch_as_well(host: GpuHost) -> None:
    host.plug("a10", driver="580.95.05")
    host.install_driver("590.48.01")
    assert "driver_mismatch" in look(host).codes
    host.cut_power()
    host.power_on()
    assert look(host).driver == driver("590.48.01")


def test_a_module_that_does_not_load(host: GpuHost) -> None:
    host.plug("a10", driver="595.45.04")
    seen = look(host)
    assert seen.codes == ["driver_not_loaded"]
    assert seen.driver == driver(None, "595.45.04")


def test_the_module_is_loaded_by_hand_where_none_was(host: GpuHost) -> None:
    host.plug("a10", driver="none")
    host.install_driver(DRIVER)
    assert look(host).codes == ["driver_not_loaded"]
    host.run("modprobe", "nvidia")
    assert look(host).codes == []


def test_blackwell_with_the_proprietary_modules(host: GpuHost) -> None:
    host.plug("rtx5090", driver=DRIVER, modules="proprietary")
    seen = look(host)
    assert seen.codes == ["wrong_module_flavour"]
    assert seen.driver == driver(DRIVER, modules="proprietary")
    assert "no devices were found" in host.run("nvidia-smi", check=False).lower()


def test_one_of_two_with_the_proprietary_modules(host: GpuHost) -> None:
    """The A10 works, the RTX 5090 does not, and nvidia-smi is content."""
    ampere, blackwell = host.plug("a10", "rtx5090", driver=DRIVER, modules="proprietary")
    seen = look(host)
    assert seen.codes == ["wrong_module_flavour"]
    assert [(gpu["index"], gpu["pci_bus_id"]) for gpu in seen.gpus] == [(0, ampere.address), (None, blackwell.address)]


def test_volta_with_the_open_modules(host: GpuHost) -> None:
    host.plug("v100", driver=DRIVER, modules="open")
    seen = look(host)
    assert "driver_not_loaded" in seen.codes


def test_a_lost_gpu_comes_back_with_a_boot(host: GpuHost) -> None:
    cards = host.plug("a10", "rtx5090", driver=DRIVER)
    host.lose(1)
    seen = look(host)
    assert seen.codes == ["gpu_lost"]
    assert [gpu["pci_bus_id"] for gpu in seen.gpus] == [card.address for card in cards]
    host.cut_power()
    host.power_on()
    assert look(host).codes == []


def test_what_uses_a_gpu(host: GpuHost) -> None:
    """By its process, wherever CUDA_VISIBLE_DEVICES lets it."""
    first, second = host.plug("a10", "rtx5090", driver=DRIVER, programs={"sleeper": 512})
    query = ("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_gpu_memory", "--format=csv,noheader,nounits")
    assert host.run(*query) == ""
    host.run("ln", "-sf", "/bin/sleep", "/usr/local/bin/sleeper")
    for unit, visible in (("one", second.uuid), ("both", "0,1")):
        host.run("systemd-run", "--quiet", f"--unit={unit}", f"--setenv=CUDA_VISIBLE_DEVICES={visible}", "/usr/local/bin/sleeper", "60")
    pids = {unit: host.run("systemctl", "show", "-P", "MainPID", unit).strip() for unit in ("one", "both")}
    rows = {tuple(line.split(", ")) for line in host.run(*query).splitlines()}
    assert rows == {(second.uuid, pids["one"], "512"), (first.uuid, pids["both"], "512"), (second.uuid, pids["both"], "512")}
    only = host.run(*query, f"--id={first.uuid}").splitlines()
    assert only == [f"{first.uuid}, {pids['both']}, 512"]
    host.run("systemctl", "stop", "one", "both")


def test_a_unit_reaches_the_devices_that_its_policy_allows(host: GpuHost) -> None:
    """The simulated devices say ENXIO where a unit may open them, EPERM where not."""
    host.plug("a10", driver=DRIVER)
    closed = ("systemd-run", "--quiet", "--pipe", "--wait", "-p", "DevicePolicy=closed")
    assert "Operation not permitted" in host.run(*closed, "cat", "/dev/nvidia0", check=False)
    allowed = (*closed, "-p", "'DeviceAllow=char-nvidia rw'")
    assert "No such device or address" in host.run(*allowed, "cat", "/dev/nvidia0", check=False)
    assert "Operation not permitted" in host.run(*allowed, "cat", "/dev/nvidia-uvm", check=False)


def test_nvidia_smi_refuses_a_field_that_it_does_not_know(host: GpuHost) -> None:
    host.plug("a10", driver=DRIVER)
    said = host.run("nvidia-smi", "--query-gpu=name,cuda_version", "--format=csv,noheader", check=False)
    assert said == 'Field "cuda_version" is not a valid field to query.\n\n'


def test_a_host_from_a_snapshot_has_its_gpus_from_the_first_boot() -> None:
    """And can be given others, like any host."""
    snapshot = "with-gpus"
    with gpu_host("gpus-first", "a10", driver=DRIVER) as first:
        subprocess.run([RANGE, "save", first.name, snapshot], check=True, timeout=120)
    try:
        subprocess.run([RANGE, "up", "gpus-second", "--from", snapshot], check=True, timeout=120)
        seen = subprocess.check_output([RANGE, "ssh", "gpus-second", "--", "nvidia-smi", "-L"], text=True)
        assert seen.startswith("GPU 0: NVIDIA A10 (UUID: ") and seen.count("\n") == 1
        subprocess.run([RANGE, "down", "gpus-second"], check=True, timeout=120)
        with gpu_host("gpus-third", "rtx5090", "rtx5090", snapshot=snapshot) as third:
            found = look(third)
            assert ([gpu["name"] for gpu in found.gpus], found.codes) == (["NVIDIA GeForce RTX 5090"] * 2, [])
    finally:
        subprocess.run([RANGE, "down", "gpus-second"], check=True, timeout=120)
        subprocess.run([RANGE, "forget", snapshot], check=True, timeout=120)
