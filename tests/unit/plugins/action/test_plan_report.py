# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action as ansible-playbook runs it, with hosts that cannot be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.action import plan_report as action
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.plugins.modules import plan_report as module
from ansible_collections.baremetal.llm.tests.plan_samples import a10, fleet, hostile


@dataclass
class Played:
    directory: Path
    rc: int
    stdout: str
    stderr: str
    results: list[dict[str, Any]]


def play(directory: Path, *options: str, reports: Sequence[dict[str, Any]], **environment: str) -> Played:
    """A playbook that makes these reports, one after the other, even where one fails."""
    inventory = {"all": {"hosts": {"gpu1": {}, "gpu2": {}}, "vars": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}
    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    tasks = [
        {"name": f"Report {number}", "baremetal.llm.plan_report": arguments, "register": f"report_{number}", "ignore_errors": True}
        for number, arguments in enumerate(reports)
    ]
    keep = {
        "name": "Keep what was returned",
        "run_once": True,
        "check_mode": False,
        "delegate_to": "localhost",
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "ansible.builtin.copy": {
            "content": f"{{{{ [{', '.join(str(task['register']) for task in tasks)}] | to_json }}}}",
            "dest": str(directory / "results.json"),
        },
    }
    (directory / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [*tasks, keep]}]), encoding="utf-8"
    )
    collections = Path(action.__file__).parents[5]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "play.yml", *options],
        cwd=directory,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_NOCOLOR": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Played(directory, done.returncode, done.stdout, done.stderr, json.loads((directory / "results.json").read_text("utf-8")))


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_a_report_is_printed_and_written_also_in_check_mode(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = play(tmp_path, *options, reports=[{"hosts": fleet(), "html": "out/plan.html", "json": str(tmp_path / "plan.json")}])
    assert done.stdout.count("HOST  ") == 3  # three tables, once for all hosts
    assert "ERROR  vllm-1.example.org: NVIDIA driver 535.183.01 is older" in done.stdout
    assert f"All of it: {tmp_path}/out/plan.html" in done.stdout

    (result,) = done.results
    assert (result["changed"], result["failed"]) == (False, False)
    assert (result["html"], result["json"]) == (f"{tmp_path}/out/plan.html", f"{tmp_path}/plan.json")
    assert result["summary"]["errors"] == 3
    assert {(each["host"], each["service"], each["code"]) for each in result["problems"]} >= {("lab", "novel", "architecture_unknown")}
    assert result["message"].startswith("3 problems:\n- vllm-1.example.org: NVIDIA driver")

    assert (tmp_path / "out/plan.html").read_text("utf-8").startswith("<!doctype html>")
    told = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    assert told["summary"] == result["summary"]
    assert told["hosts"] == json.loads(json.dumps([host.as_dict() for host in parse_hosts(fleet())]))
    for path in ("out/plan.html", "plan.json"):
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.rglob("*plan*")) == ["plan.html", "plan.json"]  # nothing half-written is left


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Several reports in one run, since each run takes seconds."""
    unnamed = {key: value for key, value in a10().items() if key != "host"}
    return play(
        tmp_path_factory.mktemp("reports"),
        reports=[
            {"hosts": [a10()]},
            {"hosts": fleet(), "html": "failed.html", "fail_on_errors": True},
            {"hosts": [a10()], "fail_on_errors": True},
            {"hosts": fleet(), "json": "first.json"},
            {"hosts": fleet(), "json": "same.json"},
            {"hosts": fleet(), "json": "other.json"},
            {"hosts": [a10()], "json": "other.json"},
            {"hosts": [hostile()]},
            {"hosts": [unnamed]},
            {"hosts": [a10()], "html": "hosts.yml/plan.html"},
            {"hosts": [a10()], "json": "/proc/plan.json"},
            {"hosts": [a10()], "html": "."},
            {"hosts": []},
        ],
    )


def test_without_paths_nothing_is_written(played: Played) -> None:
    result = played.results[0]
    assert (result["html"], result["json"], result["message"], result["problems"]) == (None, None, "", [])
    written = {"failed.html", "first.json", "same.json", "other.json"}
    assert {path.name for path in played.directory.iterdir()} == {"hosts.yml", "play.yml", "results.json", *written}


def test_it_fails_on_errors_after_it_has_told_them(played: Played) -> None:
    result = played.results[1]
    assert result["failed"] and result["msg"] == result["message"] != ""
    assert (played.directory / "failed.html").is_file()
    assert f"All of it: {played.directory}/failed.html" in played.stdout
    assert not played.results[2]["failed"]


def test_the_same_plan_gives_the_same_json_and_another_one_replaces_it(played: Played) -> None:
    assert (played.directory / "first.json").read_bytes() == (played.directory / "same.json").read_bytes()
    assert json.loads((played.directory / "other.json").read_text("utf-8"))["summary"]["hosts"] == 1


def test_no_name_steers_the_terminal(played: Played) -> None:
    assert not played.results[7]["failed"]
    assert "<script>alert(1)</script>" in played.stdout
    assert not set(played.stdout) & {"\x00", "\x1b", "\u202e"}


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (8, "hosts[0].host is None. Give a text."),
        (9, "html: {directory}/hosts.yml/plan.html cannot be written: File exists. Give the path of a file that you may write."),
        (10, "json: /proc/plan.json cannot be written: No such file or directory. Give the path of a file that you may write."),
        (11, "html: {directory} cannot be written: Is a directory. Give the path of a file that you may write."),
    ],
)
def test_what_cannot_be_done_is_told(played: Played, report: int, message: str) -> None:
    result = played.results[report]
    assert result["failed"]
    assert result["msg"] == message.format(directory=played.directory)


def test_no_hosts_are_no_error(played: Played) -> None:
    result = played.results[12]
    assert not result["failed"]
    assert result["summary"]["hosts"] == 0


def test_a_stdout_for_machines_stays_clean(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(
        "from ansible.plugins.callback import CallbackBase\n\nclass CallbackModule(CallbackBase):\n"
        "    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'stdout', 'json'\n",
        encoding="utf-8",
    )
    report = {"hosts": fleet(), "html": "plan.html"}
    done = play(tmp_path, reports=[report], ANSIBLE_STDOUT_CALLBACK="json", ANSIBLE_CALLBACK_PLUGINS=str(tmp_path))
    assert done.stdout == ""
    assert (tmp_path / "plan.html").is_file()


def test_the_documented_options_are_the_checked_ones() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    checked = {
        name: {key: value for key, value in option.items() if key not in ("description", "suboptions")}
        for name, option in documented.items()
    }
    assert checked == action.ARGUMENTS
    hosts = documented["hosts"]["suboptions"]
    assert set(hosts) == set(a10())
    text = yaml.safe_dump(hosts)
    passed_over = {"pci_id", "gpu"}
    of_plan = {"figure", "low_mib", "high_mib", "basis", "prompt_cache_mib"}  # memory_plan tells them
    names = keys(a10()) - passed_over - of_plan
    assert [name for name in names if f"C({name})" not in text and name not in hosts] == []


def test_the_example_is_understood() -> None:
    (task,) = yaml.safe_load(module.EXAMPLES)
    (host,) = parse_hosts(task["baremetal.llm.plan_report"]["hosts"])
    assert host.fits and host.uses[0].free_mib == 13939


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(keys(each) for each in value.values()))
    return set().union(*(keys(each) for each in value)) if isinstance(value, list) else set()
