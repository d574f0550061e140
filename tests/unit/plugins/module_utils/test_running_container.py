# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._running_container import Container, ContainerState

ID = "1edc7050c09b78fe997739f13a210c6ee60c9dfd191593df6f2cf78bfdc3c011"
NEVER = "0001-01-01T00:00:00Z"
# What Docker 26.1 shows of a container that runs, with all that is not looked at left out; and how others differ.
RUNNING = {
    "Status": "running", "Running": True, "Paused": False, "Restarting": False, "OOMKilled": False, "Dead": False, "Pid": 1310,
    "ExitCode": 0, "Error": "", "StartedAt": "2026-11-27T06:48:12.81960242Z", "FinishedAt": NEVER,
}  # fmt: skip
PORTS = {
    "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}],
    "8001/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8001"}, {"HostIp": "::", "HostPort": "8001"}],
    "9000/udp": [{"HostIp": "127.0.0.1", "HostPort": "9000"}],
    "8002/tcp": None,
}
LEFT = {"Running": False, "Pid": 0, "FinishedAt": "2026-11-27T06:48:18.034378381Z"}
NOT_STARTED = {**LEFT, "Status": "created", "ExitCode": 128, "StartedAt": NEVER, "FinishedAt": NEVER}
NO_CDI_DEVICE = "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7"
NO_PROGRAM = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
    'container process: exec: "/nowhere": stat /nowhere: no such file or directory: unknown'
)
PORT_TAKEN = (
    "driver failed programming external connectivity on endpoint port (5c3d8807): Bind for 127.0.0.1:8000 failed: port is already allocated"
)
NO_DRIVER = 'could not select device driver "" with capabilities: [[gpu]]'


def shown(state: dict[str, Any] | None = None, *, restarts: int = 0, network: str = "bridge", ports: object = PORTS) -> str:
    container = {
        "Id": ID,
        "State": {**RUNNING, **(state or {})},
        "RestartCount": restarts,
        "HostConfig": {"NetworkMode": network},
        "NetworkSettings": {"Ports": ports},
    }
    return json.dumps([container])


@pytest.mark.parametrize(
    ("state", "restarts", "trouble"),
    [
        ({}, 0, None),
        ({}, 2, None),  # of another day
        ({}, 3, "it does not stay up (Docker had to start it again, 3 times so far)"),
        ({**LEFT, "Status": "exited", "ExitCode": 2}, 0, "it has ended (it exited with status 2)"),
        ({**LEFT, "Status": "exited"}, 0, "it has ended (it exited with status 0)"),
        ({**LEFT, "Status": "exited", "ExitCode": 137}, 0, "it has ended (it was killed by SIGKILL)"),
        ({**LEFT, "Status": "exited", "ExitCode": 137, "OOMKilled": True}, 0, "it has ended (it was killed for taking more memory than"),
        (
            {**LEFT, "Status": "restarting", "Running": True, "Restarting": True, "ExitCode": 1},
            4,
            "it does not stay up (it exited with status 1; Docker is about to start it again)",
        ),
        ({"Status": "paused", "Paused": True}, 0, "it is not running (state: paused)"),
        ({**NOT_STARTED, "ExitCode": 0}, 0, "it is not running (state: created)"),
        ({**NOT_STARTED, "Error": NO_CDI_DEVICE}, 0, f"Docker cannot start it: {NO_CDI_DEVICE}"),
        ({**LEFT, "Status": "exited", "ExitCode": 128, "Error": NO_DRIVER}, 0, f"Docker cannot start it: {NO_DRIVER}"),
    ],
)
def test_when_waiting_is_pointless(state: dict[str, Any], restarts: int, trouble: str | None) -> None:
    said = ContainerState.parse(shown(state, restarts=restarts)).trouble(restarts_before=2)
    assert said == trouble or (trouble and said and said.startswith(trouble))


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"Error": NO_CDI_DEVICE}, "See with `nvidia-ctk cdi list`"),
        ({"Error": NO_DRIVER}, "See that CDI is on in /etc/docker/daemon.json"),
        ({"Error": PORT_TAKEN}, "Stop what holds that port"),
        ({"Error": NO_PROGRAM}, "See whether the image is the engine's own"),
        ({"Error": "OCI runtime create failed: something new"}, "See what `docker inspect` shows"),
        ({"OOMKilled": True}, "Raise resources.memory"),
        ({}, ""),
    ],
)
def test_what_to_do_where_docker_tells_why(change: dict[str, Any], remedy: str) -> None:
    said = ContainerState.parse(shown({**NOT_STARTED, **change})).remedy
    assert said.startswith(remedy) and bool(said) == bool(remedy)


