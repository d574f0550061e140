# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._command import check, first_lines, follow, run, without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, symlink_atomic, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._sdist_backend import prepare_metadata_for_build_wheel


def test_run() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; echo $LC_ALL$X; exit 3"], env={"X": "y"})
    assert (done.rc, done.stdout, done.stderr) == (3, "out\nC.UTF-8y\n", "err\n")
    assert run(["/nonexistent/program"]).rc == 127
    assert run(["sleep", "5"], timeout=0.05).rc == 124


def test_a_program_that_cannot_be_killed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: None)  # as if it slept in the kernel
    started = time.monotonic()
    assert run(["sleep", "4"], timeout=0.05).rc == 124
    assert time.monotonic() - started < 3


def test_check_says_what_failed_and_why() -> None:
    with pytest.raises(UserError) as caught:
        check(["sh", "-c", "echo first >&2; echo last >&2; exit 2"], what="asking")
    assert caught.value.msg == "asking failed (rc 2): last"
    assert caught.value.details["rc"] == 2 and caught.value.details["stderr"] == "first\nlast\n"


def test_credentials_of_urls_are_masked() -> None:
    assert (
        without_credentials("git fetch https://me:secret@host/x and ssh://git@host/y")
        == "git fetch https://***@host/x and ssh://***@host/y"
    )
    with pytest.raises(UserError) as caught:
        check(["sh", "-c", "echo cannot read https://me:secret@host/x >&2; exit 1"])
    assert caught.value.msg == "sh failed (rc 1): cannot read https://***@host/x"
    assert "secret" not in str(caught.value.details["stderr"])


def test_follow_hands_over_lines_as_they_come() -> None:
    lines: list[str] = []
    idle: list[int] = []
    rc = follow(
        ["sh", "-c", "echo one; echo two >&2; sleep 0.3; printf three; exit 4"],
        on_line=lines.append,
        on_idle=lambda: idle.append(len(lines)),
        idle_seconds=0.1,
    )
    assert rc == 4 and lines == ["one", "two", "three"]
    assert idle and set(idle) == {2}


def test_follow_ends_though_a_daemon_keeps_the_output_open() -> None:
    began = time.monotonic()
    assert follow(["sh", "-c", "sleep 20 & echo done"], on_line=lambda _line: None, on_idle=lambda: None, idle_seconds=0.1) == 0
    assert time.monotonic() - began < 5


def test_what_is_followed_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "from ansible_collections.baremetal.llm.plugins.module_utils._command import follow\n"
        "follow(['sh', '-c', 'echo $$; exec sleep 60'], on_line=lambda line: print(line, flush=True), on_idle=lambda: None)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{child}") and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_write_atomic(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one", 0o600)
    write_atomic(path, b"two", 0o640)
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one", 0o600)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_atomic(path, b"two", 0o600)
    assert path.read_bytes() == b"one" and os.listdir(tmp_path) == ["file"]


def test_symlink_atomic(tmp_path: Path) -> None:
    for target in ("a", "b"):
        symlink_atomic(tmp_path / "current", target)
    assert os.readlink(tmp_path / "current") == "b" and os.listdir(tmp_path) == ["current"]


def test_read_text_or_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert read_text_or_none(tmp_path / "file") == "x"
    assert read_text_or_none(tmp_path / "none") is None
    assert read_text_or_none(tmp_path / "file" / "below") is None


def test_metadata_of_a_source_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 0.3.36\n\nAbout: it\n")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    assert prepare_metadata_for_build_wheel(str(tmp_path / "out")) == "llama_cpp_python-0.3.36.dist-info"
    assert (tmp_path / "out" / "llama_cpp_python-0.3.36.dist-info" / "METADATA").read_text() == (tmp_path / "PKG-INFO").read_text()


def test_the_first_lines_of_a_program_that_would_print_for_ever() -> None:
    assert first_lines(["yes", "again"], 3, timeout=10) == ["again"] * 3
    assert first_lines(["printf", "one\\ntwo"], 3, timeout=10) == ["one", "two"]
    assert first_lines(["/no/such/program"], 3, timeout=10) == []


def test_a_program_that_says_nothing_is_not_waited_for() -> None:
    started = time.monotonic()
    assert first_lines(["sleep", "60"], 3, timeout=0.2) == []
    assert time.monotonic() - started < 10
