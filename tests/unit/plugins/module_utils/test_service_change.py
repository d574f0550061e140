# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _account, _llama_server_binary, _service_host, _systemd_service
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import ProblemsError
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import UnitStatus
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_service_host import KEY, ME, ServiceHost, gguf


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceHost:
    monkeypatch.setattr(_service_host, "_HIDDEN", ())  # the tests' own files are below /tmp
    monkeypatch.setattr(_systemd_service, "STATE_ROOT", f"{tmp_path}/")
    return ServiceHost(tmp_path)


# -- present -----------------------------------------------------------------------------------------------------------


def test_check_then_run_then_check_then_run(host: ServiceHost) -> None:
    before = host.snapshot()
    predicted = host.run(check=True)
    assert host.snapshot() == before
    done = host.run()
    assert predicted == done
    assert done.changed and done.restart_required and done.daemon_reload_required and done.pending
    assert done.files == [str(host.unit), str(host.key)]
    host.start()
    after = host.snapshot()
    for again in (host.run(check=True), host.run()):
        assert not again.changed and not again.restart_required and not again.daemon_reload_required
        assert again.diffs == ()
    assert host.snapshot() == after


def test_a_replaced_model_file_asks_for_a_restart(host: ServiceHost) -> None:
    host.run()
    host.start()
    assert not host.run().restart_required
    host.model.write_bytes(gguf(4096) + b"more")
    assert host.run().restart_required


def test_a_model_of_the_hub_moves_with_its_branch(host: ServiceHost) -> None:
    cache = host.root / "hub" / "models--acme--tiny"
    for commit in ("a" * 40, "b" * 40):
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "snapshots" / commit / "m.gguf").write_bytes(gguf(4096))
    (cache / "refs").mkdir()
    service = host.service(model={"repo_id": "acme/tiny", "file": "m.gguf"})
    assert [problem.code for problem in host.run(service, check=True).problems] == ["model_missing"]
    for commit in ("a" * 40, "b" * 40):
        (cache / "refs" / "main").write_text(commit)
        result = host.run(service)
        assert result.changed and result.argv[2] == str(cache / "snapshots" / commit / "m.gguf")
    assert not host.run(service).changed


def test_it_tells_whether_the_unit_starts_with_the_host(host: ServiceHost) -> None:
    assert not host.run().enabled
    wants = host.units / "multi-user.target.wants"
    wants.mkdir()
    (wants / host.unit.name).symlink_to(host.unit)
    assert host.run().enabled


def test_a_link_whose_unit_was_deleted_starts_the_next_one_and_goes_with_the_service(host: ServiceHost) -> None:
    link = host.units / "multi-user.target.wants" / host.unit.name
    link.parent.mkdir()
    link.symlink_to(host.unit)
    assert host.run(check=True).enabled
    assert host.run({"name": "chat"}, state="absent").files == [str(link)]
    assert not link.is_symlink()


def test_what_it_returns(host: ServiceHost) -> None:
    result = host.run()
    assert result.unit == "inference-chat.service"
    assert result.release == str(host.release)
    assert result.argv[:3] == [str(host.release / "bin" / "llama-server"), "--model", str(host.model)]
    assert result.base_url == f"http://127.0.0.1:{host.port}"
    assert result.expect == {
        "alias": "chat",
        "n_ctx": 512,
        "slots": 2,
        "listen": [f"127.0.0.1:{host.port}"],
        "gpus": [],
        "gpu_layers": None,
    }
    assert result.problems == ()
    assert host.systemd.verified == [host.unit.read_text()]


def test_the_key_is_nowhere_but_in_its_file(host: ServiceHost) -> None:
    result = host.run()
    assert host.key.read_text() == f"{KEY}\n"
    assert stat.S_IMODE(host.key.stat().st_mode) == 0o600
    assert KEY not in repr(result)
    assert KEY not in host.unit.read_text()
    rotated = host.run(host.service(api_key="sk-another"))
    assert [diff.path for diff in rotated.diffs] == [str(host.key)]
    assert "sk-" not in repr(rotated)


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
def test_a_restart_is_due_when_the_process_would_see_a_difference(host: ServiceHost, more: dict[str, Any], restart: bool) -> None:
    host.run()
    host.start()
    result = host.run(host.service(**more))
    assert (result.changed, result.restart_required) == (restart, restart)


def test_a_run_that_was_killed_before_the_restart_is_healed_by_the_next(host: ServiceHost) -> None:
    host.run()
    host.start()
    for change in ({"options": {"ctx_size": 2048}}, {"options": {"ctx_size": 2048}, "api_key": "sk-another"}):
        host.run(host.service(**change))  # and killed here
        healed = host.run(host.service(**change))
        assert not healed.changed and healed.restart_required
        host.start()
        assert not host.run(host.service(**change)).restart_required


