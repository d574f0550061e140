# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _build_plan
from ansible_collections.baremetal.llm.plugins.module_utils._build import (
    _build_error,
    _configure_error,
    _explained,
    check_free_space,
    ensure_present,
)
from ansible_collections.baremetal.llm.plugins.module_utils._build_plan import Request, make_plan
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import ReleaseStore
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import Toolchain

MIB = 1 << 20


def request(tmp_path: Path, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "prefix": tmp_path / "opt" / "llama.cpp",
        "source": Source("archive", path="/a.tar", sha256="a" * 64),
        **changes,
    }
    return Request(**fields)


def failed(output: str) -> Completed:
    return Completed(("/usr/bin/ninja", "-C", "/b"), 1, output, "")


def test_too_little_disk_space_is_said_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def statvfs(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(f_bavail=100 * MIB // 4096, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    with pytest.raises(UserError, match=r"prefix: .* needs 1536 MiB of free disk space, 100 MiB are available"):
        check_free_space(request(tmp_path))
    assert asked == [tmp_path]  # what exists of the prefix
    for check_mode in (True, False):
        with pytest.raises(UserError, match="1536 MiB"):
            ensure_present(request(tmp_path), check_mode=check_mode)
    assert list(tmp_path.iterdir()) == []


def test_disk_that_fills_up_while_compiling(tmp_path: Path) -> None:
    output = "[1/9] x\nFAILED: a.o\ncc -c a.c\na.c: fatal error: error writing to /tmp/x.s: No space left on device\nninja: build stopped"
    error = _build_error(request(tmp_path), failed(output))
    assert error.msg.startswith("prefix: no space was left on the file system of") and "needs about 1536 MiB" in error.msg
    assert "No space left on device" in str(error.details["stdout"])
    assert _explained(request(tmp_path), OSError(errno.ENOSPC, "x")).startswith("prefix: no space was left")
    assert _explained(request(tmp_path), OSError(errno.EIO, "broken disk")).endswith("broken disk")


def test_compiler_that_ran_out_of_memory(tmp_path: Path) -> None:
    output = "FAILED: a.o\nc++ -c a.cpp\nc++: fatal error: Killed signal terminated program cc1plus\nninja: build stopped"
    assert "most likely for want of memory; set jobs below 64" in _build_error(request(tmp_path, jobs=64), failed(output)).msg


def test_failure_is_cut_to_what_matters(tmp_path: Path) -> None:
    noise = "\n".join(f"note {n}" for n in range(5000))
    error = _build_error(request(tmp_path), failed(f"[1/9] x\nFAILED: a.o\ncc -c a.c\n{noise}\na.c:1:1: error: no\nninja: build stopped"))
    assert error.msg == "building a.o failed: a.c:1:1: error: no"
    assert error.details["cmd"] == "cc -c a.c" and error.details["target"] == "a.o"
    assert len(str(error.details["stdout"]).splitlines()) == 20


def test_failed_configuration(tmp_path: Path) -> None:
    output = "-- ok\nCMake Error at CMakeLists.txt:3 (find_package):\n  Could not find X\n\n-- Configuring incomplete"
    error = _configure_error(request(tmp_path), failed(output))
    assert "CMake Error at CMakeLists.txt:3 (find_package): Could not find X" in error.msg


TOOLCHAIN = Toolchain("/cc", "/c++", "cc 12", "c++ 12", "x86_64", "glibc 2.36", "3.0", "-march=x", None)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build_plan, "ask_toolchain", lambda *_arguments: TOOLCHAIN)
    monkeypatch.setattr(_build_plan, "compilers_missing", lambda _options: [])


@pytest.mark.usefixtures("host")
def test_plan_names_what_changed(tmp_path: Path) -> None:
    old = request(tmp_path)
    store = ReleaseStore(old.prefix)
    plan = make_plan(old, store)
    assert plan.build and plan.key and plan.reasons == ("no release is installed",)
    staged = tmp_path / "staged"
    (staged / "bin").mkdir(parents=True)
    store.prefix.mkdir(parents=True)
    store.add(plan.key, staged, {"build_key": plan.key, "origin": "/a.tar", "inputs": dict(plan.inputs), "files": {}})
    store.activate(plan.key)
    assert not make_plan(old, store).changed

    new = make_plan(request(tmp_path, source=Source("archive", path="/b.tar", sha256="b" * 64)), store)
    assert new.build and new.reasons == ("source: /a.tar (aaaaaaaaaaaa) -> /b.tar (bbbbbbbbbbbb)",)
    unknown = make_plan(request(tmp_path, source=Source("pypi", version="1")), store)
    assert unknown.key is None and unknown.reasons == ("source: /a.tar (aaaaaaaaaaaa) -> llama-cpp-python 1",)


@pytest.mark.usefixtures("host")
def test_present_needs_a_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="source: tell what to build"):
        make_plan(request(tmp_path, source=None), ReleaseStore(tmp_path / "x"))


def test_job_logs_what_it_runs_without_credentials(tmp_path: Path) -> None:
    log = io.StringIO()
    with ProgressFile(tmp_path / "progress.json") as progress:
        done = Job(log, progress).run(["sh", "-c", "echo from https://me:secret@host/x; exit 5"])
    assert done.rc == 5 and "secret" in done.stdout
    assert "secret" not in log.getvalue() and "secret" not in str(done.details())
    assert log.getvalue().splitlines()[0].startswith("$ sh -c") and log.getvalue().endswith("# exit status 5\n")
