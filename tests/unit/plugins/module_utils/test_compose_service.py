# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service in a container through all its states, on a host whose Docker is a few files and whose Compose is the real one."""

from __future__ import annotations

import json
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import (
    _account,
    _compose_service,
    _container_files,
    _service_host,
    _systemd_service,
)
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import ProblemsError
from ansible_collections.baremetal.llm.plugins.module_utils._service_cdi import CdiHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_change import Outcome, ServiceChange
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpu_host import GpuHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_neighbours import PortOwners
from ansible_collections.baremetal.llm.plugins.module_utils._service_parts import engine_of, manager_of
from ansible_collections.baremetal.llm.tests.unit.plugins.compose_programs import SHORT_DEVICES
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_docker import FakeDocker
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_service_host import KEY, ME, ServiceHost, gguf

BASE = "debian:trixie-slim"
IMAGE = "ghcr.io/ggml-org/llama.cpp:server"
PROJECT = "inference-chat"


class UnitOf:
    """Every process belongs to one unit."""

    def __init__(self, unit: str) -> None:
        self._unit = unit

    def unit_of(self, pid: int) -> str | None:
        return self._unit


class ComposeHost(ServiceHost):
    """A host that runs its services with Compose."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.engine = FakeDocker(root / "docker")
        self.engine.image(BASE)
        self.cdi = root / "cdi"
        self.cdi.mkdir()

    @property
    def file(self) -> Path:
        return self.config / "chat" / "compose.yaml"

    def service(self, **more: Any) -> dict[str, Any]:
        return {**super().service(), "manager": "compose", **more}

    def run(self, service: dict[str, Any] | None = None, *, check: bool = False, **parameters: Any) -> Outcome:
        request = self.request(service, base_image=BASE, **parameters)
        docker = self.engine.docker()
        manager = manager_of(request, self.systemd, docker, CdiHost([self.cdi]), predict=check)
        gpus = GpuHost(self.gpus.host())
        return ServiceChange(manager, lambda wanted: engine_of(wanted, request, docker), gpus, request, check_mode=check).run()

    def make(self, **more: Any) -> None:
        self.engine.make(PROJECT, self.file, self.key, **more)

    def snapshot(self) -> dict[str, tuple[int, bytes | None]]:
        return {path: state for path, state in super().snapshot().items() if "/docker/" not in path}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComposeHost:
    monkeypatch.setattr(_service_host, "_HIDDEN", ())  # the tests' own files are below /tmp
    return ComposeHost(tmp_path)


# -- present -----------------------------------------------------------------------------------------------------------


def test_check_then_run_then_check_then_run(host: ComposeHost) -> None:
    before = host.snapshot()
    predicted = host.run(check=True)
    assert host.snapshot() == before
    done = host.run()
    assert predicted == done
    assert done.changed and done.restart_required and done.pending and not done.enabled
    assert (done.project, done.unit) == (PROJECT, None)
    assert done.files == [str(host.file), str(host.key)]
    host.make()
    host.run(state="accepted")
    after = host.snapshot()
    for again in (host.run(check=True), host.run()):
        assert not again.changed and not again.restart_required and not again.pending and again.enabled
        assert again.diffs == ()
    assert host.snapshot() == after


def test_what_it_returns(host: ComposeHost) -> None:
    result = host.run()
    binary = str(host.release / "bin" / "llama-server")
    assert result.argv[:3] == [binary, "--model", str(host.model)]
    assert result.argv[result.argv.index("--host") :][:2] == ["--host", "0.0.0.0"]
    assert result.base_url == f"http://127.0.0.1:{host.port}"
    assert result.expect["listen"] == [f"127.0.0.1:{host.port}"]
    assert (result.expect["n_ctx"], result.expect["slots"]) == (512, 2)
    assert result.release == str(host.release)
    assert result.problems == ()


def test_the_files_are_for_nobody_else(host: ComposeHost) -> None:
    host.run()
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (host.file, host.key, host.file.parent, host.state / "chat")} == {
        "compose.yaml": 0o600,
        "api-key": 0o600,
        "chat": 0o700,
    }
    assert KEY not in host.file.read_text() and host.key.read_text() == f"{KEY}\n"


@pytest.mark.parametrize(
    ("more", "restart"),
    [
        ({"options": {"ctx_size": 2048}}, True),
        ({"environment": {"OMP_NUM_THREADS": "2"}}, True),
        ({"resources": {"memory": "1GiB"}}, True),
        ({"api_key": "sk-another"}, True),
        ({"api_key": None}, True),
        ({"options": {"parallel": 2, "ctx_size": 1024}}, False),
    ],
)
def test_a_change_asks_for_another_container(host: ComposeHost, more: dict[str, Any], restart: bool) -> None:
    host.run()
    host.make()
    host.run(state="accepted")
    result = host.run(host.service(**more))
    assert (result.changed, result.restart_required, result.pending) == (restart, restart, restart)


def test_the_key_is_nowhere_but_in_its_file(host: ComposeHost) -> None:
    host.run()
    rotated = host.run(host.service(api_key="sk-another"))
    assert [diff.path for diff in rotated.diffs] == [str(host.key)]
    assert "sk-" not in repr(rotated)


def removed(host: ComposeHost) -> None:
    (host.engine.root / "container" / f"{PROJECT}.json").unlink()


def edited(host: ComposeHost) -> None:
    host.file.write_text(host.file.read_text().replace('"--parallel", "2"', '"--parallel", "7"'))
    host.make()


@pytest.mark.parametrize(
    ("drift", "changed", "restart", "pending"),
    [
        (removed, False, True, True),
        (edited, True, True, True),
        (lambda host: host.make(status="exited"), False, True, True),
        (lambda host: host.make(status="created"), False, True, True),
        (lambda host: host.make(policy="no"), False, False, True),
        (lambda host: host.engine.image(BASE, "sha256:2"), False, True, True),  # the tag was moved
        (lambda host: host.file.unlink(), True, False, False),  # it is written again as it was
        (lambda host: host.file.chmod(0o644), True, False, False),
        (lambda host: host.model.write_bytes(gguf(4096) + b"more"), True, True, True),
    ],
)
def test_what_is_not_as_it_was_accepted_is_noticed(
    host: ComposeHost, drift: Callable[[ComposeHost], object], changed: bool, restart: bool, pending: bool
) -> None:
    host.run()
    host.make()
    host.run(state="accepted")
    drift(host)
    result = host.run()
    assert (result.changed, result.restart_required, result.pending) == (changed, restart, pending)


def test_a_home_that_is_missing_is_a_change(host: ComposeHost) -> None:
    host.run()
    host.make()
    (host.state / "chat").rmdir()
    assert host.run(check=True).changed
    assert host.run().changed and (host.state / "chat").is_dir()
    assert not host.run().changed


def test_an_account_that_is_missing_is_made_first(host: ComposeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file names it by numbers, which nobody knows before."""
    made: list[str] = []
    monkeypatch.setattr(_account, "exists", lambda user: user in made)
    monkeypatch.setattr(_account, "create", lambda user, group, home: made.append(user))
    monkeypatch.setattr(_compose_service, "_ids", lambda request: (4321, 4322) if made else None)
    monkeypatch.setattr(_compose_service.os, "chown", lambda path, uid, gid: None)
    monkeypatch.setattr("os.fchown", lambda descriptor, uid, gid: None)
    assert "user: " + json.dumps(f"{ME}:{ME}") in host.run(check=True).diffs[0].after and made == []
    assert host.run().changed and made == [ME]
    assert 'user: "4321:4322"' in host.file.read_text()


