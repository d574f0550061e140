# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.module_utils import _service_host
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import ProblemsError
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpu_host import GpuHost
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd, UnitStatus
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import stated_digest
from ansible_collections.baremetal.llm.plugins.modules import inference_service
from ansible_collections.baremetal.llm.plugins.modules.inference_service import InferenceService
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import RECORDED
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_nvidia_host import FakeHost

KEY = "sk-of-this-test"
CODE = re.compile(r'\b(?:error|warning|Problem)\(\s*"(\w+)"')
USED = ("_service", "_service_host", "_service_gpus", "_service_gpu_host", "_llama_server_options")


def gguf(context: int) -> bytes:
    def text(value: bytes) -> bytes:
        return len(value).to_bytes(8, "little") + value

    pairs = text(b"general.architecture") + (8).to_bytes(4, "little") + text(b"llama")
    pairs += text(b"llama.context_length") + (4).to_bytes(4, "little") + context.to_bytes(4, "little")
    return b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (2).to_bytes(8, "little") + pairs


class FakeSystemd(Systemd):
    """A systemd that starts what is written when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.running = UnitStatus()
        self.verified: list[str] = []
        self.refuses = ""
        self.did: list[str] = []

    def version(self) -> int:
        return 252

    def status(self, unit: str) -> UnitStatus:
        return self.running

    def verify(self, unit: str, text: str) -> None:
        self.verified.append(text)
        if self.refuses:
            raise UserError(f"systemd-analyze verify refuses the unit {unit}, so it was not written: {self.refuses}", rc=1)

    def stop(self, unit: str) -> None:
        self.did.append("stop")
        self.running = UnitStatus()

    def forget(self, unit: str) -> None:
        self.did.append("forget")

    def start(self, unit: Path, key: Path) -> None:
        credentials = {"api-key": key.read_bytes()} if key.exists() else {}
        environment = {"INFERENCE_CONFIG_DIGEST": stated_digest(unit.read_text()) or ""}
        self.running = UnitStatus(active=True, main_pid=7, environment=environment, credentials=credentials)


class Host:
    """A host below a temporary directory, and the module run on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.systemd = FakeSystemd()
        self.units, self.config, self.state = root / "units", root / "etc" / "inference", root / "lib" / "inference"
        self.units.mkdir()
        self.gpus = FakeHost(root / "gpus")
        self.model = root / "chat.gguf"
        self.model.write_bytes(gguf(4096))
        release = root / "releases" / "0a1b"
        (release / "bin").mkdir(parents=True)
        (root / "current").symlink_to(release)
        self.release = release
        self.binary = root / "current" / "bin" / "llama-server"
        self.binary.write_text(f'#!/bin/sh\n[ "$XDG_CONFIG_HOME" = /dev/null ] && [ "$1" = --help ] && exec cat {RECORDED / "help.txt"}\n')
        self.binary.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    @property
    def unit(self) -> Path:
        return self.units / "inference-chat.service"

    @property
    def key(self) -> Path:
        return self.config / "chat" / "api-key"

    def service(self, **more: Any) -> dict[str, Any]:
        options = {"ctx_size": 1024, "parallel": 2}
        return {"name": "chat", "model": {"file": str(self.model)}, "port": self.port, "api_key": KEY, "options": options, **more}

    def arguments(self, service: dict[str, Any], **parameters: Any) -> dict[str, Any]:
        return {
            "service": service,
            "binary": str(self.binary),
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "unit_directory": str(self.units),
            "config_directory": str(self.config),
            "state_directory": str(self.state),
            **parameters,
        }

    def run(self, service: dict[str, Any] | None = None, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        validated = ArgumentSpecValidator(inference_service.ARGUMENT_SPEC).validate(self.arguments(service or self.service(), **parameters))
        assert not validated.error_messages
        module: Any = SimpleNamespace(params=validated.validated_parameters, check_mode=check, _diff=True)
        return InferenceService(module, self.systemd, GpuHost(self.gpus.host())).run()

    def start(self) -> None:
        self.systemd.start(self.unit, self.key)

    def snapshot(self) -> dict[str, tuple[int, bytes | None]]:
        return {
            str(path): (stat.S_IMODE(path.lstat().st_mode), path.read_bytes() if path.is_file() else None)
            for path in sorted(self.root.rglob("*"))
        }


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(_service_host, "_HIDDEN", ())  # the tests' own files are below /tmp
    monkeypatch.setattr(inference_service, "STATE_ROOT", f"{tmp_path}/")
    return Host(tmp_path)


# -- present -----------------------------------------------------------------------------------------------------------


def test_check_then_run_then_check_then_run(host: Host) -> None:
    before = host.snapshot()
    predicted = host.run(check=True)
    assert host.snapshot() == before
    done = host.run()
    assert predicted == done
    assert done["changed"] and done["restart_required"] and done["daemon_reload_required"] and done["pending"]
    assert done["files"] == [str(host.unit), str(host.key)]
    host.start()
    after = host.snapshot()
    for again in (host.run(check=True), host.run()):
        assert not again["changed"] and not again["restart_required"] and not again["daemon_reload_required"]
        assert again["diff"] == []
    assert host.snapshot() == after


def test_a_replaced_model_file_asks_for_a_restart(host: Host) -> None:
    host.run()
    host.start()
    assert not host.run()["restart_required"]
    host.model.write_bytes(gguf(4096) + b"more")
    assert host.run()["restart_required"]


def test_a_model_of_the_hub_moves_with_its_branch(host: Host) -> None:
    cache = host.root / "hub" / "models--acme--tiny"
    for commit in ("a" * 40, "b" * 40):
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "snapshots" / commit / "m.gguf").write_bytes(gguf(4096))
    (cache / "refs").mkdir()
    service = host.service(model={"repo_id": "acme/tiny", "file": "m.gguf"})
    assert [problem["code"] for problem in host.run(service, check=True, hub_cache=str(host.root / "hub"))["problems"]] == ["model_missing"]
    for commit in ("a" * 40, "b" * 40):
        (cache / "refs" / "main").write_text(commit)
        result = host.run(service, hub_cache=str(host.root / "hub"))
        assert result["changed"] and result["argv"][2] == str(cache / "snapshots" / commit / "m.gguf")
    assert not host.run(service, hub_cache=str(host.root / "hub"))["changed"]


