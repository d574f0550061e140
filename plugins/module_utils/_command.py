# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program: an argument list, never a shell, and messages in English so that they can be parsed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

COMMAND_NOT_FOUND = 127
TIMED_OUT = 124


@dataclass(frozen=True)
class Completed:
    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str

    def details(self) -> dict[str, object]:
        """The keys that every failure of a command carries."""
        return {"cmd": list(self.argv), "rc": self.rc, "stdout": self.stdout, "stderr": self.stderr}


def c_locale(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with ``env`` on top, and untranslated messages."""
    # LANGUAGE outranks LC_ALL in gettext, so it has to go as well.
    inherited = {name: value for name, value in os.environ.items() if name != "LANGUAGE"}
    return {**inherited, "LC_ALL": "C.UTF-8", **(env or {})}


def run(
    argv: Sequence[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run ``argv`` to its end. ``env`` adds to this process's environment.

    A program that is not there gives 127 and one that overran ``timeout`` seconds 124, as a shell would say it.
    """
    command = tuple(argv)
    try:
        process = subprocess.run(
            command,
            cwd=cwd,
            env=c_locale(env),
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return Completed(command, COMMAND_NOT_FOUND, "", str(error))
    except subprocess.TimeoutExpired:
        return Completed(command, TIMED_OUT, "", f"{command[0]} did not end within {timeout} s")
    return Completed(command, process.returncode, process.stdout, process.stderr)


def check(
    argv: Sequence[str],
    *,
    what: str = "",
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Completed:
    """Like :func:`run`, but a program that fails raises a :class:`UserError`; ``what`` says what it was meant to do."""
    completed = run(argv, cwd=cwd, env=env, timeout=timeout)
    if completed.rc != 0:
        last_lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
        reason = last_lines[-1].strip() if last_lines else "it said nothing"
        raise UserError(f"{what or completed.argv[0]} failed (rc {completed.rc}): {reason}", **completed.details())
    return completed
