# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server answers to a question, at once and as a stream.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import OK, READ_LOG, dig, positive

_EMPTY = "See whether the model file is whole and meant for text generation."


def judge_completion(path: str, reply: Reply, timings: dict[str, float | None]) -> Check:
    """Tokens are counted, not characters: a token may be a piece of a character, or print nothing."""
    if reply.status != OK:
        return Check("completion", False, f"POST {path} is answered {reply.status}: {reply.excerpt()}", READ_LOG)
    answer = reply.json()
    tokens = dig(answer, "usage", "completion_tokens")
    if dig(answer, "choices", 0) is None or not isinstance(tokens, int) or tokens < 1:
        return Check("completion", False, "the answer to a completion holds no token", _EMPTY)
    speed = positive(dig(answer, "timings", "predicted_per_second"))
    timings.update(
        prompt_tokens=positive(dig(answer, "usage", "prompt_tokens")),
        completion_tokens=tokens,
        prompt_tokens_per_second=positive(dig(answer, "timings", "prompt_per_second")),
        tokens_per_second=speed,
    )
    return Check("completion", True, f"{tokens} tokens" + (f" at {speed:g} tokens/s" if speed else ""))


def stream(client: Client, path: str, question: Mapping[str, object], timings: dict[str, float | None]) -> Check:
    request = {**question, "stream": True, "stream_options": {"include_usage": True}}
    started = time.monotonic()
    arrivals = ((time.monotonic() - started, data) for data in client.events(path, request))
    return judge_stream(arrivals, timings)


def judge_stream(arrivals: Iterable[tuple[float, str]], timings: dict[str, float | None]) -> Check:
    """`arrivals`: the data of each event, and the seconds since the request when it came."""
    chunks, usage = 0, None
    first = last = 0.0
    for seconds, data in arrivals:
        if data == "[DONE]":
            if not chunks or dig(usage, "completion_tokens") == 0:
                return Check("streaming", False, "the stream ended without a token", _EMPTY)
            _time(first, last, usage, timings)
            return Check("streaming", True, f"{chunks} chunks, the first token after {timings['time_to_first_token_ms']:g} ms")
        try:
            chunk = json.loads(data)
        except ValueError:
            return Check("streaming", False, f"an event is not JSON: {data[:200]}", READ_LOG)
        error = dig(chunk, "error")
        if error is not None:
            return Check("streaming", False, f"an event reports an error: {dig(error, 'message') or error}", READ_LOG)
        if _has_token(dig(chunk, "choices", 0)):
            chunks += 1
            last = seconds
            if chunks == 1:
                first = seconds
        usage = usage or dig(chunk, "usage")
    return Check("streaming", False, f"the stream broke off after {chunks} chunks, without its end mark [DONE]", READ_LOG)


def _time(first: float, last: float, usage: Any, timings: dict[str, float | None]) -> None:
    """What the server has not measured itself is taken from this side's clock."""
    timings["time_to_first_token_ms"] = round(first * 1000, 1)
    prompt, tokens = (dig(usage, key) for key in ("prompt_tokens", "completion_tokens"))
    if timings.get("prompt_tokens_per_second") is None and isinstance(prompt, int) and first > 0:
        timings["prompt_tokens_per_second"] = positive(prompt / first)
    if timings.get("tokens_per_second") is None and isinstance(tokens, int) and last > first:
        timings["tokens_per_second"] = positive((tokens - 1) / (last - first))


def _has_token(choice: Any) -> bool:
    # A first chunk may carry the role alone, beside an empty text. The last one counts: of an answer made of pieces of characters it is
    # all that comes.
    delta = dig(choice, "delta")
    opening = isinstance(delta, dict) and "role" in delta and not any(value for key, value in delta.items() if key != "role")
    says = isinstance(delta, dict) and not opening and any(value is not None for value in delta.values())
    return says or dig(choice, "text") is not None or dig(choice, "finish_reason") is not None
