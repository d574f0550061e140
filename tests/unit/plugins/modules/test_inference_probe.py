# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.modules import inference_probe
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import FakeLlamaServer, FakeVllm

KEY = "sk-never-to-be-seen"


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(check_mode: bool = False, **args: Any) -> dict[str, Any]:
        with patch_module_args({**args, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            inference_probe.main()
        printed = capsys.readouterr().out
        assert KEY not in printed
        result: dict[str, Any] = json.loads(printed)
        return result

    return run


def test_a_real_socket_and_a_whole_expectation(ask: Any) -> None:
    with FakeLlamaServer(api_key=KEY) as server:
        expect = {"alias": "tiny", "n_ctx": 1024, "slots": 2, "listen": [f"127.0.0.1:{server.port}"]}
        result = ask(base_url=server.url, api_key=KEY, expect=expect)
    assert (result["healthy"], result["changed"], "journal" in result) == (True, False, False)
    assert [check["name"] for check in result["checks"]][1:3] == ["listeners", "auth"]
    assert set(result["checks"][0]) == {"name", "ok", "detail"}
    assert result["server"]["alias"] == "tiny"


def test_a_failure_brings_all_checks_and_the_journal(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, output in (("systemctl", "ActiveState=active"), ("journalctl", f"key {KEY}: too late\nout of memory")):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with FakeLlamaServer(api_key=KEY) as server:
        result = ask(base_url=server.url, api_key=KEY, unit="inference-chat.service", expect={"alias": "chat"})
        url = server.url
    assert (result["failed"], result["healthy"]) == (True, False)
    assert result["msg"].startswith(f"inference-chat.service ({url}) fails the check 'model': serves tiny, you asked for chat.")
    assert [check["ok"] for check in result["checks"]] == [True, True, False, True, True]
    assert result["journal"][-1] == "out of memory"


def test_a_container_that_ended_is_told_with_its_log(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"Status": "exited", "ExitCode": 2, "StartedAt": "2026-11-27T06:48:10.7Z"}
    (tmp_path / "inspected").write_text(json.dumps([{"Id": "1edc", "State": state}]), encoding="utf-8")
    said = f"vllm serve: error: unrecognized arguments: --calculate-kv-scales {KEY}"
    (tmp_path / "docker").write_text(f"#!/bin/sh\n[ $2 = logs ] && echo '{said}' >&2 || cat {tmp_path}/inspected\n", encoding="utf-8")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    result = ask(base_url="http://127.0.0.1:9", engine="vllm", api_key=KEY, container="inference-mistral")
    assert result["msg"].startswith(
        "inference-mistral (http://127.0.0.1:9) fails the check 'health': it has ended (it exited with status 2)"
    )
    assert "This vLLM has no such option" in result["msg"]
    assert result["journal"][0].startswith("vllm serve: error: unrecognized")


def test_a_vllm_is_proven_and_a_small_cache_warned_of(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module's warnings go elsewhere than into its result where Ansible's own side has been imported, as other tests do.
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda module, warning: warned.append(warning))
    with FakeVllm(api_key=KEY) as server:
        expect = {"alias": "mistral", "n_ctx": 32768, "metrics": True, "kv_cache_tokens": {"low": 200000, "high": 250000}}
        result = ask(base_url=server.url, engine="vllm", api_key=KEY, expect=expect)
    assert result["healthy"], result
    assert result["server"]["kv_cache_tokens"] == 129360
    assert "200000 to 250000 were planned" in str(warned)


def test_check_mode_asks_nothing(ask: Any) -> None:
    with FakeLlamaServer() as server:
        result = ask(base_url=server.url, check_mode=True)
    assert (result["skipped"], server.asked) == (True, [])
    assert "check mode" in result["msg"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"base_url": "127.0.0.1:8080"}, "base_url is '127.0.0.1:8080'"),
        ({"base_url": "http://127.0.0.1:1", "expect": {"listen": ["8080"]}}, "expect.listen has '8080'"),
        ({"base_url": "http://127.0.0.1:1", "api_key": f"{KEY}\n"}, "api_key holds"),
        ({"base_url": "http://127.0.0.1:1", "unit": "a.service", "container": "a"}, "mutually exclusive: unit|container"),
        ({"base_url": "http://127.0.0.1:1", "expect": {"gpus": ["GPU-1"]}}, "expect.gpus is given without unit or container"),
        ({}, "missing required arguments: base_url"),
    ],
)
def test_bad_input_is_named_before_anything_is_asked(ask: Any, args: dict[str, Any], message: str) -> None:
    result = ask(**args)
    assert result["failed"] and message in result["msg"]
