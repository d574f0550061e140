# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

NEED = Path(__file__).resolve().parents[3] / "tools" / "need"
NOBODY = 65534


@pytest.fixture
def apt_calls(tmp_path: Path) -> Path:
    """An apt-get that only notes what it was asked for."""
    calls = tmp_path / "calls"
    calls.touch()
    apt_get = tmp_path / "apt-get"
    apt_get.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
    apt_get.chmod(0o755)
    return calls


def need(apt_calls: Path, *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-s", *arguments],
        input=NEED.read_text("utf-8"),
        env={"PATH": f"{apt_calls.parent}:{os.environ['PATH']}"},
        user=user,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_there_costs_nothing(apt_calls: Path) -> None:
    result = need(apt_calls, "sh=dash", "/etc/passwd=base-passwd")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert apt_calls.read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install")
def test_root_gets_what_is_missing(apt_calls: Path) -> None:
    result = need(apt_calls, "sh=dash", "no-such-command=one", "/no/such/file=two")
    assert result.returncode == 0
    assert apt_calls.read_text().splitlines() == ["update -qq", "install -y -qq --no-install-recommends one two"]


def test_everybody_else_is_told(apt_calls: Path) -> None:
    result = need(apt_calls, "no-such-command=one", user=NOBODY if os.geteuid() == 0 else None)
    assert result.returncode == 1
    assert "one" in result.stderr
    assert apt_calls.read_text() == ""
