# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live progress through real runs of ansible-playbook on this machine; needs compilers and cmake, but no range host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .miniature import Host, make_archive, make_tree
from .test_llama_build import step_of, wait_until

PLAYBOOK = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Build",
                "baremetal.llm.llama_build": {
                    "source": "{{ source }}",
                    "prefix": "{{ prefix }}",
                    "targets": ["llama-server", "llama-bench"],
                    "cmake_options": "{{ options | default({}) }}",
                },
            }
        ],
    }
]


class Controller:
    def __init__(self, directory: Path, hosts: dict[str, Host], source: dict[str, str]) -> None:
        self.directory = directory
        (directory / "playbook.yml").write_text(json.dumps(PLAYBOOK))
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "source": source}
        inventory = {name: {"prefix": str(host.prefix)} for name, host in hosts.items()}
        (directory / "inventory.yml").write_text(json.dumps({"all": {"hosts": inventory, "vars": variables}}))

    def start(self, **variables: object) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "playbook.yml", "--diff", "-e", json.dumps(variables)]
        return subprocess.Popen(
            argv,
            cwd=self.directory,
            env={
                **os.environ,
                "ANSIBLE_ASYNC_DIR": str(self.directory / "async"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_REMOTE_TMP": str(self.directory / "remote"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, **variables: object) -> tuple[str, list[str]]:
        """The output, and the lines of progress."""
        stdout, stderr = self.start(**variables).communicate(timeout=180)
        return stdout, [line for line in stderr.splitlines() if " · " in line]


@pytest.fixture
def alpha(tmp_path: Path) -> Host:
    return Host(tmp_path / "alpha")


@pytest.fixture
def source(tmp_path: Path) -> dict[str, str]:
    return make_archive(make_tree(tmp_path / "tree"), tmp_path / "miniature.tar.gz")


def test_two_hosts_are_shown_at_the_same_time(tmp_path: Path, alpha: Host, source: dict[str, str]) -> None:
    controller = Controller(tmp_path, {"alpha": alpha, "beta": Host(tmp_path / "beta")}, source)
    output, lines = controller.run(options={"BUILD_SECONDS": 3})
    assert "changed: [alpha]" in output and "changed: [beta]" in output
    assert '+    "current": ' in output  # the diff of the module itself
    for host in ("alpha", "beta"):
        assert any(line.startswith(f"  {host} · build llama.cpp") for line in lines), lines
    assert not list((tmp_path / "async").iterdir())
    wait_until(lambda: not list((tmp_path / "remote").iterdir()), 15)  # the background job cleans up a little later

    output, lines = controller.run(options={"BUILD_SECONDS": 3})
    assert "ok: [alpha]" in output and "changed=0" in output and lines == []


def test_quiet(tmp_path: Path, alpha: Host, source: dict[str, str]) -> None:
    output, lines = Controller(tmp_path, {"alpha": alpha}, source).run(inference_progress=False)
    assert "changed: [alpha]" in output and lines == []


def test_failure_is_shown_as_the_modules_own(tmp_path: Path, alpha: Host, source: dict[str, str]) -> None:
    output, _lines = Controller(tmp_path, {"alpha": alpha}, source).run(options={"EXIT_STATUS": 3})
    assert "failed=1" in output and "the new llama-server does not start" in output
    assert alpha.releases() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_build_survives_the_controller_and_the_next_run_waits_for_it(
    tmp_path: Path, alpha: Host, source: dict[str, str], how: signal.Signals
) -> None:
    controller = Controller(tmp_path, {"alpha": alpha}, source)
    lost = controller.start(options={"BUILD_SECONDS": 6})
    wait_until(lambda: step_of(alpha) == "build llama.cpp")
    lost.send_signal(how)
    lost.communicate(timeout=30)
    assert alpha.releases() == []

    began = time.monotonic()
    output, lines = controller.run(options={"BUILD_SECONDS": 6})
    assert "failed=0" in output and time.monotonic() - began < 60
    assert any("build llama.cpp" in line for line in lines)
    assert len(alpha.releases()) == 1 and len(list((alpha.prefix / "log").iterdir())) == 1  # built once