def test_a_comment_that_was_changed_is_put_right_without_a_restart(host: ServiceHost) -> None:
    host.run()
    host.start()
    host.unit.write_text(host.unit.read_text().replace("# Limits.", "# No limits."))
    result = host.run()
    assert result.changed and result.daemon_reload_required and not result.restart_required


def test_a_setting_that_was_changed_by_hand_is_put_right_with_a_restart(host: ServiceHost) -> None:
    host.run()
    host.start()
    host.unit.write_text(host.unit.read_text().replace("--ctx-size 1024", "--ctx-size 2048"))
    result = host.run()
    assert result.changed and result.restart_required


def test_a_service_that_is_down_has_to_be_started(host: ServiceHost) -> None:
    host.run()
    result = host.run()
    assert not result.changed and result.restart_required


def test_a_drop_in_is_told(host: ServiceHost) -> None:
    host.run()
    host.systemd.running = UnitStatus(drop_ins=("/etc/systemd/system/inference-chat.service.d/mine.conf",))
    assert [(problem.code, problem.severity.value) for problem in host.run().problems] == [("drop_in", "warning")]


def test_an_account_that_is_missing_is_a_change(host: ServiceHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run()
    made: list[str] = []
    monkeypatch.setattr(_account, "exists", lambda user: user in made)
    monkeypatch.setattr(_account, "create", lambda user, group, home: made.append(user))
    assert host.run(check=True).changed and made == []
    assert host.run().changed and made == [ME]
    assert not host.run().changed


def test_what_only_the_model_can_tell_is_told(host: ServiceHost) -> None:
    result = host.run(host.service(options={"ctx_size": 8192, "parallel": 1}))
    assert [(problem.code, problem.severity.value) for problem in result.problems] == [("context_beyond_training", "warning")]


def test_a_unit_that_systemd_refuses_is_not_written(host: ServiceHost) -> None:
    host.systemd.refuses = "Unknown key name"
    before = host.snapshot()
    with pytest.raises(UserError, match="Unknown key name"):
        host.run()
    assert host.snapshot() == before


def test_in_check_mode_the_binary_and_the_model_may_still_be_missing(host: ServiceHost) -> None:
    host.binary.unlink()
    host.model.unlink()
    result = host.run(check=True)
    assert result.changed
    assert [(problem.code, problem.severity.value) for problem in result.problems] == [
        ("model_missing", "warning"),
        ("binary_missing", "warning"),
    ]
    assert (result.expect["alias"], result.expect["n_ctx"]) == ("chat", None)
    assert host.systemd.verified == []


# -- GPUs --------------------------------------------------------------------------------------------------------------


UUID = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11"
NOT_LOADED = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.126"


def with_driver(host: ServiceHost) -> None:
    host.gpus.gpu("0000:17:00.0", "2236", "nvidia")
    host.gpus.loaded("580.126.09")
    host.gpus.library("580.126.09")
    host.gpus.smi(f"0, {UUID}, 00000000:17:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10")
    host.gpus.program("bin/nvidia-modprobe", "exit 0")


def test_without_gpus_nobody_asks_about_them(host: ServiceHost) -> None:
    with_driver(host)
    host.run()
    assert not (host.gpus.root / "asked").exists()


@pytest.mark.parametrize(("wanted", "options", "layers"), [(0, {}, "all"), (UUID, {"n_gpu_layers": 20}, "20")])
def test_a_gpu_is_bound_by_its_uuid(host: ServiceHost, wanted: int | str, options: dict[str, Any], layers: str) -> None:
    with_driver(host)
    result = host.run(host.service(gpus=[wanted], options=options))
    assert result.problems == ()
    assert (result.expect["gpus"], result.expect["gpu_layers"]) == ([UUID], layers)
    assert f"Environment=CUDA_VISIBLE_DEVICES={UUID}\n" in host.unit.read_text()
    assert f"ExecStartPre=+{host.gpus.bin}/nvidia-smi --id={UUID} " in host.unit.read_text()


def test_a_release_for_the_cpu_is_warned_of_and_no_more(host: ServiceHost) -> None:
    with_driver(host)
    (host.release / "manifest.json").write_text('{"inputs": {"backend": "cpu"}}')
    assert [problem.code for problem in host.run(host.service(gpus=[0])).problems] == ["cpu_release"]
    assert host.run().problems == ()
    (host.release / "manifest.json").write_text('{"inputs": {"backend": "cuda"}}')
    assert host.run(host.service(gpus=[0])).problems == ()


def test_a_gpu_that_moved_to_another_place_changes_nothing(host: ServiceHost) -> None:
    with_driver(host)
    host.run(host.service(gpus=[UUID]))
    host.start()
    host.gpus.smi(f"3, {UUID}, 0000000:CA:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10")
    again = host.run(host.service(gpus=[UUID]))
    assert not again.changed and not again.restart_required


def test_in_check_mode_the_driver_may_still_be_missing(host: ServiceHost) -> None:
    host.gpus.gpu("0000:17:00.0", "2236")
    result = host.run(host.service(gpus=[0]), check=True)
    assert [(problem.code, problem.severity.value) for problem in result.problems] == [("no_driver", "warning")]
    assert result.changed and result.expect["gpus"] == []


def mismatched(host: ServiceHost) -> None:
    with_driver(host)
    host.gpus.smi(MISMATCH, 18)


def not_loaded(host: ServiceHost) -> None:
    host.gpus.gpu("0000:17:00.0", "2236")
    host.gpus.module_on_disk("580.126.09")
    host.gpus.library("580.126.09")
    host.gpus.smi(NOT_LOADED, 9)


def beside_a_lost_one(host: ServiceHost) -> None:
    with_driver(host)
    host.gpus.gpu("0000:cb:00.0", "2236", "nvidia")
    good = f"0, {UUID}, 00000000:17:00.0, 8.6, 23028, 580.126.09, [N/A], NVIDIA A10"
    host.gpus.smi(f"{good}\nUnable to determine the device handle for GPU0000:CB:00.0: Unknown Error", 15)


def test_a_lost_gpu_does_not_matter_to_a_service_on_another(host: ServiceHost) -> None:
    beside_a_lost_one(host)
    assert host.run(host.service(gpus=[0])).expect["gpus"] == [UUID]


def without_smi(host: ServiceHost) -> None:
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
    host: ServiceHost, prepare: Callable[[ServiceHost], None], gpus: list[int | str], code: str, told: str
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


def not_a_model(host: ServiceHost) -> dict[str, Any]:
    path = host.root / "text.gguf"
    path.write_text("<!doctype html>")
    return {"model": {"file": str(path)}}


def with_neighbour(host: ServiceHost) -> dict[str, Any]:
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
        (lambda host: {"engine": "vllm"}, {}, "engine_needs_compose"),
        (lambda host: {"model": {"file": "/none.gguf"}}, {}, "model_missing"),
        (lambda host: {"model": {"file": str(host.root)}}, {}, "model_is_directory"),
        (lambda host: {"model": None}, {}, "missing_key"),
        (not_a_model, {}, "model_not_gguf"),
        (with_neighbour, {}, "port_of_other_service"),
        (lambda host: {}, {"binary": "/none"}, "binary_missing"),
        (lambda host: {}, {"binary": "/etc"}, "binary_unusable"),
        (lambda host: {}, {"binary": ""}, "missing_key"),
        (lambda host: {}, {"binary": "llama-server"}, "path_relative"),
        (lambda host: {}, {"user": "in\nference"}, "unsafe_text"),
        (lambda host: {}, {"config_directory": "/etc/100%"}, "unsafe_text"),
        (lambda host: {}, {"state_directory": "/srv/inference"}, "state_directory_invalid"),
    ],
)
def test_bad_input_is_one_error_and_changes_nothing(
    host: ServiceHost, service: Callable[[ServiceHost], dict[str, Any]], parameters: dict[str, Any], code: str
) -> None:
    described = host.service(**service(host))
    before = host.snapshot()
    with pytest.raises(ProblemsError) as caught:
        host.run(described, **parameters)
    assert [problem.code for problem in caught.value.problems if problem.severity.value == "error"] == [code]
    assert host.snapshot() == before