# -- Docker ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda host: host.engine.program.unlink(), "docker_missing"),
        (lambda host: host.engine.unreachable(), "docker_unreachable"),
        (lambda host: (host.engine.root / "compose").unlink(), "compose_missing"),
        (lambda host: (host.engine.root / "compose").write_text("v2.17.3\n"), "compose_too_old"),
    ],
)
def test_without_docker_or_compose_there_is_one_clear_error(
    host: ComposeHost, break_it: Callable[[ComposeHost], object], code: str
) -> None:
    break_it(host)
    before = host.snapshot()
    with pytest.raises(ProblemsError) as caught:
        host.run()
    assert [problem.code for problem in caught.value.problems] == [code]
    assert host.snapshot() == before
    predicted = host.run(check=True)
    assert predicted.changed and (predicted.problems[0].code, predicted.problems[0].severity.value) == (code, "warning")


def test_the_reason_of_the_daemon_is_told(host: ComposeHost) -> None:
    host.engine.unreachable()
    with pytest.raises(ProblemsError, match=r"Is the docker daemon running\?.*become: true"):
        host.run()


def test_a_file_that_compose_refuses_is_not_written(host: ComposeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    render = _compose_service.render
    monkeypatch.setattr(_compose_service, "render", lambda *given, **more: render(*given, **more).replace("pids_limit", "pid_limits"))
    with pytest.raises(UserError, match=r"docker compose config refuses the project inference-chat.*pid_limits"):
        host.run()
    assert not host.file.exists()


def test_an_image_that_is_not_there_is_fetched_or_missed(host: ComposeHost) -> None:
    (host.engine.root / "image" / f"{BASE}.json").unlink()
    assert [problem.code for problem in host.run(check=True).problems] == ["image_missing"]
    with pytest.raises(UserError, match="base_image: fetching debian:trixie-slim failed"):
        host.run()
    with pytest.raises(ProblemsError, match="must not be fetched"):
        host.run(pull=False)
    host.engine.image(BASE, where="registry")
    assert host.run().changed


# -- the engine of an image --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entrypoint", "program"),
    [(["/app/llama-server"], "/app/llama-server"), (["/llama-server"], "/llama-server"), (["/app/tools.sh"], "/app/llama-server")],
)
def test_an_image_is_asked_once_for_its_flags(host: ComposeHost, entrypoint: list[str], program: str) -> None:
    host.engine.image(IMAGE, "sha256:9", entrypoint)
    wanted = host.service(image=IMAGE)
    result = host.run(wanted, binary="")
    assert result.argv[0] == program and result.release == IMAGE
    assert str(host.release) not in host.file.read_text()
    assert host.run(wanted, binary="").changed is False
    assert len([line for line in host.engine.asked() if line.startswith("run ")]) == 1
    host.engine.image(IMAGE, "sha256:10", entrypoint)
    host.run(wanted, binary="")
    assert len([line for line in host.engine.asked() if line.startswith("run ")]) == 2
    with pytest.raises(ProblemsError, match="Did you mean ctx_size"):
        host.run(host.service(image=IMAGE, options={"ctx_sise": 1}), binary="")


