# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long piece of work is: written on the target into a small file, read and shown by the controller.

The file is there while the work is under way and gone when it has ended. Its heartbeat moves at least every few seconds as
long as the work is alive, whether it gets on or not.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

WRITE_SECONDS = 0.25
BEAT_SECONDS = 1.0

SHOW_FRACTION = 0.05
SHOW_SECONDS = 15.0
SHOW_AT_MOST_EVERY_SECONDS = 1.0

# A guess from less than this is worse than none.
_ETA_MIN_FRACTION = 0.02
_ETA_MIN_SECONDS = 2.0
_BINARY_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Progress:
    """One moment. ``unit`` is empty for countable things, ``%`` or ``bytes``; a ``total`` of 0 is not known."""

    step: str
    done: int = 0
    total: int = 0
    unit: str = ""
    detail: str = ""
    eta_seconds: float | None = None
    heartbeat: int = 0

    @property
    def fraction(self) -> float:
        return self.done / self.total if self.total else 0.0


def dump(progress: Progress) -> bytes:
    return json.dumps(asdict(progress)).encode()


def load(text: str) -> Progress | None:
    """The progress in ``text``; None when it is not one, for instance because there is no such file."""
    try:
        fields = json.loads(text)
        return Progress(**fields)
    except (ValueError, TypeError):
        return None


def estimate_eta(done: int, total: int, elapsed_seconds: float) -> float | None:
    """Seconds left if the rest goes as fast as what is done, or None while that says nothing."""
    if total <= 0 or done <= 0 or elapsed_seconds < _ETA_MIN_SECONDS or done / total < _ETA_MIN_FRACTION:
        return None
    return max(0.0, elapsed_seconds * (total - done) / done)


def worth_showing(shown: Progress | None, now: Progress, seconds_since_shown: float) -> bool:
    """Whether the operator should get a new line: a new step, noticeably more done, or a while of silence."""
    if shown is None:
        return True
    if replace(now, heartbeat=shown.heartbeat, eta_seconds=shown.eta_seconds) == shown:
        return seconds_since_shown >= SHOW_SECONDS and now.heartbeat != shown.heartbeat
    if seconds_since_shown < SHOW_AT_MOST_EVERY_SECONDS:
        return False
    return now.step != shown.step or now.fraction - shown.fraction >= SHOW_FRACTION or seconds_since_shown >= SHOW_SECONDS


def render(progress: Progress, host: str, columns: int) -> str:
    """One line of at most ``columns`` characters; what is cut first is the detail, never the time left."""
    left = "" if progress.eta_seconds is None else f" · {duration(progress.eta_seconds)} left"
    head = f"  {host} · {progress.step}"
    count = amount(progress)
    body = " ".join(part for part in (count, progress.detail) if part)
    line = head + (f" · {body}" if body else "")
    room = max(columns - len(left), 0)
    if len(line) > room:
        line = line[: max(room - 1, 0)].rstrip() + "…"
    return (line + left)[:columns]


def amount(progress: Progress) -> str:
    """``[122/216]``, ``[56%]`` or ``[1.2/4.0 GiB]``; empty when nothing is counted."""
    if progress.total <= 0:
        return f"[{size_text(progress.done)}]" if progress.unit == "bytes" and progress.done else ""
    if progress.unit == "%":
        return f"[{100 * progress.done // progress.total}%]"
    if progress.unit == "bytes":
        scale, unit = _binary_scale(progress.total)
        if unit == "bytes":
            return f"[{progress.done}/{progress.total} bytes]"
        return f"[{progress.done / scale:.1f}/{progress.total / scale:.1f} {unit}]"
    return f"[{progress.done}/{progress.total}]"


