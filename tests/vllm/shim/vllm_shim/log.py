# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines as vLLM 0.33.0 writes them (logger.py, and uvicorn's own)."""

from __future__ import annotations

import datetime
import os
import sys
from typing import TextIO

API_SERVER, ENGINE_CORE = "APIServer", "EngineCore"


def say(process: str, level: str, where: str, message: str) -> None:
    now = datetime.datetime.now().astimezone().strftime("%m-%d %H:%M:%S")
    head = f"({process} pid={os.getpid()}) {level} {now} [{where}] "
    _print(head + message.replace("\n", "\r\n" + head), sys.stdout)


def info(where: str, message: str, process: str = API_SERVER) -> None:
    say(process, "INFO", where, message)


def uvicorn(message: str) -> None:
    _print(f"({API_SERVER} pid={os.getpid()}) INFO:     {message}", sys.stdout)


def traceback(process: str, kind: str, message: str) -> None:
    """The end of one; what leads to it would be lines of a program that is not here."""
    for line in ("Traceback (most recent call last):", f"{kind}: {message}"):
        _print("\n".join(f"({process} pid={os.getpid()}) {part}" for part in line.split("\n")), sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    print(text, file=stream, flush=True)
