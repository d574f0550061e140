# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver of a host: installed by site.yml, never changed by accident, and changed on purpose with a way back."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import typing as t

import pytest

from . import cuda_release
from .conftest import SNAPSHOT
from .gpu_hosts import GpuHost, gpu_host
from .test_faults import main_pid, slots

OLD, NEW, NEWER, DOES_NOT_LOAD = "580.126.09", "590.48.01", "610.43.02", "595.45.04"
UPGRADE = "playbooks/driver_upgrade.yml"
ARCHIVE = "/opt/served.tar.gz"
UNIT = "inference-tiny"


@dataclasses.dataclass(frozen=True)
class Scene:
    host: GpuHost
    release: t.Mapping[str, t.Any]

    def wanted(self, driver: str, toolkit: str = "13.0.3") -> dict[str, t.Any]:
        return {**self.release, "nvidia_driver_version": driver, "cuda_toolkit_version": toolkit}

    def versions(self) -> tuple[str, str]:
        """Of the module that the kernel has loaded, and of the installed library."""
        loaded = self.host.run("cat", "/proc/driver/nvidia/version", check=False).partition("x86_64  ")[2].split()
        library = self.host.run("sh", "-c", "'basename $(readlink -f /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1)'").strip()
        return (loaded[0] if loaded else ""), library.removeprefix("libnvidia-ml.so.")

    def state(self) -> str:
        installed = self.host.run("sh", "-c", '\'dpkg-query -W "*nvidia*" "libcuda*"; cat /etc/apt/preferences.d/*\'', check=False)
        return self.host.state() + installed


@pytest.fixture(scope="module")
def scene(llama_server: str) -> t.Iterator[Scene]:
    """A host with an A10 and no driver yet; its release is compiled for the A10, and serves on the CPU."""
    packed = cuda_release.archive(pathlib.Path(llama_server).parent)
    with gpu_host("driver-upgrade", "a10", driver="none", snapshot=SNAPSHOT) as host:
        host.put(ARCHIVE, packed)
        source = {"kind": "archive", "path": ARCHIVE, "sha256": hashlib.sha256(packed).hexdigest()}
        release = {
            "llama_cpp_backend": "cuda",
            "llama_cpp_source": source,
            "llama_cpp_targets": cuda_release.TARGETS,
            "nvidia_repository_manage": False,
        }
        yield Scene(host, release)


def test_site_installs_the_driver_that_is_missing(scene: Scene) -> None:
    boot = scene.host.boot_id()
    run = scene.host.play("site.yml", scene.wanted(OLD))

    assert run.rc == 0, run.output
    assert scene.versions() == (OLD, OLD)
    assert scene.host.boot_id() != boot
    inputs = run.task("Build and activate llama.cpp").result["manifest"]["inputs"]
    assert (inputs["cuda_architectures"], inputs["toolkit"]) == (["86-real"], "13.0.3")
    assert slots(scene.host) == 2
    again = scene.host.play("site.yml", scene.wanted(OLD))
    assert (again.rc, again.changed) == (0, []), again.output


@pytest.mark.parametrize("playbook", ["site.yml", UPGRADE])
def test_a_version_that_no_repository_has_stops_it(scene: Scene, playbook: str) -> None:
    before = scene.state()
    run = scene.host.play(playbook, scene.wanted("580.999.99"))
    assert run.rc != 0
    assert "580.999.99" in run.failure
    assert "Traceback" not in run.output
    if playbook == UPGRADE:
        assert NEW in run.failure  # what is on offer
    assert scene.state() == before


def test_site_does_not_change_a_driver(scene: Scene) -> None:
    before, pid = scene.state(), main_pid(scene.host)
    run = scene.host.play("site.yml", scene.wanted(NEW))
    assert run.rc != 0
    assert f"NVIDIA driver {OLD} is installed, and nvidia_driver_version is {NEW}" in run.failure
    assert UPGRADE in run.failure
    assert (scene.state(), main_pid(scene.host)) == (before, pid)


