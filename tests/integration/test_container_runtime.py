# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role container_runtime on real hosts: a real Docker from apt, real CDI, and a container whose GPU nothing takes away."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
import yaml

from .deployment import Deployment, Run
from .docker_hosts import IMAGE, DockerHost, docker_host
from .gpu_hosts import APT_INSTALL, gpu_host

DRIVER = "580.126.09"
NEWER_DRIVER = "590.48.01"
# Its unit writes the specification only after Docker has started its containers.
TOOLKIT = "1.19.0"
NEWER_TOOLKIT = "1.20.1"
OLDER_TOOLKIT = "1.17.8"
DAEMON_JSON = "/etc/docker/daemon.json"
OPERATORS = {"registry-mirrors": ["https://mirror.example.org"], "features": {"buildkit": True}}
WANTED: dict[str, t.Any] = {
    "container_runtime_gpus": True,
    "container_runtime_toolkit_version": TOOLKIT,
    "container_runtime_toolkit_repository": {"uris": "file:/srv/range-gpus/apt", "suites": "./", "trusted": True},
}
PLAYBOOK = [
    {
        "hosts": "all",
        "become": True,
        "gather_facts": False,
        "tasks": [
            {"name": "Provide the runtime", "ansible.builtin.import_role": {"name": "baremetal.llm.container_runtime"}},
            {"name": "Look", "baremetal.llm.gpu_info": {}},
        ],
    }
]
ABSENT = [{**PLAYBOOK[0], "tasks": [{"ansible.builtin.import_role": {"name": "baremetal.llm.container_runtime", "tasks_from": "absent"}}]}]
SERVICE = f"""\
services:
  engine:
    image: {IMAGE}
    container_name: engine
    init: true
    restart: unless-stopped
    command: [sleep, infinity]
    deploy:
      resources:
        reservations:
          devices: [{{driver: cdi, device_ids: ["nvidia.com/gpu=1"], capabilities: [gpu]}}]
"""


def play(host: Deployment, *flags: str, playbook: t.Any = PLAYBOOK, **extra: t.Any) -> Run:
    path = host.directory / "play.yml"
    path.write_text(yaml.safe_dump(playbook), encoding="utf-8")
    return host.play(str(path), {**WANTED, **extra}, *flags)


def codes(run: Run) -> list[str]:
    return [problem["code"] for problem in run.task("Look").result["problems"]]


@pytest.fixture(scope="module")
def host() -> t.Iterator[DockerHost]:
    with gpu_host("container-runtime", "a10", "rtx5090", driver=DRIVER, distribution="debian13", docker=True) as bare:
        bare.run("rm", "/etc/apt/sources.list.d/range-gpus.sources")
        bare.run("mkdir", "-p", "/etc/docker", "/srv/engine")
        bare.put(DAEMON_JSON, json.dumps(OPERATORS).encode())
        bare.put("/srv/engine/compose.yaml", SERVICE.encode())
        yield DockerHost(bare.name, bare.address, bare.directory)


def everything(host: DockerHost) -> str:
    paths = f"{DAEMON_JSON} /etc/apt /etc/systemd/system /usr/local/libexec /etc/cdi"
    return host.run("sh", "-c", f"'dpkg-query -W; find {paths} -printf \"%p %s %T@ %l\\n\" 2>/dev/null | sort'")


def daemon_json(host: DockerHost) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(host.run("cat", DAEMON_JSON))
    return found


def engine_pid(host: DockerHost) -> int:
    return int(host.inspect("engine")["State"]["Pid"])


def sees_its_gpu(host: DockerHost) -> bool:
    """The simulated device says ENXIO to who may open it, and EPERM to who may not."""
    return "No such device or address" in host.docker("exec", "engine", "cat", "/dev/nvidia1", check=False)


def wait_for_the_engine(host: DockerHost) -> None:
    deadline = time.monotonic() + 30
    while not host.docker("ps", "--quiet", "--filter", "name=engine", check=False).strip():
        assert time.monotonic() < deadline, host.docker("ps", "--all")
        time.sleep(0.5)


def test_a_check_changes_nothing(host: DockerHost) -> None:
    before = everything(host)
    run = play(host, "--check")
    assert run.rc == 0, run.output
    assert run.changed
    assert everything(host) == before


