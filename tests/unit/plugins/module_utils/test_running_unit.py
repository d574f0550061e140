# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._running_unit import UnitState, journal, said_before_the_start, state

RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "ExecMainCode": "0",
    "ExecMainStatus": "0",
    "MainPID": "4711",
    "NRestarts": "0",
}


def shown(**changes: str) -> str:
    return "".join(f"{name}={value}\n" for name, value in {**RUNNING, **changes}.items())


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({}, None),
        ({"ActiveState": "activating", "SubState": "start"}, None),
        ({"NRestarts": "2"}, None),  # of another day
        ({"NRestarts": "3"}, "it does not stay up (systemd had to start it again, 3 times so far)"),
        ({"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}, "systemd knows no such unit"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "it is not running (state: inactive)"),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "203"},
            "it has failed (it exited with status 203)",
        ),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"},
            "it has failed (it was killed by SIGKILL)",
        ),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "resources"}, "it has failed (result: resources)"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "ExecMainCode": "1", "ExecMainStatus": "1"},
            "it does not stay up (it exited with status 1; systemd is about to start it again)",
        ),
    ],
)
def test_when_waiting_is_pointless(changes: dict[str, str], trouble: str | None) -> None:
    assert UnitState.parse(shown(**changes)).trouble(restarts_before=2) == trouble


# As systemd 252 shows it.
MODPROBE = (
    "ExecStartPre={ path=/usr/bin/nvidia-modprobe ; argv[]=/usr/bin/nvidia-modprobe -u ; ignore_errors=yes ; "
    "start_time=[Fri 2026-11-20 16:01:02 UTC] ; stop_time=[Fri 2026-11-20 16:01:02 UTC] ; pid=712 ; code=exited ; status=1 }\n"
)
SMI = (
    "ExecStartPre={{ path=/usr/bin/nvidia-smi ; argv[]=/usr/bin/nvidia-smi --id=GPU-1 --format=csv,noheader ; ignore_errors=no ; "
    "start_time=[Fri 2026-11-20 16:01:02 UTC] ; stop_time=[Fri 2026-11-20 16:01:03 UTC] ; pid=713 ; code={} ; status={} }}\n"
)
NOT_RUN = (
    "ExecStartPre={ path=/usr/bin/test ; argv[]=/usr/bin/test -w /dev/nvidia-uvm ; ignore_errors=no ; "
    "start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n"
)


@pytest.mark.parametrize(
    ("commands", "trouble"),
    [
        (
            MODPROBE + SMI.format("exited", "9") + NOT_RUN,
            "it does not start: `/usr/bin/nvidia-smi --id=GPU-1 --format=csv,noheader` exited with status 9",
        ),
        (
            SMI.format("killed", "15/TERM"),
            "it does not start: `/usr/bin/nvidia-smi --id=GPU-1 --format=csv,noheader` was killed by SIGTERM",
        ),
        (MODPROBE + SMI.format("exited", "0"), "it does not stay up (it exited with status 1; systemd is about to start it again)"),
    ],
)
def test_a_command_that_has_to_succeed_first(commands: str, trouble: str) -> None:
    now = UnitState.parse(shown(ActiveState="activating", SubState="auto-restart", ExecMainCode="1", ExecMainStatus="1") + commands)
    assert now.trouble(restarts_before=0) == trouble


def test_its_last_words_are_those_of_this_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(
        tmp_path,
        "journalctl",
        'case "$*" in --sync) ;; *" _SYSTEMD_INVOCATION_ID=5a1c _PID=713") printf "one\ntwo\n\nthree\nfour\n";; *) echo not asked for;; esac',
    )
    now = UnitState.parse(shown(InvocationID="5a1c") + SMI.format("exited", "9"))
    assert said_before_the_start(now) == ", saying: two / three / four"
    assert said_before_the_start(UnitState.parse(shown(InvocationID="5a1c"))) == ""


def test_the_main_process_is_told() -> None:
    assert UnitState.parse(shown()).main_pid == 4711
    assert UnitState.parse("MainPID=[not set]\n").main_pid == 0


def program(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_systemd_is_asked_for_this_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "systemctl", 'test "$1 $3 $4" = "show -- inference-a.service" && echo ActiveState=active')
    program(tmp_path, "journalctl", 'test "$*" = "--no-pager --output=cat --lines=2 --unit=inference-a.service" && printf "one\\ntwo\\n"')
    now = state("inference-a.service")
    assert now is not None and now.active == "active"
    assert journal("inference-a.service", lines=2) == ["one", "two"]


def test_a_host_without_systemd_has_no_state_and_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert state("inference-a.service") is None
    assert journal("inference-a.service") == []