def test_a_port_that_something_else_holds_is_refused(host: ServiceHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, pytest.raises(ProblemsError, match=r"is held by .*pid"):
        host.run(host.service(port=held.getsockname()[1]))
    assert not host.unit.exists()


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho something else\n", "\x7fELF of another machine"])
def test_a_binary_that_is_no_llama_server_is_refused(host: ServiceHost, script: str) -> None:
    host.binary.write_text(script)
    with pytest.raises(UserError, match="does not answer as llama-server does"):
        host.run()


def test_the_configuration_of_the_host_is_suspected_where_there_is_one(host: ServiceHost, monkeypatch: pytest.MonkeyPatch) -> None:
    stray = host.root / "config.ini"
    stray.write_text("[*]\nctx-size = many\n")
    monkeypatch.setattr(_llama_server_binary, "HOST_CONFIG", str(stray))
    host.run()  # a help that is printed is fine
    host.binary.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UserError, match=r"correct .*config\.ini"):
        host.run()


# -- accepted, reverted ------------------------------------------------------------------------------------------------


def test_what_was_accepted_comes_back(host: ServiceHost) -> None:
    first = host.run()
    host.start()
    assert first.pending
    accepted = host.run(state="accepted")
    assert not accepted.changed and not accepted.pending
    assert not host.run().pending
    proven = (host.unit.read_text(), host.key.read_text())

    worse = host.run(host.service(options={"ctx_size": 4096}, api_key="sk-another"))
    host.start()
    assert worse.pending and worse.changed
    predicted = host.run({"name": "chat"}, check=True, state="reverted")
    assert (host.unit.read_text(), host.key.read_text()) != proven
    reverted = host.run({"name": "chat"}, state="reverted")
    assert predicted == reverted
    assert reverted.changed and reverted.reverted and reverted.restart_required and not reverted.pending
    assert (host.unit.read_text(), host.key.read_text()) == proven
    assert reverted.argv == first.argv and reverted.base_url == first.base_url

    host.start()
    again = host.run({"name": "chat"}, state="reverted")
    assert not again.changed and not again.reverted and not again.restart_required
    settled = host.run()
    assert not settled.changed and not settled.pending


