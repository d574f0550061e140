"""What was deployed is gone, and nothing of it is left."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest


@pytest.mark.parametrize(
    "path",
    ["/opt/llama.cpp", "/etc/inference", "/var/lib/inference", "/etc/systemd/system/inference-tiny.service"],
)
def test_no_file_is_left(host: Any, path: str) -> None:
    assert not host.file(path).exists


def test_no_unit_process_or_account_is_left(host: Any) -> None:
    assert not host.run("systemctl list-units --all --plain --no-legend 'inference-*'").stdout
    assert not host.run("find /etc/systemd/system -name 'inference-*'").stdout
    assert not host.process.filter(comm="llama-server")
    assert not host.user("inference").exists


def test_a_second_removal_changed_nothing() -> None:
    with open(os.environ["TASK_LOG"], encoding="utf-8") as log:
        entries = [json.loads(line) for line in log]
    last, before = ([e for e in entries if e["run"] == run] for run in list(dict.fromkeys(e["run"] for e in entries))[:-3:-1])
    assert any(entry["changed"] for entry in before)
    assert not [entry["task"] for entry in last if entry["changed"]]