def test_it_tells_whether_the_unit_starts_with_the_host(host: Host) -> None:
    assert not host.run()["enabled"]
    wants = host.units / "multi-user.target.wants"
    wants.mkdir()
    (wants / host.unit.name).symlink_to(host.unit)
    assert host.run()["enabled"]


def test_a_link_whose_unit_was_deleted_starts_the_next_one_and_goes_with_the_service(host: Host) -> None:
    link = host.units / "multi-user.target.wants" / host.unit.name
    link.parent.mkdir()
    link.symlink_to(host.unit)
    assert host.run(check=True)["enabled"]
    assert host.run({"name": "chat"}, state="absent")["files"] == [str(link)]
    assert not link.is_symlink()


def test_what_it_returns(host: Host) -> None:
    result = host.run()
    assert result["unit"] == "inference-chat.service"
    assert result["release"] == str(host.release)
    assert result["argv"][:3] == [str(host.release / "bin" / "llama-server"), "--model", str(host.model)]
    assert result["base_url"] == f"http://127.0.0.1:{host.port}"
    assert result["expect"] == {
        "alias": "chat",
        "n_ctx": 512,
        "slots": 2,
        "listen": [f"127.0.0.1:{host.port}"],
        "gpus": [],
        "gpu_layers": None,
    }
    assert result["problems"] == []
    assert host.systemd.verified == [host.unit.read_text()]


def test_the_key_is_nowhere_but_in_its_file(host: Host) -> None:
    result = host.run()
    assert host.key.read_text() == f"{KEY}\n"
    assert stat.S_IMODE(host.key.stat().st_mode) == 0o600
    assert KEY not in json.dumps(result)
    assert KEY not in host.unit.read_text()
    rotated = host.run(host.service(api_key="sk-another"))
    assert [diff["before_header"] for diff in rotated["diff"]] == [str(host.key)]
    assert "sk-" not in json.dumps(rotated)


@pytest.mark.parametrize(
    ("more", "restart"),
    [
        ({"options": {"ctx_size": 2048}}, True),
        ({"environment": {"OMP_NUM_THREADS": "2"}}, True),
        ({"resources": {"cpus": 2}}, True),
        ({"api_key": "sk-another"}, True),
        ({"api_key": None}, True),
        ({"options": {"parallel": 2, "ctx_size": 1024}}, False),
    ],
)
def test_a_restart_is_due_when_the_process_would_see_a_difference(host: Host, more: dict[str, Any], restart: bool) -> None:
    host.run()
    host.start()
    result = host.run(host.service(**more))
    assert (result["changed"], result["restart_required"]) == (restart, restart)


