# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the range promises of a host with Docker: a real engine, Compose, and simulated GPUs by CDI."""

from __future__ import annotations

import json
import typing as t

import pytest

from .docker_hosts import IMAGE, DockerHost, docker_host
from .gpu_hosts import APT_INSTALL

COMPOSE = """\
services:
  engine:
    image: {image}
    container_name: engine
    init: true
    read_only: true
    tmpfs: [/tmp]
    user: "999:999"
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    shm_size: 64m
    command: [sleep, infinity]
    deploy:
      resources:
        reservations:
          devices: [{{driver: cdi, device_ids: ["{device}"], capabilities: [gpu]}}]
"""


@pytest.fixture(scope="module")
def host() -> t.Iterator[DockerHost]:
    with docker_host("docker-hosts", "a10", "rtx5090", driver="580.126.09") as host:
        host.put("/etc/docker/daemon.json", json.dumps({"features": {"cdi": True}}).encode())
        host.run(*APT_INSTALL, "nvidia-container-toolkit")
        host.run("systemctl", "restart", "docker")
        yield host


def devices(host: DockerHost) -> list[str]:
    """What the container sees, and whether it may open it: the simulated devices say ENXIO where it may."""
    seen = host.docker("exec", "engine", "sh", "-c", "ls /dev; cat /dev/nvidia1 2>&1", check=False).splitlines()
    return [line for line in seen if "nvidia" in line]


ALL_IS_WELL = ["nvidia-uvm", "nvidia-uvm-tools", "nvidia1", "nvidiactl", "cat: /dev/nvidia1: No such device or address"]


def test_the_toolkit_lists_each_gpu_by_number_and_uuid(host: DockerHost) -> None:
    uuids = [line.rpartition(" ")[2].rstrip(")") for line in host.run("nvidia-smi", "-L").splitlines()]
    listed = host.run("sh", "-c", "'nvidia-ctk cdi list 2>/dev/null'").split()
    assert listed == sorted(f"nvidia.com/gpu={name}" for name in ("0", "1", "all", *uuids))
    spec = json.loads(host.run("sh", "-c", "'nvidia-ctk cdi generate --format=json 2>/dev/null'"))
    assert spec["kind"] == "nvidia.com/gpu"
    assert {mount["hostPath"] for mount in spec["containerEdits"]["mounts"]} >= {"/usr/lib/x86_64-linux-gnu/libcuda.so.580.126.09"}


def test_compose_gives_a_container_its_gpu_and_daemon_reload_does_not_take_it(host: DockerHost) -> None:
    host.run("mkdir", "-p", "/srv/engine")
    host.put("/srv/engine/compose.yaml", COMPOSE.format(image=IMAGE, device="nvidia.com/gpu=1").encode())
    host.docker("compose", "--project-directory", "/srv/engine", "up", "--detach")
    assert devices(host) == ALL_IS_WELL
    host.run("systemctl", "daemon-reload")
    assert devices(host) == ALL_IS_WELL


def test_what_docker_has_outlives_a_reboot(host: DockerHost) -> None:
    host.reboot()
    assert IMAGE.partition(":")[0] in host.docker("images")
    host.docker("start", "engine")
    assert devices(host) == ALL_IS_WELL