# -- vLLM --------------------------------------------------------------------------------------------------------------

VLLM = "vllm/vllm-openai:v0.33.0"


@pytest.fixture
def vllm(host: ComposeHost) -> dict[str, Any]:
    """A service of vLLM with its model, on a host that has its image and a GPU."""
    with_gpu(host)
    host.engine.image(VLLM, entrypoint=["vllm", "serve"])
    model = host.root / "mistral"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")
    wanted = host.service(engine="vllm", image=VLLM, model={"file": str(model)}, options={"max_model_len": 8192})
    return {**wanted, "gpus": [0]}


def test_vllm_is_run_from_its_image(host: ComposeHost, vllm: dict[str, Any]) -> None:
    result = host.run(vllm, binary="")
    assert result.problems == () and result.release == VLLM
    assert result.argv[-2:] == ["--max-model-len", "8192"] and result.argv[4] == str(host.root / "mistral")
    assert (result.expect["alias"], result.expect["n_ctx"], result.expect["metrics"]) == ("chat", 8192, True)
    text = host.file.read_text()
    home = host.state / "chat"
    for line in (f'VLLM_CACHE_ROOT: "{home}/cache/vllm"', f'TRITON_CACHE_DIR: "{home}/cache/triton"', "stop_grace_period: 45s"):
        assert line in text
    assert f'target: "{host.root / "mistral"}", read_only: true' in text
    assert host.run(vllm, binary="").changed is False


