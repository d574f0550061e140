"""What was deployed is gone, and nothing of it is left."""

from __future__ import annotations

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