def test_from_a_bare_host_to_a_runtime_with_gpus(host: DockerHost) -> None:
    run = play(host)
    assert run.rc == 0, run.output
    runtime = run.task("Look").result["container_runtime"]
    assert (runtime["reachable"], runtime["cdi"], runtime["live_restore"], runtime["toolkit_version"]) == (True, True, True, TOOLKIT)
    assert runtime["compose_version"].startswith("2.")
    assert runtime["cdi_driver_version"] == DRIVER
    assert {"nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=all"} < set(runtime["cdi_devices"])
    assert codes(run) == []
    versions = host.run("dpkg-query", "--show", "*nvidia-container*").split()[1::2]
    assert versions == [f"{TOOLKIT}-1"] * 4


def test_what_the_operator_wrote_stays(host: DockerHost) -> None:
    config = daemon_json(host)
    assert config["registry-mirrors"] == OPERATORS["registry-mirrors"]
    assert config["features"] == {"buildkit": True, "cdi": True}
    assert config["log-opts"] == {"max-size": "50m", "max-file": "5"}


def test_a_second_run_changes_nothing_and_only_looks(host: DockerHost) -> None:
    before = everything(host)
    again = play(host)
    assert (again.rc, again.changed) == (0, []), again.output
    assert everything(host) == before
    names = [task.name.rpartition(" : ")[2] for task in again.tasks if "Validating arguments" not in task.name]
    assert names == ["Look at the container runtime", "Provide it", "Look"]


def test_a_container_keeps_its_gpu(host: DockerHost) -> None:
    """Through a daemon-reload, and through a restart of Docker that a change of its configuration needs: it goes on running."""
    host.import_image()
    host.docker("compose", "--project-directory", "/srv/engine", "up", "--detach")
    assert sees_its_gpu(host)
    pid = engine_pid(host)

    host.run("systemctl", "daemon-reload")
    assert sees_its_gpu(host)

    run = play(host, container_runtime_config={"max-concurrent-downloads": 2})
    assert run.rc == 0, run.output
    assert run.task("Set up Docker and CDI").result["restarted"] is True
    assert (engine_pid(host), sees_its_gpu(host)) == (pid, True)
    again = play(host, container_runtime_config={"max-concurrent-downloads": 2})
    assert again.changed == [], again.output


def test_after_a_reboot_the_container_runs_and_has_its_gpu(host: DockerHost) -> None:
    """Docker 26 alone does not start it: it knows CDI only after it has tried. And NVIDIA's unit writes the specification too late."""
    host.reboot()
    wait_for_the_engine(host)
    assert sees_its_gpu(host)
    assert "ordering cycle" not in host.run("journalctl", "--boot", "--quiet", "--no-pager")
    assert play(host).changed == []


def test_after_a_driver_upgrade_the_next_boot_brings_the_new_libraries(host: DockerHost) -> None:
    host.run("sh", "-c", "'mkdir -p /etc/cdi && cp /var/run/cdi/nvidia.yaml /etc/cdi/nvidia.yaml'")
    host.run(
        "sh",
        "-c",
        "'echo deb [trusted=yes] file:/srv/range-gpus/apt ./ > /etc/apt/sources.list.d/range.list; apt-get -qq update'",
        check=False,
    )
    host.install_driver(NEWER_DRIVER)
    host.reboot()
    wait_for_the_engine(host)
    assert sees_its_gpu(host)
    spec = host.run("cat", "/var/run/cdi/nvidia.yaml")
    assert f"libcuda.so.{NEWER_DRIVER}" in spec and DRIVER not in spec
    assert "libcuda.so" in host.docker("exec", "engine", "ls", f"/usr/lib/x86_64-linux-gnu/libcuda.so.{NEWER_DRIVER}")

    # What somebody once wrote to /etc/cdi is of the old driver still.
    looked = host.play(str(_looking(host)))
    assert codes(looked) == ["cdi_spec_stale"]
    message = looked.task("Look").result["problems"][0]["message"]
    assert f"/etc/cdi/nvidia.yaml is out of date: it is of driver {DRIVER}, and {NEWER_DRIVER} runs" in message
    run = play(host)
    assert run.rc == 0, run.output
    assert codes(run) == []
    assert NEWER_DRIVER in host.run("cat", "/etc/cdi/nvidia.yaml")


def _looking(host: DockerHost) -> t.Any:
    path = host.directory / "look.yml"
    path.write_text(yaml.safe_dump([{**PLAYBOOK[0], "tasks": PLAYBOOK[0]["tasks"][1:]}]), encoding="utf-8")  # type: ignore[index]
    return path