def test_a_run_that_was_killed_before_the_restart_is_healed_by_the_next(host: Host) -> None:
    host.run()
    host.start()
    for change in ({"options": {"ctx_size": 2048}}, {"options": {"ctx_size": 2048}, "api_key": "sk-another"}):
        host.run(host.service(**change))  # and killed here
        healed = host.run(host.service(**change))
        assert not healed["changed"] and healed["restart_required"]
        host.start()
        assert not host.run(host.service(**change))["restart_required"]


def test_a_comment_that_was_changed_is_put_right_without_a_restart(host: Host) -> None:
    host.run()
    host.start()
    host.unit.write_text(host.unit.read_text().replace("# Limits.", "# No limits."))
    result = host.run()
    assert result["changed"] and result["daemon_reload_required"] and not result["restart_required"]


def test_a_setting_that_was_changed_by_hand_is_put_right_with_a_restart(host: Host) -> None:
    host.run()
    host.start()
    host.unit.write_text(host.unit.read_text().replace("--ctx-size 1024", "--ctx-size 2048"))
    result = host.run()
    assert result["changed"] and result["restart_required"]


def test_a_service_that_is_down_has_to_be_started(host: Host) -> None:
    host.run()
    result = host.run()
    assert not result["changed"] and result["restart_required"]


def test_a_drop_in_is_told(host: Host) -> None:
    host.run()
    host.systemd.running = UnitStatus(drop_ins=("/etc/systemd/system/inference-chat.service.d/mine.conf",))
    assert [(problem["code"], problem["severity"]) for problem in host.run()["problems"]] == [("drop_in", "warning")]


def test_a_unit_that_systemd_refuses_is_not_written(host: Host) -> None:
    host.systemd.refuses = "Unknown key name"
    before = host.snapshot()
    with pytest.raises(UserError, match="Unknown key name"):
        host.run()
    assert host.snapshot() == before


def test_in_check_mode_the_binary_and_the_model_may_still_be_missing(host: Host) -> None:
    host.binary.unlink()
    host.model.unlink()
    result = host.run(check=True)
    assert result["changed"]
    assert [(problem["code"], problem["severity"]) for problem in result["problems"]] == [
        ("model_missing", "warning"),
        ("binary_missing", "warning"),
    ]
    assert (result["expect"]["alias"], result["expect"]["n_ctx"]) == ("chat", None)
    assert host.systemd.verified == []


# -- GPUs --------------------------------------------------------------------------------------------------------------


UUID = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11"
NOT_LOADED = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.126"


def with_driver(host: Host) -> None:
    host.gpus.gpu("0000:17:00.0", "2236", "nvidia")
    host.gpus.loaded("580.126.09")
    host.gpus.library("580.126.09")
    host.gpus.smi(f"0, {UUID}, 00000000:17:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10")
    host.gpus.program("bin/nvidia-modprobe", "exit 0")


def test_without_gpus_nobody_asks_about_them(host: Host) -> None:
    with_driver(host)
    host.run()
    assert not (host.gpus.root / "asked").exists()


@pytest.mark.parametrize(("wanted", "options", "layers"), [(0, {}, "all"), (UUID, {"n_gpu_layers": 20}, "20")])
def test_a_gpu_is_bound_by_its_uuid(host: Host, wanted: int | str, options: dict[str, Any], layers: str) -> None:
    with_driver(host)
    result = host.run(host.service(gpus=[wanted], options=options))
    assert result["problems"] == []
    assert (result["expect"]["gpus"], result["expect"]["gpu_layers"]) == ([UUID], layers)
    assert f"Environment=CUDA_VISIBLE_DEVICES={UUID}\n" in host.unit.read_text()
    assert f"ExecStartPre=+{host.gpus.bin}/nvidia-smi --id={UUID} " in host.unit.read_text()


def test_a_release_for_the_cpu_is_warned_of_and_no_more(host: Host) -> None:
    with_driver(host)
    (host.release / "manifest.json").write_text('{"inputs": {"backend": "cpu"}}')
    assert [problem["code"] for problem in host.run(host.service(gpus=[0]))["problems"]] == ["cpu_release"]
    assert host.run()["problems"] == []
    (host.release / "manifest.json").write_text('{"inputs": {"backend": "cuda"}}')
    assert host.run(host.service(gpus=[0]))["problems"] == []


