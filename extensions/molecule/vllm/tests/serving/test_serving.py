"""The service serves: asked from outside the host, and looked at inside."""

from __future__ import annotations

import json
import os
import pathlib
import urllib.error
import urllib.request
from typing import Any

import pytest

CONTAINER = "inference-mistral-awq"
PROJECT = "/etc/inference/mistral-awq"


@pytest.fixture
def key() -> str:
    return pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "api-key").read_text(encoding="utf-8").strip()


@pytest.fixture
def container(host: Any) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(host.check_output(f"docker inspect {CONTAINER}"))
    return found[0]


def get(host: Any, path: str, key: str | None, question: dict[str, Any] | None = None) -> str:
    """From this machine, as a client would."""
    request = urllib.request.Request(
        f"http://{host.ansible.get_variables()['ansible_host']}:8000{path}",
        data=json.dumps(question).encode() if question else None,
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return str(reply.read().decode())


def test_it_answers_a_question(host: Any, key: str) -> None:
    question = {"model": "mistral-awq", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
    reply = json.loads(get(host, "/v1/chat/completions", key, question))
    assert (reply["model"], reply["usage"]["completion_tokens"]) == ("mistral-awq", 8)


def test_it_has_the_name_and_the_context_of_the_class(host: Any, key: str) -> None:
    (model,) = json.loads(get(host, "/v1/models", key))["data"]
    assert (model["id"], model["max_model_len"]) == ("mistral-awq", 32768)


def test_it_shows_its_load(host: Any) -> None:
    assert "vllm:num_requests_waiting{" in get(host, "/metrics", None)


def test_it_refuses_who_has_no_key(host: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(host, "/v1/models", None)
    assert refused.value.code == 401


def test_the_options_of_the_class_are_those_that_it_runs_with(container: dict[str, Any]) -> None:
    words = container["Args"]
    for option, value in {
        "--max-num-batched-tokens": "16384",
        "--gpu-memory-utilization": "0.9",
        "--max-num-seqs": "32",
        "--api-server-count": "4",
        "--kv-offloading-size": "8",
        "--shutdown-timeout": "30",
    }.items():
        assert words[words.index(option) + 1] == value, words
    assert "--enable-prefix-caching" in words
    assert "OMP_NUM_THREADS=2" in container["Config"]["Env"]
    assert container["HostConfig"]["ShmSize"] == 10 * 2**30


def test_the_image_is_the_one_that_is_locked(container: dict[str, Any]) -> None:
    lock = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "deploy.lock.yml").read_text(encoding="utf-8")
    name, _at, digest = container["Config"]["Image"].partition("@")
    assert name.endswith("/vllm/vllm-openai:v0.33.0")
    assert digest.startswith("sha256:") and digest in lock


def test_it_has_its_gpu_and_no_privileges(host: Any, container: dict[str, Any]) -> None:
    settings = container["HostConfig"]
    assert settings["ReadonlyRootfs"] and settings["CapDrop"] == ["ALL"] and settings["SecurityOpt"] == ["no-new-privileges:true"]
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    assert not settings["Privileged"] and settings["IpcMode"] == "private"
    account = host.user("inference")
    assert container["Config"]["User"] == f"{account.uid}:{account.gid}" and account.uid
    assert [mount["Destination"] for mount in container["Mounts"] if mount["RW"]] == ["/var/lib/inference/mistral-awq"]
    # The simulated device says ENXIO to who may open it, and EPERM to who may not.
    opened = host.run(f"docker exec {CONTAINER} cat /dev/nvidia0")
    assert "No such device or address" in opened.stderr


def test_the_key_is_nowhere(host: Any, key: str) -> None:
    seen = [
        f"docker inspect {CONTAINER}",
        f"docker logs {CONTAINER} 2>&1",
        f"cat {PROJECT}/compose.yaml",
        f"docker compose --file {PROJECT}/compose.yaml config",
        "cat /proc/[0-9]*/cmdline",
        "ps axww -o args",
        "journalctl --no-pager -b -u docker",
    ]
    for command in seen:
        shown = host.run(command).stdout
        assert shown and key not in shown, command
    files = host.run(f"grep -rlsF {key} /etc /run /tmp /var/lib/inference /var/lib/docker/containers /var/log").stdout.split()
    assert sorted(files) == [f"{PROJECT}/accepted/api-key", f"{PROJECT}/api-key"]
    for path in files:
        assert host.file(path).mode == 0o600
    assert (host.file(PROJECT).user, host.file(PROJECT).mode) == ("root", 0o700)
