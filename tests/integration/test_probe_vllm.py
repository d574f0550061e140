# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe against containers: the tests' vLLM, with the real llama-server behind it, on a host with a real Docker."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import typing as t

import pytest

from .deployment import ROOT
from .docker_hosts import DockerHost, docker_host
from .gpu_hosts import Card
from .vllm_image import IMAGE, MODEL, put_image, put_model, switch_cdi_on

KEY = "sk-of-the-container-test"
NAME = "inference-mistral"
URL = "http://127.0.0.1:8000"
HOLDS_MIB = 20500
PLANNED = {"low": 118000, "high": 141000}
EXPECT = {"alias": "mistral", "n_ctx": 32768, "metrics": True, "kv_cache_tokens": PLANNED, "listen": ["127.0.0.1:8000"]}


class Scene(t.NamedTuple):
    host: DockerHost
    card: Card


@pytest.fixture(scope="module")
def scene() -> t.Iterator[Scene]:
    with docker_host("probe-vllm", "a10", driver="580.126.09") as host:
        put_image(host)
        put_model(host)
        switch_cdi_on(host)
        yield Scene(host, host.plug("a10")[0])


def create(scene: Scene, *options: str, docker: t.Sequence[str] = (), key: str | None = KEY, device: str = "0", **environment: str) -> None:
    scene.host.docker("rm", "--force", NAME, check=False)
    words = ["create", "--name", NAME, "--publish", "127.0.0.1:8000:8000", "--volume", f"{MODEL}:{MODEL}:ro"]
    words += ["--read-only", "--tmpfs", "/tmp", "--user", "999:999", "--device", f"nvidia.com/gpu={device}", *docker]
    environment = {"HOME": "/tmp", "USER": "inference", **({"VLLM_API_KEY": key} if key else {}), **environment}
    words += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    scene.host.docker(*words, IMAGE, MODEL, "--served-model-name", "mistral", *options)


def start(scene: Scene, *options: str, **more: t.Any) -> None:
    create(scene, *options, **more)
    scene.host.docker("start", NAME, check=False)