def test_what_never_served_is_nothing_to_go_back_to(host: ServiceHost) -> None:
    host.run()
    before = host.snapshot()
    result = host.run({"name": "chat"}, state="reverted")
    assert not result.changed and not result.reverted
    assert host.snapshot() == before


def test_two_failed_changes_lead_back_to_the_same_place(host: ServiceHost) -> None:
    host.run()
    host.run(state="accepted")
    proven = host.unit.read_text()
    host.run(host.service(options={"ctx_size": 2048}))
    host.start()  # it runs, and has not been proven
    host.run(host.service(options={"ctx_size": 4096}))
    host.run({"name": "chat"}, state="reverted")
    assert host.unit.read_text() == proven


def test_nothing_to_accept_and_nothing_to_revert(host: ServiceHost) -> None:
    before = host.snapshot()
    for state in ("accepted", "reverted"):
        result = host.run({"name": "chat"}, state=state)
        assert not result.changed and not result.restart_required
    assert host.snapshot() == before


def test_accepting_in_check_mode_notes_nothing(host: ServiceHost) -> None:
    host.run()
    before = host.snapshot()
    assert not host.run(check=True, state="accepted").pending
    assert host.snapshot() == before


def test_what_was_accepted_outlives_a_unit_that_was_deleted(host: ServiceHost) -> None:
    host.run()
    host.run(state="accepted")
    proven = host.unit.read_text()
    host.unit.unlink()
    host.run({"name": "chat"}, state="accepted")
    assert host.run({"name": "chat"}, state="reverted").reverted
    assert host.unit.read_text() == proven


# -- stopped, absent ---------------------------------------------------------------------------------------------------


def test_what_runs_is_stopped_and_started_again(host: ServiceHost) -> None:
    for state in ("started", "stopped"):
        assert not host.run(state=state).changed, "there is nothing yet"
    host.run()
    assert not host.run(state="stopped").changed
    host.start()
    predicted = host.run(check=True, state="stopped")
    assert predicted.changed and host.systemd.did == []
    done = host.run(state="stopped")
    assert done.changed and done.restart_required and host.systemd.did == ["stop"]
    assert not host.run(state="stopped").changed
    assert host.run(check=True, state="started").changed and host.systemd.did == ["stop"]
    assert host.run(state="started").changed and host.systemd.did == ["stop", "start"]
    assert not host.run(state="started").changed


def test_absent_is_gone(host: ServiceHost) -> None:
    empty = set(host.snapshot())
    host.run()
    host.run(state="accepted")
    host.start()
    (host.state / "chat").mkdir(parents=True)
    there = host.snapshot()
    predicted = host.run({"name": "chat"}, check=True, state="absent")
    assert host.snapshot() == there and host.systemd.did == []
    done = host.run({"name": "chat"}, state="absent")
    assert predicted == done and done.changed
    assert done.files == [str(host.unit), str(host.key.parent), str(host.state / "chat")]
    assert host.systemd.did == ["stop", "forget"]
    assert set(host.snapshot()) - empty == {str(host.root / "etc"), str(host.root / "lib")}
    again = host.run({"name": "chat"}, state="absent")
    assert not again.changed and again.files == [] and host.systemd.did == ["stop", "forget"]