def test_a_gpu_that_moved_to_another_place_changes_nothing(host: Host) -> None:
    with_driver(host)
    host.run(host.service(gpus=[UUID]))
    host.start()
    host.gpus.smi(f"3, {UUID}, 0000000:CA:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10")
    again = host.run(host.service(gpus=[UUID]))
    assert not again["changed"] and not again["restart_required"]


def test_in_check_mode_the_driver_may_still_be_missing(host: Host) -> None:
    host.gpus.gpu("0000:17:00.0", "2236")
    result = host.run(host.service(gpus=[0]), check=True)
    assert [(problem["code"], problem["severity"]) for problem in result["problems"]] == [("no_driver", "warning")]
    assert result["changed"] and result["expect"]["gpus"] == []


def mismatched(host: Host) -> None:
    with_driver(host)
    host.gpus.smi(MISMATCH, 18)


def not_loaded(host: Host) -> None:
    host.gpus.gpu("0000:17:00.0", "2236")
    host.gpus.module_on_disk("580.126.09")
    host.gpus.library("580.126.09")
    host.gpus.smi(NOT_LOADED, 9)


def beside_a_lost_one(host: Host) -> None:
    with_driver(host)
    host.gpus.gpu("0000:cb:00.0", "2236", "nvidia")
    good = f"0, {UUID}, 00000000:17:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10"
    host.gpus.smi(f"{good}\nUnable to determine the device handle for GPU0000:CB:00.0: Unknown Error", 15)


def test_a_lost_gpu_does_not_matter_to_a_service_on_another(host: Host) -> None:
    beside_a_lost_one(host)
    assert host.run(host.service(gpus=[0]))["expect"]["gpus"] == [UUID]


def without_smi(host: Host) -> None:
    with_driver(host)
    (host.gpus.bin / "nvidia-smi").unlink()


@pytest.mark.parametrize(
    ("prepare", "gpus", "code", "told"),
    [
        (with_driver, [1], "gpu_not_there", f"this host has 0 (NVIDIA A10, {UUID})"),
        (with_driver, ["GPU-00000000-0000-0000-0000-000000000000"], "gpu_not_there", UUID),
        (with_driver, [0, UUID], "gpu_twice", "names a GPU twice"),
        (lambda host: None, [0], "gpu_not_there", "this host has no NVIDIA GPU"),
        (lambda host: host.gpus.gpu("0000:17:00.0", "2236"), [0], "no_driver", "gpus: 0 cannot be used: No NVIDIA driver is installed"),
        (lambda host: host.gpus.gpu("0000:17:00.0", "2236"), [UUID], "no_driver", "No NVIDIA driver is installed"),
        (mismatched, [0], "driver_mismatch", "The kernel runs NVIDIA driver 580.126.09"),
        (not_loaded, [0], "driver_not_loaded", "is installed, but not loaded"),
        (without_smi, [0], "no_nvidia_smi", "nvidia-smi is not there"),
        (beside_a_lost_one, [1], "gpu_lost", "gpus: 1 cannot be used: NVIDIA A10 at 0000:cb:00.0 is lost"),
        (beside_a_lost_one, [2], "gpu_not_there", "gpus: 2 is not there"),
    ],
)
def test_gpus_that_cannot_be_used_stop_it_before_any_change(
    host: Host, prepare: Callable[[Host], None], gpus: list[int | str], code: str, told: str
) -> None:
    prepare(host)
    before = host.snapshot()
    with pytest.raises(ProblemsError) as caught:
        host.run(host.service(gpus=gpus))
    (problem,) = caught.value.problems
    assert (problem.code, problem.severity.value) == (code, "error")
    assert told in problem.message
    assert {path: state for path, state in host.snapshot().items() if "/gpus/" not in path} == {
        path: state for path, state in before.items() if "/gpus/" not in path
    }


# -- bad input ---------------------------------------------------------------------------------------------------------


def not_a_model(host: Host) -> dict[str, Any]:
    path = host.root / "text.gguf"
    path.write_text("<!doctype html>")
    return {"model": {"file": str(path)}}


def with_neighbour(host: Host) -> dict[str, Any]:
    (host.units / "inference-embed.service").write_text(f"[Service]\nExecStart=/bin/llama-server --port {host.port}\n")
    return {}