def test_unattended_upgrades_leave_it_alone(scene: Scene) -> None:
    scene.host.run("DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "--no-install-recommends", "install", "unattended-upgrades")
    scene.host.put("/etc/apt/apt.conf.d/99allow", b'Unattended-Upgrade::Origins-Pattern { "origin=NVIDIA"; };\n')
    said = scene.host.run("unattended-upgrade", "--verbose", "--debug")
    assert "NVIDIA" in said
    assert scene.versions() == (OLD, OLD)
    scene.host.run("apt-get", "-qq", "-y", "upgrade")
    assert scene.versions() == (OLD, OLD)


def test_a_check_predicts_the_change_and_makes_none(scene: Scene) -> None:
    before, pid = scene.state(), main_pid(scene.host)
    run = scene.host.play(UPGRADE, scene.wanted(NEW), "--check", "--diff")
    assert run.rc == 0, run.output
    predicted = run.task("Install the wanted driver, with a way back").result["changes"]
    assert any("nvidia-driver-cuda" in change and NEW in change for change in predicted), predicted
    assert f"+nvidia-driver-cuda {NEW}-1" in run.output
    assert (scene.state(), main_pid(scene.host)) == (before, pid)


def test_a_new_driver_with_the_same_release(scene: Scene) -> None:
    built = scene.host.run("readlink", "/opt/llama.cpp/current")
    run = scene.host.play(UPGRADE, scene.wanted(NEW))

    assert run.rc == 0, run.output
    assert scene.versions() == (NEW, NEW)
    assert scene.host.run("readlink", "/opt/llama.cpp/current") == built
    assert not any(task.name.endswith("Build and activate llama.cpp") and task.changed for task in run.tasks)
    assert slots(scene.host) == 2
    again = scene.host.play(UPGRADE, scene.wanted(NEW))
    assert (again.rc, again.changed) == (0, []), again.output
    assert scene.host.play("site.yml", scene.wanted(NEW)).changed == []


def test_a_driver_that_does_not_load_is_taken_back(scene: Scene) -> None:
    built, unit = scene.host.run("readlink", "/opt/llama.cpp/current"), scene.host.run("systemctl", "cat", UNIT)
    run = scene.host.play(UPGRADE, scene.wanted(DOES_NOT_LOAD, "13.1.2"))

    assert run.rc != 0
    assert DOES_NOT_LOAD in run.failure
    assert scene.versions() == (NEW, NEW)
    assert scene.host.run("readlink", "/opt/llama.cpp/current") == built
    assert scene.host.run("systemctl", "cat", UNIT) == unit
    assert slots(scene.host) == 2
    assert scene.host.play("site.yml", scene.wanted(NEW)).changed == []


def test_a_new_driver_with_a_new_toolkit(scene: Scene) -> None:
    run = scene.host.play(UPGRADE, scene.wanted(NEWER, "13.1.2"))

    assert run.rc == 0, run.output
    assert scene.versions() == (NEWER, NEWER)
    built = run.task("Build and activate llama.cpp").result
    assert built["rebuilt"]
    assert built["reasons"] == ["toolkit: 13.0.3 -> 13.1.2"]
    assert slots(scene.host) == 2


@pytest.mark.parametrize(
    ("task", "program", "target"),
    [
        ("Stop the services in the reverse of their order", "dpkg", NEW),  # while packages are unpacked
        ("Install the wanted driver, with a way back", None, NEWER),  # the new libraries beside the old module
        ("Reboot the host for its driver", None, NEW),  # the new driver runs, and nobody has looked yet
    ],
)
def test_a_power_cut_is_healed_by_the_next_run(scene: Scene, task: str, program: str | None, target: str) -> None:
    """The task named is the last that was finished; the power goes at once, or when the program runs in the next one."""
    wanted = scene.wanted(target, "13.1.2")

    def cut() -> bool:
        if not any(entry.name.endswith(task) for entry in scene.host.tasks()):
            return False
        if program and not scene.host.run("pgrep", "-x", program, check=False):
            return False
        scene.host.cut_power()
        return True

    scene.host.play_and_kill(cut, wanted, playbook=UPGRADE)
    scene.host.power_on()
    healed = scene.host.play(UPGRADE, wanted)

    assert healed.rc == 0, healed.output
    assert scene.versions() == (target, target)
    assert slots(scene.host) == 2
    again = scene.host.play("site.yml", wanted)
    assert (again.rc, again.changed) == (0, []), again.output