def test_the_toolkit_moves_all_together_and_apt_keeps_it_there(host: DockerHost) -> None:
    host.run("apt-get", "-qq", "update")
    policy = host.run("apt-cache", "policy", "libnvidia-container1")
    assert f"Candidate: {TOOLKIT}-1" in policy and NEWER_TOOLKIT in policy
    host.run(*APT_INSTALL, f"libnvidia-container1={NEWER_TOOLKIT}-1")
    mended = play(host)
    assert mended.rc == 0, mended.output
    assert host.run("dpkg-query", "--show", "*nvidia-container*").split()[1::2] == [f"{TOOLKIT}-1"] * 4
    pid = engine_pid(host)
    moved = play(host, container_runtime_toolkit_version=NEWER_TOOLKIT)
    assert moved.rc == 0, moved.output
    assert host.run("dpkg-query", "--show", "*nvidia-container*").split()[1::2] == [f"{NEWER_TOOLKIT}-1"] * 4
    assert play(host, container_runtime_toolkit_version="").changed == [], "empty is what is installed"
    assert (engine_pid(host), sees_its_gpu(host)) == (pid, True)


def test_with_a_toolkit_that_has_no_units_the_container_has_its_gpu_after_a_boot_as_well(host: DockerHost) -> None:
    older = play(host, container_runtime_toolkit_version=OLDER_TOOLKIT)
    assert older.rc == 0, older.output
    assert "nvidia-cdi-refresh" not in host.run("ls", "/usr/lib/systemd/system")
    host.reboot()
    wait_for_the_engine(host)
    assert sees_its_gpu(host)


def test_docker_is_not_restarted_while_that_would_stop_a_container(host: DockerHost) -> None:
    wish = {"container_runtime_toolkit_version": "", "container_runtime_live_restore": False}
    before, pid = daemon_json(host), engine_pid(host)
    refused = play(host, **wish)
    assert refused.rc != 0
    assert "these containers would stop: engine" in refused.failure and "container_runtime_restart: true allows it" in refused.failure
    assert (daemon_json(host), engine_pid(host)) == (before, pid)

    allowed = play(host, **wish, container_runtime_restart=True)
    assert allowed.rc == 0, allowed.output
    wait_for_the_engine(host)
    assert engine_pid(host) != pid and sees_its_gpu(host)


@pytest.mark.parametrize(
    ("text", "config", "says"),
    [
        ('{"live-restore": true,}', {}, "/etc/docker/daemon.json is no JSON: "),
        ('["live-restore"]', {}, "has to be a JSON object, and is a list"),
        (None, {"bogus": 1}, "bogus"),
        (None, {"log-driver": "journald", "log-opts": {"nonsense": 1}}, "daemon.json"),
    ],
)
def test_a_bad_daemon_json_changes_nothing(host: DockerHost, text: str | None, config: dict[str, t.Any], says: str) -> None:
    good = host.run("cat", DAEMON_JSON)
    if text is not None:
        host.put(DAEMON_JSON, text.encode())
    before = everything(host)
    try:
        run = play(host, container_runtime_toolkit_version="", container_runtime_config=config)
        assert run.rc != 0
        assert says in run.failure and "it has been left as it is" in run.failure
        assert everything(host) == before
    finally:
        host.put(DAEMON_JSON, good.encode())


def test_gone_is_what_was_written_and_docker_stays(host: DockerHost) -> None:
    run = play(host, playbook=ABSENT)
    assert run.rc == 0 and run.changed, run.output
    assert "baremetal-llm" not in everything(host)
    assert "docker.io" in host.run("dpkg-query", "--show", "docker.io")
    assert play(host, playbook=ABSENT).changed == []


# -- other hosts -----------------------------------------------------------------------------------------------------------


def test_an_existing_runtime_is_left_alone() -> None:
    with docker_host("existing-runtime", "a10", driver=DRIVER) as host:
        before = everything(host)
        run = play(host, container_runtime_source="existing", container_runtime_gpus=False)
        assert (run.rc, run.changed) == (0, []), run.output
        lacking = play(host, container_runtime_source="existing")
        assert lacking.rc != 0
        assert "CDI, by which containers keep their GPUs, is off in Docker 26" in lacking.failure
        other = play(host, container_runtime_source="docker")
        assert other.rc != 0
        assert "docker.io 26" in other.failure and "container_runtime_source: distribution to keep it" in other.failure
        assert everything(host) == before


def test_of_debian_12_docker_is_too_old() -> None:
    with gpu_host("old-runtime", "a10", driver="none", distribution="debian12") as host:
        run = play(host)
        assert run.rc != 0 and run.changed == []
        assert "its Docker 20.10 has neither CDI nor Compose v2" in run.failure
        assert "container_runtime_source: docker" in run.failure
