# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in what is said of a vLLM box: each is one clear error that names it and its remedy, and the host stays as it was."""

from __future__ import annotations

import contextlib
import json
import re
import typing as t

import pytest
from ansible_collections.baremetal.llm.plugins.filter.service_of_command import service_of_command
from ansible_collections.baremetal.llm.tests.example_hub import example_hub
from ansible_collections.baremetal.llm.tests.vllm.imagelib.model import CONFIG

from .deployment import ROOT, Run
from .docker_hosts import DockerHost, docker_host

DRIVER = "580.126.09"
ALIAS = "vllm-1"
COMMANDS = ROOT / "tests" / "unit" / "plugins" / "fixtures" / "vllm" / "docker_run.txt"
# What a container may have on a host of the range.
RESOURCES = {"memory": "14GiB", "shm_size": "10GiB", "ulimits": {"nofile": 4096}}
# Models on the host: any, and that of the guide.
DIRECTORIES = ("/opt/models/mistral", "/opt/models/solidrust-mistral-7b-instruct-v0.3-awq")
EXISTING = {"container_runtime_source": "existing", "container_runtime_gpus": False}


def configured(**options: t.Any) -> dict[str, t.Any]:
    """The class with these options beside those that all its configurations have."""
    return {"vllm_configurations": {"full": {"options": options, "environment": {}, "resources": {}}}}


def service(name: str, port: int, utilisation: float, **more: t.Any) -> dict[str, t.Any]:
    return {
        "name": name,
        "engine": "vllm",
        "manager": "compose",
        "image": "vllm/vllm-openai:v0.33.0",
        "model": {"repo_id": "solidrust/Mistral-7B-Instruct-v0.3-AWQ", "revision": "main"},
        "gpus": [0],
        "port": port,
        "options": {"gpu_memory_utilization": utilisation, "max_model_len": 8192},
        **more,
    }


CASES: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "an image without a digest where the lock is required": (
        {"inference_require_lock": True, "inference_lock_file": "/nowhere/deploy.lock.yml", "vllm_model": {"file": "/opt/models/mistral"}},
        ["the image vllm/vllm-openai:v0.33.0 is not locked", "/nowhere/deploy.lock.yml", "Run playbooks/lock.yml"],
    ),
    "an unknown option": (configured(max_num_seq=32), ["max_num_seq", "Did you mean max_num_seqs"]),
    "an option that the image's release does not have": (
        {**configured(shutdown_timeout=60), "vllm_image": "vllm/vllm-openai:v0.15.0"},
        ["shutdown_timeout", "0.15.0"],
    ),
    "an option that the image's release no longer has": (configured(calculate_kv_scales=True), ["calculate_kv_scales", "Leave it out"]),
    "two services on one port": (
        {"inference_services": [service("one", 8000, 0.4), service("two", 8000, 0.4)]},
        ["one", "two", "8000"],
    ),
    "two services that want more of a GPU than it has": (
        {"inference_services": [service("one", 8000, 0.6), service("two", 8001, 0.6)]},
        ["two: options.gpu_memory_utilization: 0.6 of GPU 0 is more than one leaves of it, 0.4", "at most 0.95 together"],
    ),
    "a GPU that is not there": ({"vllm_gpus": [3]}, ["3", "NVIDIA A10"]),
    "less memory than the plan needs": ({"vllm_resources": {**RESOURCES, "memory": "11GiB"}}, ["resources.memory", "11"]),
    "less shared memory than is offloaded to it": (
        {"vllm_resources": {**RESOURCES, "shm_size": "2GiB"}},
        ["kv_offloading_size", "resources.shm_size"],
    ),
    "a driver that is too old for the image": (
        {"nvidia_driver_version": "570.211.01"},
        ["570", "580"],
    ),
}


