# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of an OpenAI-compatible API holds, read while it arrives: when which tokens came, how many there are, what went wrong."""

from __future__ import annotations

import json
from array import array
from http import HTTPStatus
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._http import MAX_BODY, excerpt

_TEXTS = ("content", "reasoning_content", "reasoning", "tool_calls", "text")


class BrokenAnswerError(Exception):
    """The request has failed; `kind` is one of a few words, to count by."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Answer:
    """Fed with the pieces of the body and the time of each."""

    def __init__(self, *, stream: bool) -> None:
        self.arrivals = array("d")
        """When text came: one time for each event that held some."""
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self._stream = stream
        self._rest = bytearray()
        self._finished_at: float | None = None
        self._done = False

    def feed(self, status: int, body: bytes, now: float) -> None:
        self._rest += body
        if len(self._rest) > MAX_BODY:
            raise BrokenAnswerError("answer_too_long", f"the answer is longer than {MAX_BODY} bytes")
        if self._stream and status == HTTPStatus.OK:
            *lines, rest = self._rest.split(b"\n")
            self._rest = rest
            for line in lines:
                self._event(line, now)

    def end(self, status: int) -> None:
        """The answer is whole: see whether it was one."""
        if status != HTTPStatus.OK:
            raise BrokenAnswerError(f"http_{status}", excerpt(self._rest))
        if not self._stream:
            self._read_whole()
        elif not self._done:
            raise BrokenAnswerError("stream_broken", f"the stream ended after {len(self.arrivals)} events, without its end mark [DONE]")
        if not self.arrivals and self._finished_at is not None:
            # Made of pieces of characters only: the last event is all that comes.
            self.arrivals.append(self._finished_at)
        if self.completion_tokens == 0 or (self._stream and not self.arrivals):
            raise BrokenAnswerError("no_tokens", "the answer holds no token")

    def _event(self, line: bytearray, now: float) -> None:
        name, _colon, data = line.partition(b":")
        if name == b"error":
            raise BrokenAnswerError("stream_error", excerpt(data))
        if name != b"data":
            return
        data = data.strip()
        if data == b"[DONE]":
            self._done = True
            return
        chunk = _parsed(data)
        if not isinstance(chunk, dict):
            raise BrokenAnswerError("not_json", f"an event is {excerpt(data)}")
        if chunk.get("error") is not None:
            raise BrokenAnswerError("stream_error", excerpt(data))
        self._usage(chunk)
        choice = _first(chunk.get("choices"))
        delta = choice.get("delta") or choice
        if any(delta.get(name) for name in _TEXTS):
            self.arrivals.append(now)
        if choice.get("finish_reason") is not None:
            self._finished_at = now

    def _read_whole(self) -> None:
        whole = _parsed(self._rest)
        if not isinstance(whole, dict) or not _first(whole.get("choices")):
            raise BrokenAnswerError("not_json", f"the answer is {excerpt(self._rest)}")
        self._usage(whole)

    def _usage(self, data: dict[str, Any]) -> None:
        usage = data.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
            self.completion_tokens = _count(usage.get("completion_tokens"), self.completion_tokens)


def _count(value: object, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _first(choices: object) -> dict[str, Any]:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _parsed(data: bytes | bytearray) -> Any:
    try:
        return json.loads(data.decode("utf-8", errors="replace"))
    except ValueError:
        return None
