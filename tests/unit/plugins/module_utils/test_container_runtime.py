# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Docker, Compose and the CDI specifications of a host say, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import CdiSpec, parse_spec
from ansible_collections.baremetal.llm.plugins.module_utils._container_host import ContainerHost
from ansible_collections.baremetal.llm.plugins.module_utils._container_runtime import (
    Docker,
    Gpus,
    Runtime,
    parse_info,
    runtime_problems,
)
from ansible_collections.baremetal.llm.plugins.module_utils._docker_versions import numbers

FIXTURES = Path(__file__).parents[1] / "fixtures/docker"
RUNS = (FIXTURES / "info_26_1_cdi.json").read_text("utf-8")
OFF = (FIXTURES / "info_26_1_off.json").read_text("utf-8")
SPEC = (FIXTURES / "nvidia_cdi.txt").read_text("utf-8")
UUIDS = ("GPU-b4109f2f-acfc-5ddb-a583-803ae341142b", "GPU-be30a874-0a4f-5592-b6f0-6cfeb29372f5")
GPUS = Gpus(UUIDS, "580.126.09")


def changed(**keys: t.Any) -> str:
    """A recorded answer with other values; None leaves a key out."""
    data = {**json.loads(RUNS), **keys}
    return json.dumps({key: value for key, value in data.items() if value is not None})


@pytest.mark.parametrize(
    ("version", "expected"), [("26.1.5+dfsg1", (26, 1, 5)), ("2.26.1-4", (2, 26, 1)), ("v2.17.2", (2, 17, 2)), ("dev", ()), ("", ())]
)
def test_versions(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            RUNS,
            Docker(
                client_version="26.1.5+dfsg1",
                compose_version="2.26.1-4",
                server_version="26.1.5+dfsg1",
                cgroup_driver="systemd",
                storage_driver="overlay2",
                default_runtime="runc",
                runtimes=("runc",),
                live_restore=True,
                running_containers=2,
                cdi_directories=("/etc/cdi", "/var/run/cdi"),
            ),
        ),
        (
            OFF,
            Docker(
                client_version="26.1.5+dfsg1",
                compose_version="2.26.1-4",
                error="Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            ),
        ),
        ("permission denied\n", None),
        ('{"host": {"arch": "amd64"}}', None),
    ],
    ids=["runs", "off", "no JSON", "Podman"],
)
def test_info(text: str, expected: Docker | None) -> None:
    assert parse_info(text) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ("/etc/cdi", "/var/run/cdi")),
        ({"CDISpecDirs": []}, ()),
        ({"ServerVersion": "20.10.24+dfsg1", "CDISpecDirs": None}, None),
    ],
)
def test_whether_cdi_is_on(keys: dict[str, t.Any], expected: tuple[str, ...] | None) -> None:
    docker = parse_info(changed(**keys))
    assert docker is not None and docker.cdi_directories == expected


def spec(text: str = SPEC, path: str = "/var/run/cdi/nvidia.yaml") -> CdiSpec:
    return parse_spec(path, text)


def problems(info: str = RUNS, gpus: Gpus = GPUS, **evidence: t.Any) -> dict[str, str]:
    found = Runtime(docker=parse_info(info), **{"toolkit_version": "1.20.1", "specs": (spec(),), **evidence})
    reported = runtime_problems(found, gpus)
    assert {problem.severity.value for problem in reported} <= {"warning"}
    return {problem.code: problem.message for problem in reported}


NVIDIA_RUNTIME = {"Runtimes": {"nvidia": {"path": "nvidia-container-runtime"}, "runc": {"path": "runc"}}}


@pytest.mark.parametrize(
    ("keys", "evidence", "codes"),
    [
        ({}, {}, []),
        ({}, {"specs": (), "toolkit_version": None}, []),
        ({"CDISpecDirs": []}, {}, ["cdi_disabled"]),
        ({"CDISpecDirs": []}, {"toolkit_version": None, "specs": ()}, []),
        ({"ServerVersion": "20.10.24+dfsg1"}, {}, ["cdi_unsupported"]),
        (NVIDIA_RUNTIME, {}, []),
        ({**NVIDIA_RUNTIME, "CDISpecDirs": []}, {}, ["cdi_disabled", "legacy_gpu_hook"]),
        ({**NVIDIA_RUNTIME, "DefaultRuntime": "nvidia"}, {}, ["legacy_gpu_hook"]),
        ({**NVIDIA_RUNTIME, "DefaultRuntime": "nvidia", "CgroupDriver": "cgroupfs"}, {}, []),
        ({"ClientInfo": {"Version": "20.10.24", "Plugins": []}}, {}, ["compose_missing"]),
        ({"ClientInfo": {"Version": "20.10.24", "Plugins": None}}, {}, ["compose_missing"]),
        ({"ClientInfo": {"Version": "20.10.24", "Plugins": [{"Name": "compose", "Version": "v2.17.3"}]}}, {}, ["compose_too_old"]),
        ({}, {"specs": ()}, ["cdi_spec_missing"]),
        ({}, {"unreadable": {"/etc/cdi/x.yaml": "it has no kind"}}, ["cdi_spec_unreadable"]),
        ({}, {"gone": {"/var/run/cdi/nvidia.yaml": ("/dev/nvidia1",)}}, ["cdi_spec_stale"]),
    ],
)
def test_what_is_wrong(keys: dict[str, t.Any], evidence: dict[str, t.Any], codes: list[str]) -> None:
    assert list(problems(changed(**keys), **evidence)) == codes


