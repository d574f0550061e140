# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it: a process of its own, its arguments on standard input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked
from ansible_collections.baremetal.llm.plugins.modules import load_check as module
from ansible_collections.baremetal.llm.tests.trivial_api import Answer, Answers, Asked, TrivialApi, http

KEY = "sk-of-the-load-check"
ORDINARY = Answers(4)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "baremetal.llm"


def run(home: Path, check_mode: bool = False, **args: Any) -> tuple[dict[str, Any], str]:
    code = f"import os; os.geteuid = lambda: 1000\nfrom {module.__name__} import main; main()"
    arguments = {"seconds": 1, "warm_up": 0, "parallel": 2, "request_timeout": 2, **args, "_ansible_check_mode": check_mode}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert KEY not in done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result, done.stderr


def locked_out(asked: Asked) -> Answer:
    # Not at once, or the load check might say of itself that it was busy.
    return [0.03, ORDINARY(asked)] if f"Bearer {KEY}\r\n" in f"{asked.head}\r\n" else http(401, b'{"error":{"message":"Invalid API Key"}}')


def test_what_is_measured_is_returned(home: Path) -> None:
    with TrivialApi(locked_out) as api:
        result, errors = run(home, base_url=api.url, api_key=KEY)
    assert not result.get("failed") and result["changed"] is False and errors == ""
    assert (result["base_url"], result["model"], result["problems"], result["message"]) == (api.url, "trivial", [], "")
    assert result["parameters"]["parallel"] == 2 and "seconds" not in result["parameters"]
    assert result["figures"]["requests"]["succeeded"] > 5
    assert sorted(path.name for path in home.iterdir()) == ["load-check.lock"]


def test_a_wrong_key_fails_with_its_error_counted(home: Path) -> None:
    with TrivialApi(locked_out) as api:
        result, _errors = run(home, base_url=api.url, api_key=f"{KEY}-not")
        assert result["failed"] and result["figures"]["errors"] == {"http_401": 1}
        assert result["msg"] == f"{api.url}: the first request failed, http_401: GET /v1/models is answered: Invalid API Key"
        tolerated, _errors = run(home, base_url=api.url, api_key=f"{KEY}-not", require_success=False)
    assert not tolerated.get("failed") and tolerated["figures"] == {**result["figures"], "seconds": tolerated["figures"]["seconds"]}


def test_check_mode_asks_nothing(home: Path) -> None:
    result, _errors = run(home, check_mode=True, base_url="http://127.0.0.1:1")
    assert result["skipped"] and "figures" not in result and result["progress_file"].startswith(f"{home}/load-check-")
    assert not home.exists()


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(home: Path, check_mode: bool) -> None:
    result, _errors = run(home, check_mode=check_mode, base_url="http://127.0.0.1:1", parallel=0)
    assert result["failed"] and result["msg"] == "parallel is 0: give a number from 1 to 1024."


def test_a_key_that_no_server_can_receive(home: Path) -> None:
    result, _errors = run(home, base_url="http://127.0.0.1:1", api_key=f"{KEY}\n")
    assert result["failed"] and "api_key holds" in result["msg"]


def test_only_one_at_a_time(home: Path) -> None:
    with locked(home / "load-check.lock"):
        result, _errors = run(home, base_url="http://127.0.0.1:1")
    assert result["failed"] and "another load check runs on this host" in result["msg"]


def test_few_requests_are_a_warning(home: Path) -> None:
    with TrivialApi(lambda asked: ORDINARY(asked) if asked.path.endswith("models") else [0.2, ORDINARY(asked)]) as api:
        result, _errors = run(home, base_url=api.url)
    assert [problem["code"] for problem in result["problems"]] == ["few_requests"]
    assert "only 10 requests were measured" in json.dumps(result["warnings"])


def test_the_documented_options_are_the_checked_ones() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    hidden = ("no_log",)
    assert {name: {key: value for key, value in option.items() if key != "description"} for name, option in documented.items()} == {
        name: {key: value for key, value in option.items() if key not in hidden} for name, option in module.ARGUMENT_SPEC.items()
    }
