# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program: an argument list, never a shell, and messages in English so that they can be parsed."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import selectors
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, cast

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

COMMAND_NOT_FOUND = 127
TIMED_OUT = 124
_SECONDS_TO_DIE = 1.0

_USER_INFO = re.compile(r"://[^/@\s]+@")


@dataclass(frozen=True)
class Completed:
    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str

    def details(self) -> dict[str, object]:
        """The keys that every failure of a command carries, with the credentials in any URL masked."""
        return {
            "cmd": [without_credentials(argument) for argument in self.argv],
            "rc": self.rc,
            "stdout": without_credentials(self.stdout),
            "stderr": without_credentials(self.stderr),
        }


def without_credentials(text: str) -> str:
    """``text`` with the user and password of every URL in it masked."""
    return _USER_INFO.sub("://***@", text)


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
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=c_locale(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:  # not there, not executable, or not for this kind of machine
        return Completed(command, COMMAND_NOT_FOUND, "", str(error))
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException as error:
        process.kill()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        # Not waited for without end: a program that sleeps in the kernel, as with a GPU that hangs, is not even killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_DIE)
        return Completed(command, TIMED_OUT, "", f"{command[0]} did not end within {timeout} s")
    return Completed(command, process.returncode, stdout, stderr)


def first_lines(argv: Sequence[str], count: int, *, timeout: float, with_stderr: bool = False) -> list[str]:
    """The first lines that a program prints, which is ended after them or after ``timeout`` seconds; none where it is not there.

    ``with_stderr``: on both of its outputs, in the order in which it wrote them.
    """
    try:
        process = subprocess.Popen(
            tuple(argv),
            env=c_locale(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_stderr else subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:
        return []
    with process:
        limit = threading.Timer(timeout, process.kill)
        limit.start()
        try:
            return [line.rstrip("\n") for line in itertools.islice(cast(IO[str], process.stdout), count)]
        finally:
            limit.cancel()
            process.kill()


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
        raise UserError(f"{what or completed.argv[0]} failed (rc {completed.rc}): {without_credentials(reason)}", **completed.details())
    return completed


def follow(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None],
    on_idle: Callable[[], None],
    idle_seconds: float = 1.0,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
) -> int:
    """Run a long ``argv``, hand over each line of its output as it comes, and return its exit status.

    ``on_idle`` is called about every ``idle_seconds`` while nothing comes. The program is told to end when this process dies,
    and it and its children inherit the file descriptors in ``keep_open``: a lock held through them stays held until the
    last of them has ended.
    """
    bound = ["setpriv", "--pdeathsig", "TERM", "--", *argv] if shutil.which("setpriv") else list(argv)
    with subprocess.Popen(
        bound,
        cwd=cwd,
        env=c_locale(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(keep_open),
    ) as process:
        output = cast(IO[bytes], process.stdout).fileno()
        unfinished = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                if not selector.select(idle_seconds):
                    on_idle()
                    # A daemon left behind by the program may hold the pipe open for ever.
                    if process.poll() is not None:
                        break
                    continue
                chunk = os.read(output, 65536)
                if not chunk:
                    break
                *lines, unfinished = (unfinished + chunk).split(b"\n")
                for line in lines:
                    on_line(line.decode("utf-8", "replace").rstrip("\r"))
        if unfinished:
            on_line(unfinished.decode("utf-8", "replace"))
    return process.returncode