@pytest.mark.parametrize(("key", "told"), [("sk-1\n", "sk-1 serve /m --port 8000"), ("", ""), (None, "")])
def test_its_key_is_in_the_environment_of_the_process_alone(host: ComposeHost, vllm: dict[str, Any], key: str | None, told: str) -> None:
    """Without a key, vLLM would serve everybody; so it must not start then."""
    host.run(vllm, binary="")
    assert KEY not in host.file.read_text()
    shell, option, script, name = host.run(vllm, binary="").argv[:4]
    secret = host.root / "secret"
    if key is not None:
        secret.write_text(key)
    program = host.root / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$VLLM_API_KEY $*"\n')
    program.chmod(0o755)
    argv = [shell, option, script.replace("/run/secrets/api-key", str(secret)), name, "/m", "--port", "8000"]
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin"}
    answer = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == told and (answer.returncode == 0) is bool(told)


def test_without_a_key_it_needs_no_script(host: ComposeHost, vllm: dict[str, Any]) -> None:
    assert host.run({**vllm, "api_key": None}, binary="").argv[:2] == ["vllm", "serve"]


def test_an_option_that_its_release_does_not_take_is_told_before_the_image_is_fetched(host: ComposeHost, vllm: dict[str, Any]) -> None:
    (host.engine.root / "image" / f"{VLLM.replace('/', '_')}.json").unlink()
    with pytest.raises(ProblemsError, match="calculate_kv_scales"):
        host.run({**vllm, "options": {"calculate_kv_scales": True}}, binary="")
    assert not [line for line in host.engine.asked() if line.startswith("pull")]


# -- GPUs --------------------------------------------------------------------------------------------------------------

UUID = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11"
SPEC = """---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      major: 195
- name: {uuid}
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
containerEdits:
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{driver}
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{driver}
"""


def with_gpu(host: ComposeHost, uuid: str = UUID) -> None:
    host.gpus.gpu("0000:17:00.0", "2236", "nvidia")
    host.gpus.loaded("580.126.09")
    host.gpus.library("580.126.09")
    host.gpus.smi(f"0, {UUID}, 00000000:17:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10")
    (host.cdi / "nvidia.yaml").write_text(SPEC.format(driver="580.126.09", uuid=uuid), "utf-8")


@pytest.mark.parametrize(("listed", "name"), [(UUID, UUID), ("GPU-another", "0")])
def test_a_gpu_is_asked_for_by_what_the_specification_lists(host: ComposeHost, listed: str, name: str) -> None:
    with_gpu(host, uuid=listed)
    result = host.run(host.service(gpus=[0]))
    assert result.problems == ()  # not even that there is no nvidia-modprobe, which a container does not need
    assert f'device_ids: ["nvidia.com/gpu={name}"]' in host.file.read_text()
    assert result.expect["gpus"] == [UUID]


def test_the_short_form_is_for_a_compose_that_takes_it(host: ComposeHost) -> None:
    with_gpu(host)
    host.engine = FakeDocker(host.root / "docker-new", SHORT_DEVICES)
    host.engine.image(BASE)
    host.run(host.service(gpus=[0]))
    assert f'    devices:\n      - "nvidia.com/gpu={UUID}"\n' in host.file.read_text()


def test_another_driver_means_another_container(host: ComposeHost) -> None:
    with_gpu(host)
    host.run(host.service(gpus=[0]))
    host.make()
    assert not host.run(host.service(gpus=[0])).restart_required
    spec = host.cdi / "nvidia.yaml"
    spec.write_text(spec.read_text().replace("major: 195", "major: 234"))  # as after a boot
    assert not host.run(host.service(gpus=[0])).changed
    spec.write_text(spec.read_text().replace("580.126.09", "590.48.01"))
    assert host.run(host.service(gpus=[0])).restart_required


def test_a_gpu_that_cdi_does_not_list_is_refused(host: ComposeHost) -> None:
    with_gpu(host)
    (host.cdi / "nvidia.yaml").unlink()
    with pytest.raises(ProblemsError, match=r"has no 0 \(NVIDIA A10.*nvidia-ctk cdi generate") as caught:
        host.run(host.service(gpus=[0]))
    assert [problem.code for problem in caught.value.problems] == ["cdi_device_missing"]
    assert [problem.severity.value for problem in host.run(host.service(gpus=[0]), check=True).problems] == ["warning"]


# -- the neighbours ----------------------------------------------------------------------------------------------------


