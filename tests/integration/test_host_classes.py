# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host classes of inventories/example, on hosts with their GPU simulated: as written, except for backend, GPUs and model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

import pytest
from ansible_collections.baremetal.llm.tests.host_classes import HOST_CLASSES, TINY, HostClass, read_flags

from .conftest import SNAPSHOT
from .deployment import ROOT, Deployment, Run
from .gpu_hosts import gpu_host

DRIVER = "580.126.09"  # which both classes ask for
KEY = "a-key-of-the-tests-0123456789abcdef"


class ClassHost:
    """A host of a class that was deployed to without its GPU, and with a tiny model."""

    def __init__(self, host_class: HostClass, deployment: Deployment, model: str) -> None:
        self.host_class = host_class
        self.deployment = deployment
        self.overridden = {
            **host_class.without_gpu,
            "models_local_files": [model],
            host_class.key: KEY,
            "nvidia_repository_manage": False,  # that of the simulation
        }

    def play(self, *flags: str, without: t.Collection[str] = ()) -> Run:
        extra = {name: value for name, value in self.overridden.items() if name not in without}
        return self.deployment.play("site.yml", extra, "--limit", self.host_class.host, *flags)

    def get(self, path: str, key: str | None = KEY, body: t.Any = None) -> str:
        request = urllib.request.Request(
            f"http://{self.deployment.address}:{self.host_class.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    return str(reply.read().decode())
            except (urllib.error.URLError, ConnectionError) as error:  # it may just be starting
                if getattr(error, "code", 503) != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def ask(self, path: str, body: t.Any = None) -> t.Any:
        return json.loads(self.get(path, body=body))

    def unit(self, setting: str) -> str:
        return self.deployment.run("systemctl", "show", "-P", setting, f"inference-{self.host_class.service}").strip()

    def flags(self) -> dict[str, str | None]:
        """What the running process was started with."""
        command = self.deployment.run("cat", f"/proc/{self.unit('MainPID')}/cmdline")
        return read_flags(command.rstrip("\0").split("\0")[1:])


@pytest.fixture(scope="module", params=HOST_CLASSES, ids=lambda host_class: host_class.host)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[ClassHost]:
    host_class: HostClass = request.param
    name = f"class-{host_class.host}"
    directory = tmp_path_factory.mktemp(name)
    # A context as long as the longest that the class gives a slot, so that nothing of it is cut off.
    model = directory / TINY.rpartition("/")[2]
    subprocess.run([sys.executable, ROOT / "tools" / "tiny_gguf.py", model, "--context-length", "32768"], check=True, timeout=120)
    with gpu_host(
        name, host_class.card, driver=DRIVER, snapshot=SNAPSHOT, inventories=("inventories/example",), alias=host_class.host
    ) as deployment:
        yield ClassHost(host_class, deployment, str(model))


def test_a_run_without_the_key_names_it_and_changes_nothing(host: ClassHost) -> None:
    before = host.deployment.state()
    run = host.play(without=[host.host_class.key])
    assert run.rc != 0
    assert f"'{host.host_class.key}' is undefined" in run.output
    assert host.deployment.state() == before


def test_it_converges(host: ClassHost) -> None:
    run = host.play()
    assert run.rc == 0, run.output


def test_the_process_runs_with_every_setting_as_written(host: ClassHost) -> None:
    flags = host.flags()
    assert flags.pop("--model") == TINY
    assert flags.pop("--alias") == host.host_class.service
    assert flags.pop("--api-key-file")
    assert flags == host.host_class.flags


def test_the_server_says_what_the_class_says(host: ClassHost) -> None:
    expected = host.host_class
    props = host.ask("/props")
    assert props["total_slots"] == expected.slots
    assert props["default_generation_settings"]["n_ctx"] == expected.tokens
    assert props["model_path"] == TINY
    assert [slot["n_ctx"] for slot in host.ask("/slots")] == [expected.tokens] * expected.slots
    assert [model["id"] for model in host.ask("/v1/models")["data"]] == [expected.service]
    assert "llamacpp:requests_deferred 0" in host.get("/metrics").splitlines()


def test_it_answers_and_only_with_the_key(host: ClassHost) -> None:
    question = {"model": host.host_class.service, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    reply = host.ask("/v1/chat/completions", question)
    assert reply["model"] == host.host_class.service
    assert reply["usage"]["completion_tokens"] == 8
    assert host.get("/health", key=None)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        host.get("/metrics", key=None)


def test_systemd_has_the_limits_of_the_class(host: ClassHost) -> None:
    written = host.deployment.run("systemctl", "cat", f"inference-{host.host_class.service}").splitlines()
    assert [f"{name}={value}" for name, value in host.host_class.unit.items() if f"{name}={value}" not in written] == []
    if "MemoryMax" in host.host_class.unit:
        assert host.unit("MemoryMax") == host.host_class.unit["MemoryMax"]


def test_a_service_that_does_not_use_its_gpu_stops_at_the_gate(host: ClassHost) -> None:
    """The backend is still the CPU, but the GPUs are those of the class."""
    gpus = next(name for name in host.overridden if name.endswith("_gpus"))
    run = host.play(without=[gpus])
    assert run.rc != 0, run.output
    assert host.host_class.service in run.failure
    assert f"({host.host_class.gpu}): it computes on the CPU" in run.failure
    assert "Traceback" not in run.output
    # What served before serves again, on the CPU.
    assert host.flags()["--alias"] == host.host_class.service
    assert host.ask("/props")["total_slots"] == host.host_class.slots
    assert "CUDA_VISIBLE_DEVICES" not in host.unit("Environment")


def test_another_run_as_the_first_changes_nothing(host: ClassHost) -> None:
    process = host.unit("MainPID")
    run = host.play()
    assert run.rc == 0, run.output
    assert run.changed == []
    assert host.unit("MainPID") == process
