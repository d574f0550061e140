"""The service serves: asked from outside the host, and looked at inside."""

from __future__ import annotations

import json
import os
import pathlib
import re
import urllib.error
import urllib.request
from typing import Any

import pytest

UNIT = "inference-tiny"
EXPOSURE_AT_MOST = 2.0


@pytest.fixture
def key() -> str:
    project = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
    return (project / ".cache" / "quickstart" / "api-key").read_text(encoding="utf-8").strip()


def ask(host: Any, path: str, key: str | None, question: dict[str, Any] | None = None) -> Any:
    """From this machine, as a client would."""
    request = urllib.request.Request(
        f"http://{host.ansible.get_variables()['ansible_host']}:8080{path}",
        data=json.dumps(question).encode() if question else None,
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def test_it_answers_a_question(host: Any, key: str) -> None:
    reply = ask(host, "/v1/chat/completions", key, {"model": "tiny", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]})
    assert reply["usage"]["completion_tokens"] == 8
    assert reply["model"] == "tiny"


def test_it_has_the_slots_and_the_context_that_were_asked_for(host: Any, key: str) -> None:
    properties = ask(host, "/props", key)
    assert properties["total_slots"] == 2
    assert properties["default_generation_settings"]["n_ctx"] == 1024


def test_it_refuses_who_has_no_key(host: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(host, "/v1/models", None)
    assert refused.value.code == 401


def test_the_unit_runs_enabled_and_without_root(host: Any) -> None:
    service = host.service(UNIT)
    assert service.is_running
    assert service.is_enabled
    process = host.process.get(comm="llama-server")
    assert process.user == "inference"
    assert host.socket("tcp://0.0.0.0:8080").is_listening


def test_the_unit_is_hardened(host: Any) -> None:
    shown = host.run(f"systemd-analyze security --no-pager {UNIT}.service").stdout
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+)", shown)
    assert exposure, shown
    assert float(exposure[1]) <= EXPOSURE_AT_MOST


def test_the_service_runs_the_current_release(host: Any) -> None:
    pid = host.run(f"systemctl show -P MainPID {UNIT}").stdout.strip()
    assert host.run(f"readlink /proc/{pid}/exe").stdout.startswith(host.run("readlink -f /opt/llama.cpp/current").stdout.strip())


def test_the_key_is_for_root_and_the_process_only(host: Any, key: str) -> None:
    file = host.file("/etc/inference/tiny/api-key")
    assert (file.user, file.mode) == ("root", 0o600)
    for command in ("ps axww -o args", f"systemctl cat {UNIT}", f"systemctl show {UNIT}", f"journalctl --no-pager -b -u {UNIT}"):
        assert key not in host.run(command).stdout
