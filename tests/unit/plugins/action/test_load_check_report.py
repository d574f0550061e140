# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action as ansible-playbook runs it, with hosts that cannot be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.action import load_check_report as action
from ansible_collections.baremetal.llm.plugins.modules import load_check_report as module
from ansible_collections.baremetal.llm.tests.unit.plugins.plugin_utils.test_load_check_rows import measured

HOST = {"ansible_host": "127.0.0.1", "ansible_port": 1}
RESULTS = "{{ ansible_play_hosts | map('extract', hostvars) | map('baremetal.llm.load_check_rows') | flatten }}"


def registered(**figures: Any) -> dict[str, Any]:
    return {"results": [{**measured("chat", **figures), "item": {"service": "chat"}}]}


def play(directory: Path, *options: str, figures: dict[str, Any] | None = None, **args: Any) -> subprocess.CompletedProcess[str]:
    host = {**HOST, "__load_check_from_host": registered(**(figures or {}))}
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"gpu1": host, "gpu2": host}}}), encoding="utf-8")
    report = {"name": "Report", "baremetal.llm.load_check_report": {"results": RESULTS, **args}}
    (directory / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [report]}]), encoding="utf-8")
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "play.yml", *options],
        cwd=directory,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(Path(action.__file__).parents[5]), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def kept(path: Path) -> list[float]:
    return [entry["figures"]["requests_per_second"] for entry in json.loads(path.read_text("utf-8"))["results"]]


def test_a_baseline_is_saved_compared_and_left_alone_when_it_got_worse(tmp_path: Path) -> None:
    baseline = tmp_path / "kept" / "b.json"
    first = play(tmp_path, baseline=str(baseline), save=True, json="now.json")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=1" in first.stdout and "BASELINE" not in first.stdout and first.stdout.count("SERVICE") == 1
    assert kept(baseline) == kept(tmp_path / "now.json") == [12.34, 12.34]

    same = play(tmp_path, baseline=str(baseline), save=True)
    assert (same.returncode, same.stdout.count(" same\n")) == (0, 2) and "changed=0" in same.stdout

    worse = play(tmp_path, baseline=str(baseline), save=True, json="now.json", fail_on_worse=True, figures={"rate": 6.0})
    assert worse.returncode == 2 and worse.stdout.count("gpu1 chat: requests/s 12.34 → 6 (-51 %), worse") == 1
    assert kept(baseline) == [12.34, 12.34] and kept(tmp_path / "now.json") == [6.0, 6.0]

    tolerated = play(tmp_path, baseline=str(baseline), tolerance_percent=60, fail_on_worse=True, figures={"rate": 6.0})
    assert tolerated.returncode == 0 and kept(baseline) == [12.34, 12.34]

    taken = play(tmp_path, baseline=str(baseline), save=True, figures={"rate": 6.0})
    assert taken.returncode == 0 and kept(baseline) == [6.0, 6.0]


def test_results_serve_as_a_baseline(tmp_path: Path) -> None:
    play(tmp_path, json="now.json")
    again = play(tmp_path, baseline="now.json", figures={"rate": 24.0})
    assert again.returncode == 0 and again.stdout.count("  none    better\n") == 2


def test_nothing_is_written_in_check_mode(tmp_path: Path) -> None:
    done = play(tmp_path, "--check", baseline="b.json", save=True, json="now.json")
    assert done.returncode == 0 and "changed=1" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts.yml", "play.yml"]


@pytest.mark.parametrize(
    ("args", "figures", "message"),
    [
        ({}, {"succeeded": 0, "failed": 3}, "gpu2 chat (http://127.0.0.1:8080): all 3 requests failed, timeout"),
        ({"save": True}, {}, "load_check_save is set, but load_check_baseline is empty"),
        ({"tolerance_percent": -1}, {}, "load_check_tolerance is -1"),
        ({"baseline": "hosts.yml"}, {}, "load_check_baseline: hosts.yml holds no results of a load check"),
        ({"baseline": "."}, {}, "load_check_baseline: . cannot be read: Is a directory"),
        ({"baseline": sys.executable}, {}, f"load_check_baseline: {sys.executable} cannot be read: it is not UTF-8"),
        ({"json": "/proc/x/y"}, {}, "load_check_json: /proc/x/y cannot be written"),
        ({"services": ["chat", "chta"]}, {}, "load_check_services: no host that was asked has a service called chta."),
    ],
)
def test_what_fails(tmp_path: Path, args: dict[str, Any], figures: dict[str, Any], message: str) -> None:
    done = play(tmp_path, figures=figures, **args)
    assert done.returncode == 2 and message in " ".join((done.stdout + done.stderr).split())


def test_the_documented_options_are_the_checked_ones() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    told = {name: {key: value for key, value in option.items() if key != "description"} for name, option in documented.items()}
    assert told == action.ARGUMENTS