def test_what_is_published() -> None:
    now = ContainerState.parse(shown())
    assert now.ports == {("127.0.0.1", 8000), ("0.0.0.0", 8001), ("::", 8001)}
    assert not now.on_host_network
    assert ContainerState.parse(shown(network="host", ports={})).on_host_network
    assert ContainerState.parse(shown(NOT_STARTED, ports={})).ports == set()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A `docker` that shows this and logs that, and writes down what it was asked."""

    def make(inspected: str = "", *, rc: int = 0, stderr: str = "", logged: str = "") -> Path:
        asked = tmp_path / "asked"
        for name, text in (("inspected", inspected), ("stderr", stderr)):
            (tmp_path / name).write_text(text, encoding="utf-8")
        program = tmp_path / "docker"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {asked}\ncase "$2" in\ninspect) cat {tmp_path}/stderr >&2; cat {tmp_path}/inspected; exit {rc} ;;\n'
            f"logs) {logged or ':'} ;;\nesac\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return asked

    return make


@pytest.mark.parametrize(
    ("stderr", "trouble"),
    [
        ("Error response from daemon: No such container: inference-chat", "Docker knows no such container"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "Docker does not tell of it: Cannot connect to the Docker"),
    ],
)
def test_a_container_of_which_nothing_is_known(docker: Callable[..., Path], stderr: str, trouble: str) -> None:
    docker(rc=1, stderr=stderr)
    assert (Container("inference-chat").state().trouble(0) or "").startswith(trouble)
    assert Container("inference-chat").log_of_start() == []


def test_no_docker_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    container = Container("inference-chat")
    assert (container.state().trouble(0) or "").startswith("Docker does not tell of it: ")
    assert container.log() == [] and container.last_words() == ""


def test_both_outputs_are_read_in_order_and_from_the_latest_start(docker: Callable[..., Path]) -> None:
    asked = docker(shown(), logged="echo one; echo two >&2; echo three")
    assert Container("inference-chat").log_of_start() == ["one", "two", "three"]
    assert "container logs --since=2026-11-27T06:48:11+00:00 -- inference-chat" in asked.read_text(encoding="utf-8")


def test_no_log_of_a_container_that_was_never_started(docker: Callable[..., Path]) -> None:
    docker(shown(NOT_STARTED), logged="echo of another")
    assert Container("inference-chat").log_of_start() == []


def test_the_last_words_are_words(docker: Callable[..., Path]) -> None:
    traceback = 'Traceback (most recent call last):\n  File "/x.py", line 1, in y\n    z()\nKeyError: 1\n\nGood bye'
    docker(shown({**LEFT, "Status": "exited"}), logged=f"cat <<'END'\n{traceback}\nEND\n")
    assert Container("inference-chat").last_words() == ", saying: Traceback (most recent call last): / KeyError: 1 / Good bye"


@pytest.mark.parametrize(
    ("groups", "mine"),
    [
        (f"0::/system.slice/docker-{ID}.scope\n", True),
        (f"12:memory:/docker/{ID}\n11:cpu:/docker/{ID}/init\n", True),
        (f"0::/system.slice/docker-{ID[::-1]}.scope\n", False),
        (None, False),
    ],
)
def test_whose_a_process_is(docker: Callable[..., Path], tmp_path: Path, groups: str | None, mine: bool) -> None:
    docker(shown())
    if groups is not None:
        (tmp_path / "4711").mkdir()
        (tmp_path / "4711" / "cgroup").write_text(groups, encoding="utf-8")
    assert Container("inference-chat", proc=tmp_path).owns(4711) is mine


def test_nothing_is_of_a_container_that_is_not_there(docker: Callable[..., Path], tmp_path: Path) -> None:
    docker(rc=1, stderr="Error response from daemon: No such container: x")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cgroup").write_text("0::/\n", encoding="utf-8")
    assert not Container("x", proc=tmp_path).owns(1)


def test_where_it_is_reached_is_what_docker_publishes(docker: Callable[..., Path]) -> None:
    docker(shown())
    assert Container("inference-chat").sockets([("127.0.0.1", 8000)]).mine == {("127.0.0.1", 8000), ("0.0.0.0", 8001), ("::", 8001)}


@pytest.mark.parametrize("mine", [True, False])
def test_on_the_hosts_network_it_holds_its_sockets_itself(docker: Callable[..., Path], tmp_path: Path, mine: bool) -> None:
    docker(shown(network="host", ports={}))
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "cgroup").write_text(f"0::/docker/{ID if mine else 'other'}\n", encoding="utf-8")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        place = server.getsockname()
        found = Container("inference-chat", proc=tmp_path).sockets([place])
    assert (place in found.mine, bool(found.strangers)) == (mine, not mine)