def probe(scene: Scene, **arguments: t.Any) -> dict[str, t.Any]:
    arguments = {"base_url": URL, "engine": "vllm", "api_key": KEY, "container": NAME, "expect": EXPECT, "timeout": 100, **arguments}
    asked = subprocess.run(
        [
            ROOT / ".venv" / "bin" / "ansible",
            *("-i", str(scene.host.directory / "range.yml"), "all", "-m", "baremetal.llm.inference_probe"),
            *("-a", json.dumps({name: value for name, value in arguments.items() if value is not None})),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert KEY not in asked.stdout + asked.stderr
    result: dict[str, t.Any] = json.loads(asked.stdout[asked.stdout.index("=> {") + len("=> ") :])
    return result


def checks(result: dict[str, t.Any]) -> list[str]:
    return [check["name"] for check in result["checks"]]


def failures(result: dict[str, t.Any]) -> list[str]:
    return [check["name"] for check in result["checks"] if not check["ok"]]


def engine_pid(scene: Scene) -> str:
    rows = scene.host.docker("top", NAME, "-o", "pid,comm").splitlines()[1:]
    return next(pid for pid, comm in (row.split(maxsplit=1) for row in rows) if comm.startswith("VLLM::Engine"))


def test_every_check_of_a_container_that_serves(scene: Scene) -> None:
    start(scene, SHIM_LOAD_SECONDS="10")
    waited = probe(scene, expect={})
    assert waited["healthy"], waited
    assert 0 < waited["timings"]["load_seconds"] < 60

    scene.host.put("/run/range-gpus/compute-apps", f"{scene.card.uuid}, {engine_pid(scene)}, {HOLDS_MIB}\n".encode())
    result = probe(scene, expect={**EXPECT, "gpus": [scene.card.uuid], "gpu_memory_mib": 18000})

    assert result["healthy"], result
    assert checks(result) == [
        "health", "listeners", "auth", "model", "context", "metrics", "kv_cache", "gpu", "completion", "streaming",
    ]  # fmt: skip
    assert result["server"]["version"] == "0.33.0"
    assert result["server"]["max_model_len"] == 32768
    assert PLANNED["low"] < result["server"]["kv_cache_tokens"] < PLANNED["high"]
    assert 3.5 < result["server"]["max_concurrency"] < 4.5
    assert result["timings"]["completion_tokens"] == 8
    assert all(result["timings"][name] > 0 for name in ("time_to_first_token_ms", "tokens_per_second", "prompt_tokens_per_second"))


def test_a_process_of_another_container_does_not_count(scene: Scene) -> None:
    start(scene)
    scene.host.put("/run/range-gpus/compute-apps", f"{scene.card.uuid}, 1, {HOLDS_MIB}\n".encode())
    assert failures(probe(scene, expect={"gpus": [scene.card.uuid]})) == ["gpu"]


@pytest.mark.parametrize(
    ("options", "environment", "said", "remedy"),
    [
        (
            ("--calculate-kv-scales", "true"),
            {},
            "it exited with status 2), saying: usage: vllm serve [model_tag] [options] / vllm serve: error: unrecognized arguments: --calc",
            "This vLLM has no such option",
        ),
        (("--dtype", "fp8"), {}, "it exited with status 2", "Correct that value in options"),
        (("--max-model-len", "40000"), {}, "it exited with status 1", "Set max_model_len: 32768 or less"),
        ((), {"SHIM_GPU_FREE_MIB": "9000"}, "it exited with status 1", "lower gpu_memory_utilization from 0.92 to 0.39"),
        ((), {"SHIM_KV_CACHE_TOKENS": "20000"}, "it exited with status 1", "Set max_model_len: 20000 or less"),
        (("--gpu-memory-utilization", "0.2"), {}, "it exited with status 1", "Raise gpu_memory_utilization, or take a smaller"),
        (("--kv-offloading-size", "16"), {}, "it exited with status 1", "Raise resources.shm_size"),
    ],
)
def test_a_start_that_fails_is_told_at_once_in_the_words_of_vllm(
    scene: Scene, options: tuple[str, ...], environment: dict[str, str], said: str, remedy: str
) -> None:
    start(scene, *options, **environment)
    began = time.monotonic()

    result = probe(scene)

    assert time.monotonic() - began < 20
    assert failures(result) == ["health"]
    assert said in result["msg"] and remedy in result["msg"]
    assert result["journal"]


def test_a_restart_loop(scene: Scene) -> None:
    start(scene, "--calculate-kv-scales", docker=["--restart", "unless-stopped"])
    time.sleep(3)
    result = probe(scene)
    assert failures(result) == ["health"]
    assert "it does not stay up (it exited with status 2; Docker is about to start it again)" in result["msg"]
    assert "This vLLM has no such option" in result["msg"]


def test_a_gpu_that_cdi_does_not_list(scene: Scene) -> None:
    start(scene, device="7")
    result = probe(scene)
    assert failures(result) == ["health"]
    assert "unresolvable CDI devices nvidia.com/gpu=7" in result["msg"]
    assert "nvidia-ctk cdi list" in result["msg"]


def test_a_container_that_is_not_started_or_not_there(scene: Scene) -> None:
    create(scene)
    assert "it is not running (state: created)" in probe(scene)["msg"]
    scene.host.docker("rm", NAME)
    assert "Docker knows no such container" in probe(scene)["msg"]


def test_a_server_without_metrics(scene: Scene) -> None:
    start(scene, "--disable-log-stats")
    result = probe(scene)
    assert failures(result) == ["metrics"]
    assert "Take disable_log_stats out of options" in result["msg"]
    assert result["server"]["kv_cache_tokens"] > PLANNED["low"]  # as its log says


def test_a_cache_much_smaller_than_planned(scene: Scene) -> None:
    start(scene, SHIM_KV_CACHE_TOKENS="34000")
    result = probe(scene)
    assert failures(result) == ["kv_cache"]
    assert "34000 tokens, 1.04 requests of full length, but 118000 to 141000 were planned" in result["msg"]
    assert "while nothing else starts on that GPU" in result["msg"]


@pytest.mark.parametrize(
    ("given", "known", "reason"),
    [("another", KEY, "it refuses the API key that you gave"), (None, KEY, "you gave none"), (KEY, None, "answered 400 instead of 401")],
)
def test_a_key_that_does_not_fit(scene: Scene, given: str | None, known: str | None, reason: str) -> None:
    start(scene, key=known)
    result = probe(scene, api_key=given)
    assert failures(result) == ["auth"]
    assert reason in result["msg"]


def test_every_mismatch_is_named(scene: Scene) -> None:
    start(scene, "--max-model-len", "16K", docker=["--publish", "8001:8000"])
    result = probe(scene, expect={**EXPECT, "alias": "chat"})
    assert failures(result) == ["listeners", "model", "context"]
    assert "listens on 0.0.0.0:8001, 127.0.0.1:8000" in result["msg"]


def test_an_engine_that_was_killed(scene: Scene) -> None:
    start(scene)
    assert probe(scene)["healthy"]
    scene.host.run("kill", "-KILL", engine_pid(scene))
    result = probe(scene)
    assert failures(result) == ["health"]
    assert "its engine has died" in result["msg"] or "it has ended (it exited with status 1)" in result["msg"]
    scene.host.docker("wait", NAME)
    assert "it has ended (it exited with status 1)" in probe(scene)["msg"]


def test_a_docker_that_does_not_answer(scene: Scene) -> None:
    start(scene)
    scene.host.run("systemctl", "stop", "docker.socket", "docker")
    try:
        assert "Docker does not tell of it: Cannot connect to the Docker daemon" in probe(scene)["msg"]
    finally:
        scene.host.run("systemctl", "start", "docker")


def test_a_docker_without_a_proxy_of_its_own(scene: Scene) -> None:
    switch_cdi_on(scene.host, **{"userland-proxy": False})
    start(scene)
    try:
        assert probe(scene)["healthy"]
        assert "docker-proxy" not in scene.host.run("ps", "-e", "-o", "comm")
    finally:
        switch_cdi_on(scene.host)


def test_llama_server_in_a_container(scene: Scene) -> None:
    scene.host.docker("rm", "--force", NAME, check=False)
    home = "/opt/vllm-shim"
    words = f"run --detach --name {NAME} --publish 127.0.0.1:8000:8000 --env LD_LIBRARY_PATH={home}/lib"
    words += f" --entrypoint {home}/bin/llama-server {IMAGE} --model {home}/tiny.gguf --host 0.0.0.0 --port 8000"
    words += " --ctx-size 2048 --parallel 2 --alias tiny"
    scene.host.docker(*shlex.split(words))
    expect = {"alias": "tiny", "n_ctx": 1024, "slots": 2, "listen": ["127.0.0.1:8000"]}
    result = probe(scene, engine="llama_server", api_key=None, expect=expect)
    assert result["healthy"], result
    scene.host.docker("stop", NAME)
    assert "it has ended" in probe(scene, engine="llama_server", api_key=None, expect=expect)["msg"]
