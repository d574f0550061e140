# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service in a container on GPUs, on a host with a real Docker and simulated GPUs: which it gets, and what takes none away."""

from __future__ import annotations

import re
import typing as t

import pytest

from .deployment import Run
from .docker_hosts import DockerHost, docker_host
from .gpu_hosts import Card
from .test_compose_service import BASE, RELEASE, furnish, ids, service, slots

DRIVER, NEWER_DRIVER, DOES_NOT_LOAD = "580.126.09", "590.48.01", "595.45.04"
UPGRADE = "playbooks/driver_upgrade.yml"
SPEC = "/var/run/cdi/nvidia.yaml"
HOLDS_MIB = 812


class Scene(t.NamedTuple):
    host: DockerHost
    a10: Card
    rtx5090: Card

    def play(self, *services: dict[str, t.Any], playbook: str = "site.yml", driver: str = DRIVER) -> Run:
        extra = {
            "inference_services": list(services),
            "nvidia_driver_version": driver,
            "inference_base_image": BASE,
            "inference_probe_timeout": 60,
            "llama_cpp_source": {"kind": "prebuilt", "path": RELEASE, "sha256": self.host.run("sha256sum", RELEASE).split()[0]},
            "models_local_files": [],
            # The host's own repository of NVIDIA's packages.
            "nvidia_repository_manage": False,
            "container_runtime_toolkit_repository": {"uris": "file:/srv/range-gpus/apt", "suites": "./", "trusted": True},
        }
        return self.host.play(playbook, extra)


@pytest.fixture(scope="module")
def scene(llama_server: str) -> t.Iterator[Scene]:
    with docker_host("compose-gpus", "a10", "rtx5090", driver=DRIVER) as host:
        host.run("rm", "/etc/apt/sources.list.d/range-gpus.sources")
        furnish(host, llama_server)
        yield Scene(host, *host.plug("a10", "rtx5090", programs={"llama-server": HOLDS_MIB}))


def devices(host: DockerHost) -> list[str]:
    """What of NVIDIA's devices the container sees."""
    return sorted(name for name in host.docker("exec", "inference-tiny", "ls", "/dev").split() if name.startswith("nvidia"))


@pytest.fixture(scope="module")
def on_gpu(scene: Scene) -> Scene:
    """The service on the second GPU, by its index, on a host that gets the container toolkit with the same run."""
    run = scene.play(service(gpus=[1]))
    assert run.rc == 0, run.output
    checks = run.task("Prove that each service serves").result["results"][0]["checks"]
    assert [check["detail"] for check in checks if check["name"] == "gpu"] == [f"{HOLDS_MIB} MiB on {scene.rtx5090.uuid}"]
    return scene


def test_it_gets_its_gpu_by_uuid_and_no_other(on_gpu: Scene) -> None:
    (request,) = on_gpu.host.inspect("inference-tiny")["HostConfig"]["DeviceRequests"]
    assert (request["Driver"], request["DeviceIDs"]) == ("cdi", [f"nvidia.com/gpu={on_gpu.rtx5090.uuid}"])
    assert "nvidia1" in devices(on_gpu.host) and "nvidia0" not in devices(on_gpu.host)


@pytest.mark.parametrize("disturb", [("systemctl", "daemon-reload"), ("systemctl", "restart", "docker")])
def test_nothing_takes_it_away(on_gpu: Scene, disturb: tuple[str, ...]) -> None:
    before = ids(on_gpu.host), devices(on_gpu.host)
    on_gpu.host.run(*disturb)
    assert slots(on_gpu.host) == 2 and (ids(on_gpu.host), devices(on_gpu.host)) == before
    assert "No such device or address" in on_gpu.host.docker("exec", "inference-tiny", "cat", "/dev/nvidia1", check=False)


def test_after_a_boot_it_has_it_again(on_gpu: Scene) -> None:
    before = ids(on_gpu.host)
    on_gpu.host.reboot()
    assert slots(on_gpu.host, seconds=60) == 2
    assert "nvidia1" in devices(on_gpu.host)
    assert on_gpu.play(service(gpus=[1])).changed == []
    assert ids(on_gpu.host) == before


def test_a_gpu_that_is_not_there_stops_it_before_any_change(on_gpu: Scene) -> None:
    before = ids(on_gpu.host)
    run = on_gpu.play(service(gpus=[2]))
    assert run.rc != 0 and "gpus: 2 is not there" in run.failure
    assert ids(on_gpu.host) == before and slots(on_gpu.host) == 2


# -- another driver ----------------------------------------------------------------------------------------------------


def drivers(host: DockerHost) -> set[str]:
    """Whose libraries the container has, and whose the specification names; and what the kernel runs."""
    libraries = host.docker("exec", "inference-tiny", "ls", "/usr/lib/x86_64-linux-gnu").split()
    named = re.findall(r"libcuda\.so\.(\d[\d.]+\d)", host.run("cat", SPEC))
    runs = host.run("cat", "/proc/driver/nvidia/version").partition("x86_64  ")[2].split()[0]
    return {*(name.removeprefix("libcuda.so.") for name in libraries if re.match(r"libcuda\.so\.\d\d", name)), *named, runs}


@pytest.mark.parametrize(
    ("driver", "services", "says"),
    [
        # It ends before the services are written; one of them is new and has no container yet.
        (DOES_NOT_LOAD, [service(gpus=[1]), service("late", 8083)], DOES_NOT_LOAD),
        # It ends when the service has a container of the new driver.
        (NEWER_DRIVER, [service(gpus=[1], options={"lora": "/srv/models/no-adapter.gguf"})], "it has ended"),
    ],
    ids=["driver", "service"],
)
def test_an_upgrade_that_fails_ends_where_it_began(on_gpu: Scene, driver: str, services: list[dict[str, t.Any]], says: str) -> None:
    on_gpu.host.put("/srv/models/no-adapter.gguf", b"GGUF, or so")
    run = on_gpu.play(*services, playbook=UPGRADE, driver=driver)
    assert says in run.task("Say why").result["msg"], run.output
    assert run.task("Install the wanted driver, with a way back").changed
    assert slots(on_gpu.host) == 2 and "nvidia1" in devices(on_gpu.host)
    assert drivers(on_gpu.host) == {DRIVER}
    assert list(ids(on_gpu.host)) == ["inference-tiny"]
    assert on_gpu.play(service(gpus=[1])).changed == []


def test_after_an_upgrade_it_serves_with_the_libraries_of_the_new_driver(on_gpu: Scene) -> None:
    before = ids(on_gpu.host)
    run = on_gpu.play(service(gpus=[1]), playbook=UPGRADE, driver=NEWER_DRIVER)
    assert run.rc == 0, run.output
    assert run.task("Stop the services in the reverse of their order").changed
    assert slots(on_gpu.host) == 2 and "nvidia1" in devices(on_gpu.host)
    assert drivers(on_gpu.host) == {NEWER_DRIVER}
    assert ids(on_gpu.host) != before
    assert on_gpu.play(service(gpus=[1]), driver=NEWER_DRIVER).changed == []