@pytest.mark.parametrize(
    ("service", "parameters", "code"),
    [
        (lambda host: {"options": {"ctx_sise": 1}}, {}, "option_unknown"),
        (lambda host: {"options": {"mlock": True}}, {}, "option_removed"),
        (lambda host: {"options": {"port": 1}}, {}, "option_owned"),
        (lambda host: {"options": {"ctx_size": "32k"}}, {}, "option_value"),
        (lambda host: {"options": {"parallel": 0}}, {}, "parallel_zero"),
        (lambda host: {"options": {"device": "CUDA0"}}, {}, "device_without_gpus"),
        (lambda host: {"options": {"chat_template": "a\nUser=root"}}, {}, "unsafe_text"),
        (lambda host: {"options": {"alias": "%h"}}, {}, "unsafe_text"),
        (lambda host: {"environment": {"LLAMA_ARG_MODEL": "/m"}}, {}, "option_owned"),
        (lambda host: {"environment": {"HF_TOKEN": "hf_x"}}, {}, "environment_secret"),
        (lambda host: {"api_key": "two words"}, {}, "api_key_invalid"),
        (lambda host: {"name": "a/b"}, {}, "name_invalid"),
        (lambda host: {"engine": "vllm"}, {}, "not_supported_yet"),
        (lambda host: {"model": {"file": "/none.gguf"}}, {}, "model_missing"),
        (lambda host: {"model": {"file": str(host.root)}}, {}, "model_is_directory"),
        (lambda host: {"model": None}, {}, "missing_key"),
        (not_a_model, {}, "model_not_gguf"),
        (with_neighbour, {}, "port_of_other_service"),
        (lambda host: {}, {"binary": "/none"}, "binary_missing"),
        (lambda host: {}, {"binary": "/etc"}, "binary_unusable"),
        (lambda host: {}, {"binary": None}, "missing_key"),
        (lambda host: {}, {"binary": "llama-server"}, "path_relative"),
        (lambda host: {}, {"user": "in\nference"}, "unsafe_text"),
        (lambda host: {}, {"config_directory": "/etc/100%"}, "unsafe_text"),
        (lambda host: {}, {"state_directory": "/srv/inference"}, "state_directory_invalid"),
    ],
)
def test_bad_input_is_one_error_and_changes_nothing(
    host: Host, service: Callable[[Host], dict[str, Any]], parameters: dict[str, Any], code: str
) -> None:
    described = host.service(**service(host))
    before = host.snapshot()
    with pytest.raises(ProblemsError) as caught:
        host.run(described, **parameters)
    assert [problem.code for problem in caught.value.problems if problem.severity.value == "error"] == [code]
    assert host.snapshot() == before


def test_a_port_that_something_else_holds_is_refused(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, pytest.raises(ProblemsError, match=r"is held by .*pid"):
        host.run(host.service(port=held.getsockname()[1]))
    assert not host.unit.exists()


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho something else\n", "\x7fELF of another machine"])
def test_a_binary_that_is_no_llama_server_is_refused(host: Host, script: str) -> None:
    host.binary.write_text(script)
    with pytest.raises(UserError, match="does not answer as llama-server does"):
        host.run()


def test_the_configuration_of_the_host_is_suspected_where_there_is_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    stray = host.root / "config.ini"
    stray.write_text("[*]\nctx-size = many\n")
    monkeypatch.setattr(inference_service, "HOST_CONFIG", str(stray))
    host.run()  # a help that is printed is fine
    host.binary.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UserError, match=r"correct .*config\.ini"):
        host.run()


def test_every_code_is_documented() -> None:
    plugins = Path(inference_service.__file__).parents[1]
    sources = [Path(inference_service.__file__), *(plugins / "module_utils" / f"{name}.py" for name in USED)]
    found = {code for source in sources for code in CODE.findall(source.read_text(encoding="utf-8"))}
    described = yaml.safe_load(inference_service.RETURN)["problems"]["contains"]["code"]["description"]
    assert set(re.findall(r"V\((\w+)\)", " ".join(described))) == found


# -- accepted, reverted ------------------------------------------------------------------------------------------------


def test_what_was_accepted_comes_back(host: Host) -> None:
    first = host.run()
    host.start()
    assert first["pending"]
    accepted = host.run(state="accepted")
    assert not accepted["changed"] and not accepted["pending"]
    assert not host.run()["pending"]
    proven = (host.unit.read_text(), host.key.read_text())

    worse = host.run(host.service(options={"ctx_size": 4096}, api_key="sk-another"))
    host.start()
    assert worse["pending"] and worse["changed"]
    predicted = host.run({"name": "chat"}, check=True, state="reverted")
    assert (host.unit.read_text(), host.key.read_text()) != proven
    reverted = host.run({"name": "chat"}, state="reverted")
    assert predicted == reverted
    assert reverted["changed"] and reverted["reverted"] and reverted["restart_required"] and not reverted["pending"]
    assert (host.unit.read_text(), host.key.read_text()) == proven
    assert reverted["argv"] == first["argv"] and reverted["base_url"] == first["base_url"]

    host.start()
    again = host.run({"name": "chat"}, state="reverted")
    assert not again["changed"] and not again["reverted"] and not again["restart_required"]
    settled = host.run()
    assert not settled["changed"] and not settled["pending"]


