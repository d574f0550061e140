# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services in containers, on a host with a real Docker: the release of the host in a small base image, from the first run to the last."""

from __future__ import annotations

import io
import json
import tarfile
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .deployment import ROOT, Run
from .docker_hosts import DockerHost, docker_host

BASE = "range/base:latest"
KEY = "sk-of-the-compose-test-1"
NEW_KEY = "sk-of-the-compose-test-2"
OTHER_KEY = "sk-of-another-service"
MODEL = "/srv/models/tiny.gguf"
PORT = 8080
# A release that is unpacked, not built; and what this machine lets a container have.
RELEASE = "/srv/release.tar.gz"
ULIMITS = {"nofile": 4096}


def packed(binary: str) -> bytes:
    """The programs beside this one, as upstream's archives have them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(Path(binary).parent, "llama/bin")
    return buffer.getvalue()


def furnish(host: DockerHost, llama_server: str) -> None:
    """What a deployment finds: a base image, a model and the archive of a release."""
    host.run("apt-get", "-qq", "update")
    host.run("DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "install", "libgomp1")
    # bash for the health check; mawk, since a C library without its mathematics is none.
    host.import_image(BASE, programs=("bash", "dash", "mawk", "cat", "ls"))
    host.run("mkdir", "-p", "/srv/models")
    host.put(MODEL, (ROOT / ".cache" / "quickstart" / "quickstart-tiny.gguf").read_bytes())
    host.put(RELEASE, packed(llama_server))


@pytest.fixture(scope="module")
def host(llama_server: str) -> t.Iterator[DockerHost]:
    with docker_host("compose-service") as host:
        furnish(host, llama_server)
        yield host


def service(name: str = "tiny", port: int = PORT, **more: t.Any) -> dict[str, t.Any]:
    options = {"ctx_size": 2048, "parallel": 2, **more.pop("options", {})}
    described = {"name": name, "manager": "compose", "model": {"file": MODEL}, "host": "0.0.0.0", "port": port, "api_key": KEY}
    return {**described, "options": options, "resources": {"ulimits": ULIMITS}, **more}


OTHER = service("other", 8081, api_key=OTHER_KEY)
# The file is there, and no adapter: llama-server ends at once.
NO_ADAPTER = "/srv/models/no-adapter.gguf"
BAD = service("bad", 8082, options={"lora": NO_ADAPTER})


class Wanted:
    def __init__(self, host: DockerHost) -> None:
        self._host = host
        self._source = {"kind": "prebuilt", "path": RELEASE, "sha256": host.run("sha256sum", RELEASE).split()[0]}

    def _variables(self, services: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
        return {
            "inference_services": services,
            "inference_base_image": BASE,
            "llama_cpp_source": self._source,
            "models_local_files": [],
            "inference_probe_timeout": 60,
        }

    def play(self, *services: dict[str, t.Any], playbook: str = "site.yml", flags: t.Sequence[str] = ()) -> Run:
        return self._host.play(playbook, self._variables(services), *flags)

    def play_and_kill(self, task: str, *services: dict[str, t.Any], seconds: float = 0.0) -> None:
        """The task is the last that was finished; the kill falls into what comes next, that many seconds later."""
        self._host.play_and_kill(lambda: any(entry.name.endswith(task) for entry in self._host.tasks()), self._variables(services), seconds)


@pytest.fixture(scope="module")
def site(host: DockerHost) -> Wanted:
    return Wanted(host)


def slots(host: DockerHost, port: int = PORT, key: str = KEY, seconds: float = 15) -> int:
    """How many slots the server says it has: proof that it answers, and with which settings."""
    request = urllib.request.Request(f"http://{host.address}:{port}/props", headers={"Authorization": f"Bearer {key}"})
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return int(json.load(reply)["total_slots"])
        except urllib.error.HTTPError as refused:
            if refused.code != 503 or time.monotonic() > deadline:  # 503: it is loading
                raise
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def ids(host: DockerHost) -> dict[str, str]:
    """The containers by name."""
    listed = host.docker("ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}")
    return dict(line.split() for line in listed.splitlines())


def policy(host: DockerHost, name: str = "inference-tiny") -> str:
    return str(host.inspect(name)["HostConfig"]["RestartPolicy"]["Name"])


# -- the first run -----------------------------------------------------------------------------------------------------


def test_check_mode_tells_and_changes_nothing(host: DockerHost, site: Wanted) -> None:
    run = site.play(service(), flags=("--check", "--diff"))
    assert run.rc == 0, run.output
    assert run.task("Write the services").changed
    assert "configuration, container" in run.output
    assert ids(host) == {} and "inference" not in host.run("ls", "/etc")


@pytest.fixture(scope="module")
def served(host: DockerHost, site: Wanted) -> DockerHost:
    run = site.play(service(), OTHER)
    assert run.rc == 0, run.output
    return host


def test_it_serves_with_its_key_alone(served: DockerHost) -> None:
    assert slots(served) == 2
    with pytest.raises(urllib.error.HTTPError, match="401"):
        slots(served, key="sk-wrong")


def test_the_container_has_no_privileges(served: DockerHost) -> None:
    shown = served.inspect("inference-tiny")
    config, host_config = shown["Config"], shown["HostConfig"]
    uid, gid = (served.run("id", option, "inference").strip() for option in ("-u", "-g"))
    assert config["User"] == f"{uid}:{gid}" and uid != "0"
    assert host_config["ReadonlyRootfs"] and host_config["CapDrop"] == ["ALL"]
    assert host_config["SecurityOpt"] == ["no-new-privileges:true"]
    assert host_config["LogConfig"] == {"Type": "local", "Config": {"max-file": "5", "max-size": "20m"}}
    assert config["Image"] == BASE
    pid = shown["State"]["Pid"]
    status = served.run("cat", f"/proc/{pid}/status")
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status and f"Uid:\t{uid}" in status
    writable = [mount["Destination"] for mount in shown["Mounts"] if mount["RW"]]
    assert writable == ["/var/lib/inference/tiny"]


def test_docker_starts_it_again_once_it_has_been_proven(served: DockerHost) -> None:
    assert policy(served) == "unless-stopped"
    served.run("kill", "-9", str(served.inspect("inference-tiny")["State"]["Pid"]))
    assert slots(served) == 2


def test_the_key_is_nowhere(served: DockerHost) -> None:
    for shown in (
        served.docker("inspect", "inference-tiny"),
        served.run("cat", "/etc/inference/tiny/compose.yaml"),
        served.run("ps", "axeww"),
        served.docker("logs", "inference-tiny"),
        served.docker("compose", "--file", "/etc/inference/tiny/compose.yaml", "config"),
    ):
        assert KEY not in shown
    assert sorted(served.run("grep", "-rl", KEY, "/etc", "/var/lib/inference", check=False).split()) == [
        "/etc/inference/tiny/accepted/api-key",
        "/etc/inference/tiny/api-key",
    ]
    assert served.run("stat", "-c", "%a:%U", "/etc/inference/tiny/api-key", "/etc/inference/tiny").split() == ["600:inference", "700:root"]


def test_a_second_run_changes_nothing(served: DockerHost, site: Wanted) -> None:
    before = ids(served)
    for flags in (("--check",), ()):
        again = site.play(service(), OTHER, flags=flags)
        assert (again.rc, again.changed) == (0, []), again.output
    assert ids(served) == before


def test_it_becomes_healthy(served: DockerHost) -> None:
    deadline = time.monotonic() + 30
    while served.inspect("inference-tiny")["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < deadline
        time.sleep(1)


# -- what happens to it ------------------------------------------------------------------------------------------------


def edited(host: DockerHost, name: str) -> None:
    file = f"/etc/inference/{name}/compose.yaml"
    host.run("sed", "-i", '\'s/"--parallel", "2"/"--parallel", "7"/\'', file)
    host.docker("compose", "--file", file, "up", "--detach")


def removed(host: DockerHost, name: str) -> None:
    host.docker("rm", "--force", f"inference-{name}")


def stopped(host: DockerHost, name: str) -> None:
    host.docker("stop", f"inference-{name}")


def not_to_be_started(host: DockerHost, name: str) -> None:
    host.docker("update", "--restart=no", f"inference-{name}")


@pytest.mark.parametrize(("to_tiny", "to_other"), [(edited, removed), (stopped, not_to_be_started)])
def test_what_somebody_did_to_them_is_undone(
    served: DockerHost, site: Wanted, to_tiny: t.Callable[[DockerHost, str], None], to_other: t.Callable[[DockerHost, str], None]
) -> None:
    to_tiny(served, "tiny")
    to_other(served, "other")
    run = site.play(service(), OTHER)
    assert run.rc == 0, run.output
    assert (slots(served), slots(served, 8081, OTHER_KEY)) == (2, 2)
    assert (policy(served), policy(served, "inference-other")) == ("unless-stopped", "unless-stopped")


def changed(parallel: int) -> dict[str, t.Any]:
    return service(options={"parallel": parallel}, api_key=NEW_KEY)


@pytest.mark.parametrize(
    ("parallel", "task", "seconds"),
    [
        (3, "Write the services", 0.5),  # the old container stops
        (4, "Make the container", 0.0),  # made, and not yet on trial
        (5, "Keep Docker from starting it again until it has been proven", 0.2),  # on trial, and being started
        (6, "Wait until it serves", 0.0),  # it serves, and was not accepted
    ],
)
def test_ansible_killed_at_its_work(served: DockerHost, site: Wanted, parallel: int, task: str, seconds: float) -> None:
    other = ids(served)["inference-other"]
    site.play_and_kill(task, changed(parallel), seconds=seconds)
    healed = site.play(changed(parallel))
    assert healed.rc == 0, healed.output
    assert slots(served, key=NEW_KEY) == parallel and policy(served) == "unless-stopped"
    for name in ("compose.yaml", "api-key"):
        served.run("cmp", f"/etc/inference/tiny/{name}", f"/etc/inference/tiny/accepted/{name}")
    assert ids(served)["inference-other"] == other


@pytest.mark.parametrize(
    "disturb",
    [lambda host: host.run("systemctl", "daemon-reload"), lambda host: host.run("systemctl", "restart", "docker"), DockerHost.reboot],
    ids=["daemon-reload", "restart", "reboot"],
)
def test_it_outlives(served: DockerHost, disturb: t.Callable[[DockerHost], object]) -> None:
    before = ids(served)
    disturb(served)
    assert slots(served, key=NEW_KEY, seconds=60) == 6
    assert ids(served) == before


def test_after_all_that_nothing_is_left_to_do(served: DockerHost, site: Wanted) -> None:
    before = ids(served)
    again = site.play(changed(6), OTHER)
    assert (again.rc, again.changed) == (0, []), again.output
    assert ids(served) == before


def test_only_what_has_changed_is_made_anew_and_no_key_is_told(served: DockerHost, site: Wanted) -> None:
    before = ids(served)
    run = site.play(service(), OTHER, flags=("-vvv", "--diff"))
    assert run.rc == 0, run.output
    assert not [key for key in (KEY, NEW_KEY, OTHER_KEY) if key in run.output]
    after = ids(served)
    assert slots(served) == 2 and slots(served, 8081, OTHER_KEY) == 2
    assert after["inference-tiny"] != before["inference-tiny"] and after["inference-other"] == before["inference-other"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        slots(served, key=NEW_KEY)


# -- what does not serve -----------------------------------------------------------------------------------------------


def test_what_never_served_is_stopped_after_one_start(served: DockerHost, site: Wanted) -> None:
    served.put(NO_ADAPTER, b"GGUF, or so")
    run = site.play(service(), BAD)
    assert run.rc != 0 and slots(served) == 2
    shown = served.inspect("inference-bad")
    assert (shown["State"]["Status"], shown["RestartCount"], policy(served, "inference-bad")) == ("exited", 0, "no")


def test_after_a_bad_change_the_old_container_serves_again(served: DockerHost, site: Wanted) -> None:
    run = site.play(service(options={"lora": NO_ADAPTER}))
    assert run.rc != 0
    assert "it has ended (it exited with status 1)" in run.failure, run.failure
    assert "exiting due to model loading error" in run.failure
    assert slots(served) == 2 and policy(served) == "unless-stopped"
    assert site.play(service()).changed == []


# -- bad input ---------------------------------------------------------------------------------------------------------


# What is found in the description and on the host, and what the release itself has to be asked about.
AT_FIRST = {
    "image: 'Not An Image' cannot name an image": service("painted", 8083, image="Not An Image"),
    "name: 'la.te' cannot name a project of Compose": service("la.te", 8084),
    "resources.cpus: 4096 is more than the": service("greedy", 8085, resources={"cpus": 4096}),
    f"port: {PORT} is also the port of tiny": service("twin", PORT),
}
OF_THE_RELEASE = {"Did you mean ctx_size?": service("mistyped", 8086, options={"ctx_sise": 1})}


@pytest.mark.parametrize("described", [AT_FIRST, OF_THE_RELEASE], ids=["at-first", "of-the-release"])
def test_bad_input_stops_it_before_any_change(served: DockerHost, site: Wanted, described: dict[str, dict[str, t.Any]]) -> None:
    before = ids(served)
    run = site.play(service(), *described.values())
    assert run.rc != 0
    assert [told for told in described if told not in run.failure] == [], run.failure
    assert "Traceback" not in run.output
    assert ids(served) == before and slots(served) == 2


def test_a_daemon_that_does_not_answer_is_one_clear_error(served: DockerHost, site: Wanted) -> None:
    """The task that writes the project is meant: nothing else starts Docker here."""
    playbook = served.directory / "write.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - baremetal.llm.inference_service:\n"
        '        service: "{{ inference_services[0] }}"\n        binary: /opt/llama.cpp/current/bin/llama-server\n',
        encoding="utf-8",
    )
    served.run("systemctl", "stop", "docker.socket", "docker.service")
    try:
        run = site.play(service(), playbook=str(playbook))
        assert "manager: compose needs Docker, whose daemon does not answer: Cannot connect to the Docker daemon" in run.failure
    finally:
        served.run("systemctl", "start", "docker.service")
    assert slots(served) == 2


# -- the end -----------------------------------------------------------------------------------------------------------


def test_absent_leaves_nothing_but_images(served: DockerHost, site: Wanted) -> None:
    for _again in range(2):
        run = site.play(service(), OTHER, BAD, playbook="playbooks/remove.yml")
        assert run.rc == 0, run.output
    assert run.changed == []
    assert ids(served) == {}
    assert "inference" not in served.docker("network", "ls")
    assert served.run("ls", "-d", "/etc/inference", "/var/lib/inference", "/opt/llama.cpp", check=False).count("No such file") == 3
    assert "inference" not in served.run("cat", "/etc/passwd")
    assert BASE.partition(":")[0] in served.docker("images")
