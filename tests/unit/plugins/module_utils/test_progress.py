# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._progress import (
    Progress,
    ProgressFile,
    Watch,
    amount,
    dump,
    duration,
    estimate_eta,
    load,
    render,
    worth_showing,
)
from hypothesis import given
from hypothesis import strategies as st

progresses = st.builds(
    Progress,
    step=st.text(max_size=30),
    done=st.integers(0, 10**12),
    total=st.integers(0, 10**12),
    unit=st.sampled_from(["", "%", "bytes"]),
    detail=st.text(max_size=200),
    eta_seconds=st.none() | st.floats(0, 1e6),
    heartbeat=st.integers(0, 10**6),
)


@given(progresses)
def test_what_is_written_is_read(progress: Progress) -> None:
    assert load(dump(progress).decode()) == progress


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"nope": 1}', "cat: /x: No such file or directory"])
def test_anything_else_is_no_progress(text: str) -> None:
    assert load(text) is None


@given(progresses, st.integers(0, 300))
def test_a_line_never_exceeds_the_terminal(progress: Progress, columns: int) -> None:
    assert len(render(progress, "host", columns)) <= columns


def test_the_line_an_operator_sees() -> None:
    progress = Progress("build llama.cpp", 122, 216, "", "Building CXX object src/x.o", 54.2)
    assert render(progress, "quickstart", 100) == "  quickstart · build llama.cpp · [122/216] Building CXX object src/x.o · 54 s left"
    assert render(progress, "quickstart", 60) == "  quickstart · build llama.cpp · [122/216] Buil… · 54 s left"
    assert render(Progress("configure llama.cpp"), "h", 80) == "  h · configure llama.cpp"


@pytest.mark.parametrize(
    ("done", "total", "unit", "expected"),
    [
        (122, 216, "", "[122/216]"),
        (56, 100, "%", "[56%]"),
        (1288490189, 4294967296, "bytes", "[1.2/4.0 GiB]"),
        (5, 100, "bytes", "[5/100 bytes]"),
        (3145728, 0, "bytes", "[3.0 MiB]"),
        (7, 0, "", ""),
    ],
)
def test_amount(done: int, total: int, unit: str, expected: str) -> None:
    assert amount(Progress("x", done, total, unit)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3720, "1 h 02 min")]
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_eta() -> None:
    assert estimate_eta(122, 216, 70) == pytest.approx(53.9, abs=0.1)
    assert estimate_eta(216, 216, 70) == 0
    assert estimate_eta(1, 216, 70) is None  # too little to go by
    assert estimate_eta(100, 216, 1) is None
    assert estimate_eta(5, 0, 10) is None


def test_lines_are_throttled() -> None:
    shown = Progress("build", 10, 200, heartbeat=5)
    assert worth_showing(None, shown, 0)
    assert not worth_showing(shown, Progress("build", 11, 200, heartbeat=6), 2)  # not enough more
    assert worth_showing(shown, Progress("build", 20, 200, heartbeat=6), 2)  # 5 % more
    assert not worth_showing(shown, Progress("build", 200, 200, heartbeat=6), 0.5)  # too soon
    assert worth_showing(shown, Progress("build", 11, 200, heartbeat=6), 15)  # a while of silence
    assert worth_showing(shown, Progress("prove", heartbeat=6), 1)  # a new step
    assert worth_showing(shown, Progress("build", 10, 200, heartbeat=9), 15)  # alive, but stuck
    assert not worth_showing(shown, shown, 99)  # dead


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_file_is_written_seldom_and_removed(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "progress.json"

    def read() -> Progress:
        progress = load(path.read_text())
        assert progress is not None
        return progress

    with ProgressFile(path, clock) as progress:
        progress.step("build", total=200)
        assert read() == Progress("build", total=200, heartbeat=1)
        progress.advance(1, detail="a.o")
        assert read().done == 0  # a moment ago
        clock.now += 50
        progress.advance(100, detail="b.o")
        assert read() == Progress("build", 100, 200, "", "b.o", 50.0, 2)
        progress.beat()
        assert read().heartbeat == 2
        clock.now += 1
        progress.beat()
        assert read().heartbeat == 3
        assert [entry.name for entry in tmp_path.iterdir()] == ["progress.json"]
    assert not path.exists()


def test_watch_of_a_build() -> None:
    watch = Watch(None, 0)
    assert watch.see(None, 0.5) is None
    assert not watch.should_ask(0.5)
    first = Progress("build", 1, 100, heartbeat=1)
    assert watch.see(first, 1) == first
    assert watch.see(first, 3) is None
    assert not watch.should_ask(14) and watch.should_ask(15) and not watch.should_ask(16)
    assert watch.see(None, 17) is None  # the file is gone: it has ended
    assert watch.should_ask(17) and not watch.is_dead(17)


def test_watch_ignores_what_a_killed_run_left() -> None:
    left = Progress("build", 50, 100, heartbeat=9)
    watch = Watch(left, 0)
    assert watch.see(left, 2) is None
    assert watch.see(Progress("fetch", heartbeat=1), 4) == Progress("fetch", heartbeat=1)


def test_watch_of_a_dead_job() -> None:
    watch = Watch(None, 0)
    progress = Progress("build", 1, 100, heartbeat=1)
    watch.see(progress, 1)
    assert not watch.is_dead(Watch.SILENCE_SECONDS)
    watch.see(progress, 2)
    assert watch.is_dead(1 + Watch.SILENCE_SECONDS)
