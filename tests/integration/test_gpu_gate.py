# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What site.yml predicts for a host with GPUs, and what stops it before its first change. Nothing is built or installed here."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._driver_pin import PIN, pin_text

from .conftest import SNAPSHOT
from .deployment import Run
from .gpu_hosts import GpuHost, gpu_host

DRIVER, OLDER = "580.126.09", "580.95.05"
CUDA = {"llama_cpp_backend": "cuda", "nvidia_repository_manage": False}
KEPT = (
    "'dpkg-query -W; find /etc/apt /etc/modprobe.d /var/lib/baremetal-llm /opt/cuda /opt/llama.cpp -maxdepth 1"
    ' -printf "%p %T@ %s\\n" 2>/dev/null | sort; cat /proc/driver/nvidia/version /proc/sys/kernel/random/boot_id 2>/dev/null; true\''
)


@pytest.fixture(scope="module")
def host() -> t.Iterator[GpuHost]:
    with gpu_host("gpu-gate", "a10", driver=DRIVER, snapshot=SNAPSHOT) as host:
        # The snapshot may be that of another clone, with another API key.
        converged = host.play()
        assert converged.rc == 0, converged.output
        yield host


@pytest.fixture
def kept_driver(host: GpuHost) -> t.Iterator[None]:
    """The driver is pinned, as after a first run: there is nothing to do about it."""
    host.put(PIN, pin_text(DRIVER).encode())
    yield
    host.run("rm", PIN)


def play(host: GpuHost, wanted: t.Mapping[str, t.Any], *flags: str) -> Run:
    """A run that has to leave the host as it was: files, processes, packages, the loaded driver, and no boot."""
    before = host.state() + host.run("sh", "-c", KEPT)
    run = host.play("site.yml", {**CUDA, **wanted}, *flags)
    assert (host.state() + host.run("sh", "-c", KEPT)).splitlines() == before.splitlines()
    assert "Traceback" not in run.output
    return run


def predict(host: GpuHost, **wanted: t.Any) -> Run:
    run = play(host, wanted, "--check")
    assert run.rc == 0, run.output
    return run


def architectures(run: Run) -> list[str]:
    """Those that the build would get, of which there is none yet, nor a toolkit to make it with."""
    for name in ("See what there is to build", "Build and activate llama.cpp"):
        result = run.task(name).result
        assert result["rebuilt"]
        assert "backend: cpu -> cuda" in result["reasons"]
        assert "toolkit: none -> 13.0.3" in result["reasons"]
    assert run.task("Install the toolkit from the Python package index").changed
    found: list[str] = run.task("Build and activate llama.cpp").result["manifest"]["inputs"]["cuda_architectures"]
    return sorted(found)


def reboots(run: Run) -> bool:
    return any(name.endswith("Reboot the host for its driver") for name in run.changed)


# -- a check predicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "wanted"),
    [
        (["a10"], ["86-real"]),
        (["rtx5090"], ["120a-real"]),
        (["a10", "rtx5090"], ["120a-real", "86-real"]),
        (["h100"] * 8, ["90-real"]),
    ],
    ids=["A10", "RTX 5090", "both", "8 H100"],
)
@pytest.mark.usefixtures("kept_driver")
def test_what_would_be_built_for(host: GpuHost, models: list[str], wanted: list[str]) -> None:
    host.plug(*models, driver=DRIVER)
    run = predict(host)
    assert architectures(run) == wanted
    assert not any(task.name.endswith("Install and pin the driver") for task in run.tasks)


def test_a_driver_that_somebody_has_installed_is_kept_without_a_reboot(host: GpuHost) -> None:
    host.plug("a10", driver=DRIVER)
    run = predict(host)
    adopted = run.task("Install and pin the driver")
    assert adopted.changed
    assert [change.startswith("install linux-headers-") for change in adopted.result["changes"]] == [True]
    assert not reboots(run)


def test_the_driver_that_would_be_installed(host: GpuHost) -> None:
    host.plug("a10", "rtx5090", driver="none")
    run = predict(host, nvidia_driver_version="580")
    installed = run.task("Install and pin the driver")
    assert installed.changed
    assert (installed.result["target_version"], installed.result["kernel_module"]) == (DRIVER, "open")
    assert reboots(run)
    assert architectures(run) == ["120a-real", "86-real"]


def test_a_reboot_that_is_due(host: GpuHost) -> None:
    host.plug("a10", "rtx5090", driver=OLDER)
    host.install_driver(DRIVER)
    run = predict(host)
    assert run.task("Look what GPUs and what driver there are").result["driver"]["reboot_required"]
    assert run.task("Install and pin the driver").result["target_version"] == DRIVER
    assert reboots(run)
    assert architectures(run) == ["120a-real", "86-real"]


# -- and stops, as a run does ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [("--check",), ()], ids=["check", "run"])
def test_a_lost_gpu(host: GpuHost, flags: tuple[str, ...]) -> None:
    host.plug("a10", "rtx5090", driver=DRIVER)
    host.lose(1)
    stopped(play(host, {}, *flags), "NVIDIA GeForce RTX 5090 at 0000:31:00.0 is lost", "power-cycle the host")