@pytest.mark.parametrize(
    ("gpus", "says"),
    [
        (Gpus(UUIDS, "590.48.01"), "it is of driver 580.126.09, and 590.48.01 runs"),
        (Gpus((*UUIDS, "GPU-1"), "580.126.09"), "it lacks GPU-1"),
        (Gpus(UUIDS[:1], "580.126.09"), f"it has {UUIDS[1]}, which the driver does not show"),
    ],
)
def test_a_specification_that_is_out_of_date(gpus: Gpus, says: str) -> None:
    assert says in problems(gpus=gpus)["cdi_spec_stale"]


def test_one_that_names_gpus_by_number_alone() -> None:
    numbered = dataclasses.replace(spec(), devices={"0": ("/dev/nvidia0",), "all": ("/dev/nvidia0",)})
    assert "it has 1 GPUs, and the driver shows 2" in problems(specs=(numbered,))["cdi_spec_stale"]


def test_without_a_driver_nothing_is_compared() -> None:
    assert problems(gpus=Gpus()) == {}


def test_while_the_driver_does_not_know_all_uuids_none_is_compared() -> None:
    """It learns that of a GPU when the GPU is used for the first time after a boot."""
    assert problems(gpus=Gpus.shown([UUIDS[0], None], "580.126.09")) == {}
    assert "cdi_spec_stale" in problems(gpus=Gpus.shown([UUIDS[0]], "580.126.09"))


def test_where_containers_need_gpus_it_counts_although_there_is_no_toolkit() -> None:
    off = Runtime(docker=parse_info(changed(CDISpecDirs=[])))
    assert runtime_problems(off, GPUS) == []
    assert [problem.code for problem in runtime_problems(off, GPUS, for_gpus=True)] == ["cdi_disabled", "cdi_spec_missing"]


def test_an_engine_that_does_not_answer() -> None:
    said = problems(OFF, specs=(), toolkit_version=None)
    assert list(said) == ["container_runtime_unreachable"]
    assert "Is the docker daemon running?" in said["container_runtime_unreachable"]


# -- the host that is asked ------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(root: Path, name: str, script: str) -> None:
    path = root / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


def look(root: Path) -> dict[str, t.Any]:
    return ContainerHost(root, path=f"{root}/bin:/usr/bin:/bin").runtime().as_dict()


def file(root: Path, path: str, text: str = "") -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")


def test_a_host_without_an_engine(root: Path) -> None:
    found = look(root)
    assert (found["engine"], found["engines"], found["reachable"], found["cdi_devices"]) == (None, {}, False, [])


def test_a_host_with_everything(root: Path) -> None:
    program(root, "docker", f"cat <<'END'\n{RUNS}\nEND")
    program(root, "podman", "echo 'podman version 5.4.2'")
    program(root, "nvidia-ctk", "echo 'NVIDIA Container Toolkit CLI version 1.20.1'; echo 'commit: 0'")
    file(root, "/var/run/cdi/nvidia.yaml", SPEC)
    file(root, "/var/run/cdi/.nvidia.yaml4711", "half")
    file(root, "/etc/cdi/none.yml", "engines do not read it")
    file(root, "/etc/cdi/broken.json", "{")
    file(root, "/run/docker.pid", "4711")
    file(root, "/proc/4711/comm")
    for path in spec().paths[1:]:
        file(root, path)
    assert look(root) == {
        "engines": {"docker": "26.1.5+dfsg1", "podman": "5.4.2"},
        "engine": "docker",
        "version": "26.1.5+dfsg1",
        "running": True,
        "reachable": True,
        "compose_version": "2.26.1-4",
        "cgroup_driver": "systemd",
        "storage_driver": "overlay2",
        "default_runtime": "runc",
        "runtimes": ["runc"],
        "live_restore": True,
        "cdi": True,
        "cdi_devices": sorted(spec().names),
        "cdi_driver_version": "580.126.09",
        "toolkit_version": "1.20.1",
    }
    found = ContainerHost(root, path=f"{root}/bin:/usr/bin:/bin").runtime()
    assert found.gone == {"/var/run/cdi/nvidia.yaml": ("/dev/nvidiactl",)}
    assert list(found.unreadable) == ["/etc/cdi/broken.json"]


def test_an_engine_that_hangs_is_one_that_does_not_answer(root: Path) -> None:
    program(root, "docker", "echo 'it broke' >&2; exit 1")
    found = ContainerHost(root, path=f"{root}/bin:/usr/bin:/bin").runtime()
    assert found.docker is not None and found.docker.error == "it broke"


def test_podman_under_the_name_of_docker_is_no_docker(root: Path) -> None:
    program(root, "docker", "echo '{\"host\": {}}'")
    program(root, "podman", "echo 'podman version 5.4.2'")
    found = look(root)
    assert (found["engine"], found["version"]) == ("podman", "5.4.2")