def test_the_port_of_another_service_is_refused_whoever_runs_it(host: ComposeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.units / "inference-embed.service").write_text(f"[Service]\nExecStart=/bin/llama-server --port {host.port}\n")
    with pytest.raises(ProblemsError, match=r"already the port of inference-embed\.service"):
        host.run()
    (host.units / "inference-embed.service").unlink()
    host.run()
    monkeypatch.setattr(_systemd_service, "STATE_ROOT", f"{host.root}/")
    for other in (host.service(name="late"), host.service(name="late", manager="systemd")):
        with pytest.raises(ProblemsError, match=r"already the port of inference-chat on this host"):
            host.run(other)


def test_two_managers_do_not_run_a_service_of_one_name(host: ComposeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_systemd_service, "STATE_ROOT", f"{host.root}/")
    unit = host.units / "inference-chat.service"
    unit.write_text("[Service]\nExecStart=/bin/llama-server --port 1\n")
    with pytest.raises(ProblemsError, match=r"systemd already runs on this host.*manager: systemd") as caught:
        host.run()
    assert [problem.code for problem in caught.value.problems] == ["name_of_other_manager"]
    # Who is to go is whom there is, whatever the service says by now.
    assert host.run(state="absent").unit == "inference-chat.service" and not unit.exists()
    host.run()
    with pytest.raises(ProblemsError, match=r"Compose already runs on this host"):
        host.run(host.service(manager="systemd"))
    assert host.run({**host.service(), "manager": "systemd"}, state="absent").project == PROJECT


def test_the_port_that_docker_holds_for_it_is_its_own(host: ComposeHost) -> None:
    """Docker's proxy listens, in the unit of Docker; the project that it does so for is asked of Docker."""
    owners = PortOwners(UnitOf("docker.service"), host.engine.docker(), 8080)
    (host.engine.root / "publishing").write_text(f"{PROJECT}\n")
    assert owners.unit_of(7) == PROJECT
    (host.engine.root / "publishing").unlink()
    assert owners.unit_of(7) == "docker.service"
    assert PortOwners(UnitOf("nginx.service"), host.engine.docker(), 8080).unit_of(7) == "nginx.service"
    with socket.create_server(("127.0.0.1", host.port)), pytest.raises(ProblemsError, match=r"is held by .*pid"):
        host.run()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"resources": {"cpus": 5000}}, "cpus_exceed_host"),
        ({"model": {"file": "/none.gguf"}}, "model_missing"),
        ({"options": {"port": 1}}, "option_owned"),
    ],
)
def test_bad_input_is_one_error_and_changes_nothing(host: ComposeHost, more: dict[str, Any], code: str) -> None:
    before = host.snapshot()
    with pytest.raises(ProblemsError) as caught:
        host.run(host.service(**more))
    assert [problem.code for problem in caught.value.problems] == [code]
    assert host.snapshot() == before


# -- accepted, reverted, absent ----------------------------------------------------------------------------------------


def test_a_trial_ends_when_it_is_accepted(host: ComposeHost) -> None:
    host.run()
    host.make(status="created")
    assert host.run(check=True, state="on_trial").pending and host.engine.policy(PROJECT) == "unless-stopped"
    on_trial = host.run(state="on_trial")
    assert not on_trial.changed and on_trial.pending and host.engine.policy(PROJECT) == "no"
    host.make(policy="no")
    assert host.run(check=True, state="accepted").pending is False and host.engine.policy(PROJECT) == "no"
    accepted = host.run(state="accepted")
    assert not accepted.changed and not accepted.pending and host.engine.policy(PROJECT) == "unless-stopped"
    assert not host.run().pending


def test_what_was_accepted_comes_back(host: ComposeHost) -> None:
    first = host.run()
    host.make()
    host.run(state="accepted")
    proven = (host.file.read_text(), host.key.read_text())
    host.run(host.service(options={"ctx_size": 4096}, api_key="sk-another"))
    host.make(policy="no")
    # The service is named alone: that it is Compose's, its files tell.
    predicted = host.run({"name": "chat"}, check=True, state="reverted")
    reverted = host.run({"name": "chat"}, state="reverted")
    assert predicted == reverted
    assert reverted.reverted and reverted.restart_required and reverted.pending is False
    assert (host.file.read_text(), host.key.read_text()) == proven
    assert (reverted.argv, reverted.base_url) == (first.argv, first.base_url)