def stopped(run: Run, *words: str) -> None:
    """One error, of the one task that looks before anything is touched."""
    assert run.rc != 0
    assert run.changed == []
    assert [task.name for task in run.tasks if task.status == "failed"] == [
        task.name for task in run.tasks if task.name.endswith("Check the host and its services")
    ]
    assert "\n" not in run.failure.strip(), run.failure
    for word in words:
        assert word in run.failure, run.failure


BOTH = ("a10", "rtx5090")
BAD_INPUT: dict[str, tuple[tuple[str, ...], str, dict[str, t.Any], tuple[str, ...]]] = {
    "an architecture is missing": (
        BOTH,
        DRIVER,
        {"llama_cpp_cuda_architectures": ["86-real"]},
        ("llama_cpp_cuda_architectures (86-real) has nothing that NVIDIA GeForce RTX 5090 can run", "Use 86-real;120a-real"),
    ),
    "architectures of the machine that builds": (
        BOTH,
        DRIVER,
        {"llama_cpp_cuda_architectures": "native"},
        ("llama_cpp_cuda_architectures has native, which is not", "Use 86-real;120a-real, or leave llama_cpp_cuda_architectures out"),
    ),
    "a toolkit before the GPU": (
        BOTH,
        DRIVER,
        {"cuda_toolkit_version": "12.2"},
        ("CUDA 12.2 doesn't know NVIDIA GeForce RTX 5090", "Use CUDA 12.8 to", "(cuda_toolkit_version)"),
    ),
    "a toolkit that nobody knows": (
        BOTH,
        DRIVER,
        {"cuda_toolkit_version": "13.9.9"},
        ("cuda_toolkit_version is 13.9.9, which", "Use CUDA 12.8"),
    ),
    "a toolkit that is nowhere": (
        BOTH,
        DRIVER,
        {"cuda_toolkit_version": "13.0.99"},
        ("cuda_toolkit_version is 13.0.99, and", "13.0.3, 13.1.2"),
    ),
    "a toolkit that is no version": (
        BOTH,
        DRIVER,
        {"cuda_toolkit_version": "latest"},
        ("cuda_toolkit_version is 'latest'", "Write it like 13.0.3"),
    ),
    "a driver that is no version": (
        BOTH,
        DRIVER,
        {"nvidia_driver_version": "newest"},
        ("nvidia_driver_version is 'newest'", "like 580.126.09"),
    ),
    "GPUs that no driver serves": (
        ("v100", "rtx5090"),
        "none",
        {"cuda_toolkit_version": "12.8.1", "cuda_toolkit_source": "apt"},
        ("NVIDIA GeForce RTX 5090 works with the open kernel modules only, Tesla V100-PCIE-16GB with", "Put them into different hosts"),
    ),
    "a GPU that the toolkit has dropped": (
        ("v100",),
        "none",
        {},
        ("CUDA 13.0.3 no longer builds for Tesla V100-PCIE-16GB", "Use CUDA 11.8 to 12.9 (cuda_toolkit_version)"),
    ),
    "a GPU that nobody knows": (
        ("a10", "unknown"),
        "none",
        {},
        ("The GPU at 0000:31:00.0 with the PCI id 10de:ffff is none that this collection knows", "Set nvidia_driver_gpus"),
    ),
    "no driver, and none to be installed": (
        BOTH,
        "none",
        {"nvidia_driver_manage": False},
        ("No NVIDIA driver is installed", "nvidia_driver_manage: false"),
    ),
    "no GPU": ((), "none", {}, ("No NVIDIA GPU is in this host, and llama_cpp_backend is cuda", "nvidia_driver_gpus")),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_one_clear_error_and_nothing_changed(host: GpuHost, case: str) -> None:
    models, driver, wanted, words = BAD_INPUT[case]
    host.plug(*models, driver=driver)
    stopped(play(host, wanted), *words)


def test_no_toolkit_serves_both(host: GpuHost) -> None:
    """Nor does any driver, and both are said."""
    host.plug("v100", "rtx5090", driver="none")
    run = play(host, {})
    assert run.rc != 0
    assert "CUDA 13.0.3 no longer builds for Tesla V100-PCIE-16GB" in run.failure
    assert "NVIDIA GeForce RTX 5090 works with the open kernel modules only" in run.failure


# -- the ways out that the errors name -------------------------------------------------------------------------------------


def test_a_gpu_that_nobody_knows_is_named_by_the_operator(host: GpuHost) -> None:
    host.plug("a10", "unknown", driver="none")
    named = [{"name": "NVIDIA A10"}, {"compute_capability": "12.0"}]
    run = predict(host, nvidia_driver_version="580", nvidia_driver_gpus=named)
    assert run.task("Install and pin the driver").result["kernel_module"] == "open"
    assert architectures(run) == ["120a-real", "86-real"]


@pytest.mark.usefixtures("kept_driver")
def test_or_by_its_driver(host: GpuHost) -> None:
    host.plug("a10", "unknown", driver=DRIVER)
    assert architectures(predict(host)) == ["120a-real", "86-real"]


def test_a_host_that_compiles_for_others(host: GpuHost) -> None:
    host.plug(driver="none")
    run = predict(host, nvidia_driver_gpus=[{"name": "NVIDIA A10"}, {"name": "NVIDIA L40S"}])
    assert architectures(run) == ["86-real", "89-real"]
    assert not any(task.name.endswith("Install and pin the driver") for task in run.tasks)
