# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One long piece of work on the target: its log, its progress, and commands that end with it."""

from __future__ import annotations

import os
import shlex
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed, follow, without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile

_KEPT_LINES = 2000


@dataclass(frozen=True)
class Job:
    """``keep_open`` are the descriptors, usually of a lock, that every command inherits."""

    log: TextIO
    progress: ProgressFile
    keep_open: tuple[int, ...] = ()

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        on_beat: Callable[[], None] | None = None,
    ) -> Completed:
        """Run ``argv`` with its output in the log; what comes back as stdout is its last lines, both streams as they came.

        ``on_beat`` is called every now and then, and shows how far a program is that does not say so itself.
        """
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        beat = on_beat or self.progress.beat

        def take(line: str) -> None:
            lines.append(line)
            self.write(line)
            if on_line is not None:
                on_line(line)
            beat()

        self.write(f"$ {shlex.join(argv)}")
        rc = follow(argv, on_line=take, on_idle=beat, cwd=cwd, env=env, keep_open=self.keep_open)
        if rc != 0:
            self.write(f"# exit status {rc}")
        return Completed(tuple(argv), rc, "\n".join(lines), "")

    def write(self, line: str) -> None:
        self.log.write(without_credentials(line) + "\n")
        self.log.flush()