def test_what_never_served_is_nothing_to_go_back_to(host: ComposeHost) -> None:
    host.run()
    host.make(policy="no")
    result = host.run({"name": "chat", "manager": "compose"}, state="reverted")
    assert not result.reverted and result.pending


@pytest.mark.parametrize("manager", ["compose", "systemd"])
@pytest.mark.parametrize("status", ["running", "restarting", "paused"])
def test_what_runs_is_stopped_and_started_again(host: ComposeHost, manager: str, status: str) -> None:
    """Whatever the inventory has come to say of who runs it."""
    host.run()
    host.make(status=status)
    service = {"name": "chat", "manager": manager}
    assert host.run(service, check=True, state="stopped").changed and f"stop {PROJECT}" not in host.engine.asked()
    assert host.run(service, state="stopped").changed and f"stop {PROJECT}" in host.engine.asked()
    assert not host.run(service, state="stopped").changed
    assert host.run(service, check=True, state="started").changed and f"start {PROJECT}" not in host.engine.asked()
    assert host.run(service, state="started").changed and f"start {PROJECT}" in host.engine.asked()
    assert not host.run(service, state="started").changed


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_what_is_not_there_is_left_alone(host: ComposeHost, state: str) -> None:
    assert not host.run(state=state).changed
    host.run()
    assert not host.run(state=state).changed
    host.engine.program.unlink()
    assert not host.run(state=state).changed


def test_what_docker_does_not_tell_of_is_not_taken_for_stopped(host: ComposeHost) -> None:
    host.engine.unreachable()
    with pytest.raises(ProblemsError, match="does not answer: Cannot connect to the Docker daemon"):
        host.run(state="stopped")


def test_absent_is_gone(host: ComposeHost) -> None:
    empty = set(host.snapshot())
    host.run()
    host.make()
    host.run(state="accepted")
    there = host.snapshot()
    predicted = host.run({"name": "chat"}, check=True, state="absent")
    assert host.snapshot() == there
    done = host.run({"name": "chat"}, state="absent")
    assert predicted == done and done.changed
    assert done.files == [str(host.file), str(host.file.parent), str(host.state / "chat")]
    assert not (host.engine.root / "container" / f"{PROJECT}.json").exists()
    assert set(host.snapshot()) - empty == {str(host.root / "etc"), str(host.root / "lib")}
    assert not host.run(host.service(), state="absent").changed


def test_absent_needs_no_docker_where_there_is_none(host: ComposeHost) -> None:
    host.run()
    host.engine.program.unlink()
    assert host.run({"name": "chat"}, state="absent").changed
    assert not host.file.exists()


# -- what it reads of the host -----------------------------------------------------------------------------------------


def test_files_that_options_name_are_seen(host: ComposeHost) -> None:
    template = host.root.parent / f"{host.root.name}.jinja"  # not beside the model
    template.write_text("{{ messages }}")
    host.run(host.service(options={"chat_template_file": str(template), "api_prefix": "/v"}))
    assert f'target: "{template}", read_only: true' in host.file.read_text()


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["/srv/models", "/srv/models/a", "/srv/models-b"], ("/srv/models", "/srv/models-b")),
        (["/b", "/a", "/b/"], ("/a", "/b")),
    ],
)
def test_nothing_is_mounted_twice(paths: list[str], kept: tuple[str, ...]) -> None:
    assert _container_files.outermost(paths) == kept


def test_the_libraries_of_a_program_without_the_c_library(tmp_path: Path) -> None:
    shutil.copy("/usr/bin/apt-get", tmp_path)
    found = {Path(path).name.partition(".so")[0] for path in _container_files.host_libraries(tmp_path)}
    assert {"libapt-pkg", "libstdc++", "libgcc_s"} <= found and not found & {"libc", "libm", "ld-linux-x86-64"}


def test_the_loader_takes_the_first_of_a_name() -> None:
    listed = (
        "2 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1\n"
        "\tlibz.so.1 (libc6,x86-64) => /usr/local/lib/libz.so.1\n"
        "Cache generated by: ldconfig (Debian GLIBC 2.41-12) stable release version 2.41\n"
    )
    assert _container_files.parse_loader_paths(listed) == {"libz.so.1": "/lib/x86_64-linux-gnu/libz.so.1"}