def duration(seconds: float) -> str:
    """``54 s``, ``3 min 05 s`` or ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size_text(count: int) -> str:
    """``17 bytes`` or ``1.2 GiB``."""
    scale, unit = _binary_scale(count)
    return f"{count} bytes" if unit == "bytes" else f"{count / scale:.1f} {unit}"


def _binary_scale(count: int) -> tuple[int, str]:
    power = min(max(count.bit_length() - 1, 0) // 10, len(_BINARY_UNITS) - 1)
    return 1024**power, _BINARY_UNITS[power]


class ProgressFile:
    """Writes the progress of one piece of work, seldom enough to cost nothing; on leaving, the file is removed."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._clock = clock
        self._now = Progress(step="")
        self._step_began = self._written = clock()

    def __enter__(self) -> ProgressFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def step(self, name: str, *, total: int = 0, unit: str = "", detail: str = "") -> None:
        """Begin the next step; it is written at once."""
        self._now = Progress(name, total=total, unit=unit, detail=detail, heartbeat=self._now.heartbeat)
        self._step_began = self._clock()
        self._write()

    def advance(self, done: int, *, total: int | None = None, unit: str | None = None, detail: str = "") -> None:
        """``done`` of this step is done by now."""
        total = self._now.total if total is None else total
        unit = self._now.unit if unit is None else unit
        eta = estimate_eta(done, total, self._clock() - self._step_began)
        self._now = replace(self._now, done=done, total=total, unit=unit, detail=detail, eta_seconds=eta)
        if self._clock() - self._written >= WRITE_SECONDS:
            self._write()

    def beat(self) -> None:
        """The work is alive, though it has nothing new to say."""
        if self._clock() - self._written >= BEAT_SECONDS:
            self._write()

    def _write(self) -> None:
        self._now = replace(self._now, heartbeat=self._now.heartbeat + 1)
        self._written = self._clock()
        # One writer at a time holds the lock of the work, so a fixed temporary name does; a crash may lose this file.
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        temporary.write_bytes(dump(self._now))
        os.replace(temporary, self._path)


class Meter:
    """Shows how many bytes of a step are done, and how fast it went of late."""

    _SECONDS = 10.0

    def __init__(self, progress: ProgressFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._clock = progress, clock
        self._done = 0
        self._marks = [(clock(), 0)]

    def add(self, count: int, path: str) -> None:
        self.set(self._done + count, path)

    def pause(self, why: str) -> None:
        self._progress.advance(self._done, detail=why)

    def set(self, done: int, path: str) -> None:
        now = self._clock()
        self._done = done
        if now - self._marks[-1][0] >= 1.0:
            self._marks = [mark for mark in self._marks if now - mark[0] <= self._SECONDS] + [(now, done)]
        began, before = self._marks[0]
        rate = f"{size_text(round((done - before) / (now - began)))}/s · " if now - began >= 1.0 and done >= before else ""
        self._progress.advance(done, detail=f"{rate}{path}")


class Watch:
    """Decides for a watcher what to show, when to ask whether the work has ended, and when nobody works any more.

    All times are seconds of one clock; ``before`` is what the file held before the work began, left there by a killed run.
    """

    ASK_SECONDS = 15.0
    ASK_SECONDS_WITHOUT_PROGRESS = 1.0
    SILENCE_SECONDS = 180.0

    def __init__(self, before: Progress | None, now: float) -> None:
        self._last = before
        self._shown: Progress | None = None
        self._shown_at = self._moved_at = self._asked_at = now

    def see(self, progress: Progress | None, now: float) -> Progress | None:
        """Take note of what the file holds; returns it when the operator should see it."""
        moved = progress != self._last
        self._last = progress
        if not moved or progress is None:
            return None
        self._moved_at = now
        if not worth_showing(self._shown, progress, now - self._shown_at):
            return None
        self._shown, self._shown_at = progress, now
        return progress

    def should_ask(self, now: float) -> bool:
        """Whether to ask now if the work has ended: soon when there is no progress, for the end removes it."""
        interval = self.ASK_SECONDS_WITHOUT_PROGRESS if self._last is None else self.ASK_SECONDS
        if now - self._asked_at < interval:
            return False
        self._asked_at = now
        return True

    def is_dead(self, now: float) -> bool:
        """Whether there was no sign of life for so long that nobody can be at work."""
        return now - self._moved_at >= self.SILENCE_SECONDS
