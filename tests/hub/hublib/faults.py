# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go wrong with an answer, on demand."""

from __future__ import annotations

import fnmatch
import threading
from dataclasses import dataclass

KINDS = (
    "truncate",  # the body ends early, and the connection with it
    "reset",  # the same, by a reset of the connection
    "corrupt",  # a body of the right size with one bit of it turned
    "slow",  # so many bytes a second
    "stall",  # the body stops in the middle, for so many seconds, and then ends
    "status",  # an answer with this status instead, such as 429 or 503
    "no_ranges",  # the whole file, whatever part of it was asked for
)
# `api` are the questions about a repository, `resolve` those for a file, `download` the body of one, wherever it comes from.
WHERE = ("api", "resolve", "download")


@dataclass
class Fault:
    """``path`` is a glob for the file's path, or for the repository's name with ``api``; without ``times`` it stays for good."""

    kind: str
    where: str = "download"
    path: str = "*"
    times: int | None = 1
    after: int = 0
    status: int = 503
    retry_after: int | None = None
    rate: int = 1 << 20
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.where not in WHERE:
            raise ValueError(f"there is no fault {self.kind} for {self.where}")


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def left(self) -> list[Fault]:
        """Those that are still to happen."""
        with self._lock:
            return list(self._faults)

    def take(self, where: str, path: str) -> Fault | None:
        """The fault that is to happen now, and counts as having happened."""
        with self._lock:
            for fault in self._faults:
                if fault.where == where and fnmatch.fnmatchcase(path, fault.path):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self._faults.remove(fault)
                    return fault
        return None


def parse(text: str) -> Fault:
    """A fault as the command line has it: ``KIND[,NAME=VALUE…]``, such as ``status,where=api,status=429,retry_after=2,times=3``."""
    kind, *settings = text.split(",")
    values: dict[str, str] = dict(setting.split("=", 1) for setting in settings)
    fault = Fault(kind, values.pop("where", "download"), values.pop("path", "*"), times=int(values.pop("times", "1")) or None)
    for name, value in values.items():
        setattr(fault, name, float(value) if name == "seconds" else int(value))
    return fault