def test_what_never_served_is_nothing_to_go_back_to(host: Host) -> None:
    host.run()
    before = host.snapshot()
    result = host.run({"name": "chat"}, state="reverted")
    assert not result["changed"] and not result["reverted"]
    assert host.snapshot() == before


def test_two_failed_changes_lead_back_to_the_same_place(host: Host) -> None:
    host.run()
    host.run(state="accepted")
    proven = host.unit.read_text()
    host.run(host.service(options={"ctx_size": 2048}))
    host.start()  # it runs, and has not been proven
    host.run(host.service(options={"ctx_size": 4096}))
    host.run({"name": "chat"}, state="reverted")
    assert host.unit.read_text() == proven


def test_nothing_to_accept_and_nothing_to_revert(host: Host) -> None:
    before = host.snapshot()
    for state in ("accepted", "reverted"):
        result = host.run({"name": "chat"}, state=state)
        assert not result["changed"] and not result["restart_required"]
    assert host.snapshot() == before


def test_accepting_in_check_mode_notes_nothing(host: Host) -> None:
    host.run()
    before = host.snapshot()
    host.run(check=True, state="accepted")
    assert host.snapshot() == before


# -- absent ------------------------------------------------------------------------------------------------------------


def test_absent_is_gone(host: Host) -> None:
    empty = set(host.snapshot())
    host.run()
    host.run(state="accepted")
    host.start()
    (host.state / "chat").mkdir(parents=True)
    there = host.snapshot()
    predicted = host.run({"name": "chat"}, check=True, state="absent")
    assert host.snapshot() == there and host.systemd.did == []
    done = host.run({"name": "chat"}, state="absent")
    assert predicted == done and done["changed"]
    assert done["files"] == [str(host.unit), str(host.key.parent), str(host.state / "chat")]
    assert host.systemd.did == ["stop", "forget"]
    assert set(host.snapshot()) - empty == {str(host.root / "etc"), str(host.root / "lib")}
    again = host.run({"name": "chat"}, state="absent")
    assert not again["changed"] and again["files"] == [] and host.systemd.did == ["stop", "forget"]


# -- the module as Ansible runs it -------------------------------------------------------------------------------------


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    results: list[tuple[str, dict[str, Any]]] = []

    def end(how: str) -> Callable[..., None]:
        def ending(self: object, **result: Any) -> None:
            results.append((how, result))
            raise SystemExit

        return ending

    monkeypatch.setattr(inference_service.AnsibleModule, "exit_json", end("exit"))
    monkeypatch.setattr(inference_service.AnsibleModule, "fail_json", end("fail"))
    return results


@pytest.mark.parametrize(
    ("more", "how", "expected"),
    [
        ({}, "exit", {"changed": True}),
        (
            {"options": {"ctx_sise": 1}},
            "fail",
            {"msg": "options.ctx_sise: this build of llama-server has no --ctx-sise. Did you mean ctx_size?"},
        ),
    ],
)
def test_main(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    ended: list[tuple[str, dict[str, Any]]],
    more: dict[str, Any],
    how: str,
    expected: dict[str, Any],
) -> None:
    monkeypatch.setattr(inference_service, "Systemd", lambda: host.systemd)
    with patch_module_args(host.arguments(host.service(**more))), pytest.raises(SystemExit):
        inference_service.main()
    assert [(ending, result | expected == result) for ending, result in ended] == [(how, True)]


def test_main_passes_on_what_a_program_said(host: Host, monkeypatch: pytest.MonkeyPatch, ended: list[tuple[str, dict[str, Any]]]) -> None:
    host.systemd.refuses = "Unknown key name"
    monkeypatch.setattr(inference_service, "Systemd", lambda: host.systemd)
    with patch_module_args(host.arguments(host.service())), pytest.raises(SystemExit):
        inference_service.main()
    assert [(ending, result["rc"]) for ending, result in ended] == [("fail", 1)]
