# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action as ansible-playbook runs it, with hosts that cannot be reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.action import inference_summary as action
from ansible_collections.baremetal.llm.plugins.modules import inference_summary as module

ROWS = "{{ ansible_play_hosts | map('extract', hostvars) | map('baremetal.llm.inference_rows') | flatten }}"
WRITTEN = {
    "item": "chat",
    "unit": "inference-chat.service",
    "changed": False,
    "base_url": "http://127.0.0.1:8080",
    "expect": {"alias": "chat"},
}
HOST = {
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "__inference_written": {"results": [WRITTEN]},
    "untouched": "{{ no_such_variable }}",
}


def play(directory: Path, *options: str, rows: object = ROWS, **environment: str) -> subprocess.CompletedProcess[str]:
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"gpu1": HOST, "gpu2": HOST}}}), encoding="utf-8")
    report = {"name": "Report", "baremetal.llm.inference_summary": {"rows": rows}, "register": "report"}
    check = {"run_once": True, "ansible.builtin.assert": {"that": ["report is not changed", "report.rows | length == 2"]}}
    (directory / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [report, check]}]), encoding="utf-8"
    )
    collections = Path(action.__file__).parents[5]
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "play.yml", *options],
        cwd=directory,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_NOCOLOR": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("options", "heading"), [((), "CHANGED"), (("--check",), "WOULD CHANGE")])
def test_one_table_for_all_hosts(tmp_path: Path, options: tuple[str, ...], heading: str) -> None:
    done = play(tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    start = lines.index(f"HOST  SERVICE  URL                    MODEL  RELEASE  TOKENS/S  {heading}")
    assert [line.split() for line in lines[start + 1 : start + 3]] == [
        [host, "chat", "http://127.0.0.1:8080", "chat", "-", "-", "nothing"] for host in ("gpu1", "gpu2")
    ]
    assert done.stdout.count("SERVICE") == 1


def test_a_stdout_for_machines_stays_clean(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(
        "from ansible.plugins.callback import CallbackBase\n\nclass CallbackModule(CallbackBase):\n"
        "    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'stdout', 'json'\n",
        encoding="utf-8",
    )
    done = play(tmp_path, ANSIBLE_STDOUT_CALLBACK="json", ANSIBLE_CALLBACK_PLUGINS=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")


def test_a_row_that_is_none_is_refused(tmp_path: Path) -> None:
    done = play(tmp_path, rows=[{"host": "gpu1"}])
    assert done.returncode == 2
    assert "missing required arguments: service, url" in done.stdout + done.stderr


def test_the_documented_options_are_the_checked_ones() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]["rows"]["suboptions"]
    assert {
        name: {key: value for key, value in option.items() if key != "description"} for name, option in documented.items()
    } == action.ROW
