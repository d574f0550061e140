"""What was deployed is gone, and nothing of it is left but packages and images."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest


@pytest.mark.parametrize("path", ["/etc/inference", "/var/lib/inference", "/opt/huggingface-hub", "/opt/llama.cpp"])
def test_no_file_is_left(host: Any, path: str) -> None:
    assert not host.file(path).exists


def test_no_container_network_process_or_account_is_left(host: Any) -> None:
    assert host.check_output("docker ps --all --quiet") == ""
    assert "inference" not in host.check_output("docker network ls")
    assert host.check_output("docker volume ls --quiet") == ""
    assert not host.process.filter(comm="VLLM::EngineCor")
    assert not host.user("inference").exists
    assert not host.socket("tcp://0.0.0.0:8000").is_listening


def test_a_second_removal_changed_nothing() -> None:
    with open(os.environ["TASK_LOG"], encoding="utf-8") as log:
        entries = [json.loads(line) for line in log]
    last, before = ([e for e in entries if e["run"] == run] for run in list(dict.fromkeys(e["run"] for e in entries))[:-3:-1])
    assert any(entry["changed"] for entry in before)
    assert not [entry["task"] for entry in last if entry["changed"]]
