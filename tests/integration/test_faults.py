"""Whatever dies, the old service goes on serving and the next run heals."""

from __future__ import annotations

import hashlib
import json
import time
import typing as t
import urllib.error
import urllib.request

import pytest

from . import broken_release
from .deployment import ROOT, Deployment

TINY = {
    "name": "tiny",
    "model": {"file": "/var/lib/inference/models/quickstart-tiny.gguf"},
    "host": "0.0.0.0",
    "port": 8080,
    "options": {"ctx_size": 2048, "parallel": 2},
}


def key() -> str:
    return (ROOT / ".cache" / "quickstart" / "api-key").read_text(encoding="utf-8").strip()


def tiny(**options: t.Any) -> dict[str, t.Any]:
    return {"inference_services": [{**TINY, "api_key": key(), "options": {"ctx_size": 2048, "parallel": 2, **options}}]}


def slots(deployment: Deployment, seconds: float = 10) -> int:
    """How many slots the server says it has: proof that it answers, and with which settings. It may just be starting."""
    request = urllib.request.Request(f"http://{deployment.address}:8080/props", headers={"Authorization": f"Bearer {key()}"})
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return int(json.load(reply)["total_slots"])
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main_pid(deployment: Deployment) -> str:
    return deployment.run("systemctl", "show", "-P", "MainPID", "inference-tiny").strip()


def releases(deployment: Deployment) -> list[str]:
    return deployment.run("ls", "/opt/llama.cpp/releases").split()


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        ("Inference services, written, started and proven", 0.2),  # the check of the arguments; while the unit is written
        ("Write the services", 0.0),  # written, and not yet restarted
        ("Write the services", 0.3),  # while it is restarted
        ("Start what is new or changed", 0.2),  # restarted, and not yet proven
    ],
)
def test_ansible_killed_at_its_work(deployment: Deployment, task: str, seconds: float) -> None:
    """The task named is the last that was finished; the kill falls into what comes next, that many seconds later."""
    wanted = tiny(parallel=3)

    deployment.play_and_kill(lambda: any(entry.name.endswith(task) for entry in deployment.tasks()), wanted, seconds)
    healed = deployment.play("site.yml", wanted)

    assert healed.rc == 0, healed.output
    assert slots(deployment) == 3
    again = deployment.play("site.yml", wanted)
    assert again.changed == []
    assert deployment.play().rc == 0
    assert slots(deployment) == 2


def test_a_build_killed_half_way(deployment: Deployment) -> None:
    """SIGKILL of the module while it compiles: nothing partial is visible, the service does not notice, the next run goes its way."""
    before, pid = releases(deployment), main_pid(deployment)
    rebuild = {"llama_cpp_cmake_options": {"CMAKE_CXX_FLAGS": "-DKILLED=1"}}

    def compiling() -> bool:
        progress = deployment.run("cat", "/opt/llama.cpp/progress.json", check=False)
        return '"done": ' in progress and int(progress.split('"done": ')[1].split(",")[0]) >= 3

    deployment.play_and_kill(compiling, rebuild)
    deployment.run("pkill", "-KILL", "-f", "AnsiballZ_llama_build", check=False)
    deployment.run("sh", "-c", "'for i in $(seq 50); do pgrep -x ninja || exit 0; sleep 0.2; done; exit 1'")

    assert releases(deployment) == before
    assert main_pid(deployment) == pid
    run = deployment.play()
    assert run.rc == 0, run.output
    assert run.changed == []
    assert main_pid(deployment) == pid


@pytest.mark.parametrize("behaviour", ["DIES", "NEVER_READY"])
def test_a_new_release_that_does_not_serve(deployment: Deployment, behaviour: str) -> None:
    help_text = deployment.run("/opt/llama.cpp/current/bin/llama-server", "--help")
    packed = broken_release.archive(getattr(broken_release, behaviour), help_text)
    deployment.put("/opt/broken.tar.gz", packed)
    before = deployment.run("readlink", "/opt/llama.cpp/current")
    unit = deployment.run("cat", "/etc/systemd/system/inference-tiny.service")

    run = deployment.play(
        "site.yml",
        {
            "llama_cpp_source": {"kind": "archive", "path": "/opt/broken.tar.gz", "sha256": hashlib.sha256(packed).hexdigest()},
            "llama_cpp_targets": ["llama-server"],
            "inference_probe_timeout": 8,
        },
    )

    assert run.rc != 0
    assert "health" in run.failure, run.failure
    assert deployment.run("readlink", "/opt/llama.cpp/current") == before
    assert deployment.run("cat", "/etc/systemd/system/inference-tiny.service") == unit
    assert slots(deployment) == 2
    again = deployment.play()
    assert again.rc == 0, again.output
    assert again.changed == []
