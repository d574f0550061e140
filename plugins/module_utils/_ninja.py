# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the output of ninja, or of make under CMake, says: how far the build is, and what broke it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

STATUS_FORMAT = "[%f/%t] "

_NINJA_STEP = re.compile(r"\[(?P<done>\d+)/(?P<total>\d+)\] (?P<detail>.*)")
_MAKE_STEP = re.compile(r"\[ *(?P<done>\d+)%\] (?P<detail>.*)")
_NINJA_FAILED = re.compile(r"FAILED: (?:\[code=\d+\] )?(?P<target>.*\S)")
_MAKE_FAILED = re.compile(r"make(?:\[\d+\])?: \*\*\* \[(?:[^\]]*: )?(?P<target>[^\]]+)\] Error \d+")
# "foo.cpp:3:1: fatal error: …", "collect2: error: …", "nvcc fatal   : …", "ld: foo.o: undefined reference to …"
_ERROR = re.compile(r"\b(?:fatal )?error\b\s*:|\bfatal\s+:|undefined reference|undefined symbol|No space left on device", re.IGNORECASE)


class Step(NamedTuple):
    """``done`` of ``total`` steps; make knows only per cent, so its total is 100 and its unit ``%``."""

    done: int
    total: int
    unit: str
    detail: str


@dataclass(frozen=True)
class Failure:
    """What broke a build; ``command`` is empty when the output does not hold it, ``output`` is what it said."""

    target: str
    command: str
    error: str
    output: tuple[str, ...]

    @property
    def killed(self) -> bool:
        """The compiler was killed from outside: nearly always the kernel, for want of memory."""
        return any("Killed signal terminated program" in line or line.strip() == "Killed" for line in self.output)


def parse_step(line: str) -> Step | None:
    if match := _NINJA_STEP.match(line):
        return Step(int(match["done"]), int(match["total"]), "", match["detail"])
    if match := _MAKE_STEP.match(line):
        return Step(int(match["done"]), 100, "%", match["detail"])
    return None


def find_failure(lines: Iterable[str]) -> Failure | None:
    """The first failed target in a build's output; None when the output names none."""
    since_step: list[str] = []
    remaining = iter(lines)
    for line in remaining:
        if failed := _NINJA_FAILED.match(line):
            command = next(remaining, "")
            return _failure(failed["target"], command, _until_next_step(remaining))
        if failed := _MAKE_FAILED.match(line):
            return _failure(failed["target"], "", since_step)
        if parse_step(line):
            since_step = []
        else:
            since_step.append(line)
    return None


def first_error(lines: Iterable[str]) -> str:
    """The first line that a compiler or linker marks as an error, or the first line at all."""
    said = [line.strip() for line in lines if line.strip()]
    return next((line for line in said if _ERROR.search(line)), said[0] if said else "")


def _failure(target: str, command: str, output: Iterable[str]) -> Failure:
    said = tuple(output)
    return Failure(target, command, first_error(said), said)


def _until_next_step(lines: Iterable[str]) -> list[str]:
    output: list[str] = []
    for line in lines:
        if parse_step(line) or line.startswith(("ninja: ", "FAILED: ")):
            break
        output.append(line)
    return output