class Box:
    def __init__(self, host: DockerHost, endpoint: str) -> None:
        self.host = host
        self._overridden = {
            "models_hub_endpoint": endpoint,
            "nvidia_repository_manage": False,
            "container_runtime_manage_repositories": False,
            "vllm_resources": RESOURCES,
            "vault_mistral_awq_api_key": "a-key-of-the-tests-0123456789abcdef",
        }

    def play(self, extra: t.Mapping[str, t.Any]) -> Run:
        return self.host.play("site.yml", {**self._overridden, **extra}, "--limit", ALIAS)

    def state(self) -> str:
        """What a refused run must leave alone: packages, files, containers and images."""
        paths = "/etc/apt /etc/docker /etc/cdi /etc/inference /etc/systemd/system /opt /var/lib/inference /etc/passwd"
        return self.host.run(
            "sh",
            "-c",
            f"'dpkg-query -W; find {paths} -printf \"%p %l %T@ %s\\n\" 2>/dev/null | sort; docker ps -aq; docker images -q'",
            check=False,
        )

    def refused(self, extra: t.Mapping[str, t.Any]) -> str:
        """What a run says that has to stop before it changes anything."""
        before = self.state()
        run = self.play(extra)
        assert run.rc != 0, run.output
        assert "Traceback" not in run.output
        assert run.changed == []
        assert self.state() == before
        assert len([task for task in run.tasks if task.status == "failed"]) == 1
        return run.failure


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Box]:
    with (
        example_hub(tmp_path_factory.mktemp("models")) as hub,
        docker_host("vllm-refused", "a10", driver=DRIVER, inventories=("inventories/example",), alias=ALIAS) as host,
    ):
        host.run("mkdir", "-p", *DIRECTORIES)
        for directory in DIRECTORIES:
            host.put(f"{directory}/config.json", json.dumps(CONFIG).encode())
            host.put(f"{directory}/tokenizer.json", b"{}")
            host.run("truncate", "--size=3960M", f"{directory}/model.safetensors")
        yield Box(host, hub.endpoint)


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error_and_nothing_changed(box: Box, case: str) -> None:
    extra, words = CASES[case]
    failure = box.refused(extra)
    for word in words:
        assert word in failure, failure
    assert len(failure.splitlines()) == 1, failure


# -- the commands of the guide that the class comes from ---------------------------------------------------------------------


def literal(title: str) -> dict[str, t.Any]:
    """What an inventory says that takes a command of the guide word by word."""
    text = COMMANDS.read_text(encoding="utf-8")
    command = text.partition(f"# {title}\n")[2].partition("\n\n")[0]
    described: dict[str, t.Any] = service_of_command(command)["service"]
    return described


METRICS = ("options.disable_log_stats takes all of vLLM's metrics away", "Leave it out")
TOKENIZER = ("options.tokenizer_mode: mistral needs tekken.json or tokenizer.model.v*", "Leave it out")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("recommended", [METRICS, TOKENIZER]),
        (
            "all together",
            [
                ("options.calculate_kv_scales", "Leave it out"),
                METRICS,
                TOKENIZER,
                (
                    "options.kv_offloading_size takes 16.0 GiB of /dev/shm at the start, but resources.shm_size is 8.00 GiB",
                    "resources.shm_size: 17GiB",
                ),
            ],
        ),
    ],
)
def test_a_command_of_the_guide_is_refused_with_all_that_is_wrong(box: Box, title: str, expected: list[tuple[str, str]]) -> None:
    # Of its 8 CPUs and 32 GiB, what this machine lacks is told as well.
    lines = [line for line in box.refused({"inference_services": [literal(title)]}).splitlines() if "resources.cpus" not in line]
    for what, instead in expected:
        assert [line for line in lines if what in line and instead in line], lines
    assert len(lines) == len(expected), lines


# -- the runtime ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def without(box: Box, path: str) -> t.Iterator[None]:
    box.host.run("mv", path, f"{path}.away")
    try:
        yield
    finally:
        box.host.run("mv", f"{path}.away", path)


def test_compose_missing(box: Box) -> None:
    plugin = box.host.run("sh", "-c", "'dpkg -L docker-compose | grep cli-plugins/docker-compose$'").strip()
    with without(box, plugin):
        failure = box.refused(EXISTING)
    assert re.search(r"Compose", failure) and len(failure.splitlines()) == 1, failure


def test_docker_does_not_answer(box: Box) -> None:
    box.host.run("systemctl", "stop", "docker.socket", "docker.service")
    try:
        failure = box.refused(EXISTING)
    finally:
        box.host.run("systemctl", "start", "docker.service", "docker.socket")
    assert "Docker" in failure and "systemctl" in failure, failure
