#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cheapest server of the OpenAI API there can be: it computes nothing and sends prepared bytes. Misbehaves on request.

As a program, `trivial_api.py TOKENS` prints its port and answers until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

MODEL = "trivial"
HANG = None


class Asked(NamedTuple):
    path: str
    head: str
    body: bytes

    @property
    def streams(self) -> bool:
        return b'"stream": true' in self.body


def http(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*pieces: bytes) -> bytes:
    framed = b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def event(data: object) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def delta(text: str) -> bytes:
    return event({"id": "chatcmpl-0", "model": MODEL, "choices": [{"index": 0, "finish_reason": None, "delta": {"content": text}}]})


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


MODELS = http(200, json.dumps({"object": "list", "data": [{"id": MODEL}]}).encode())


class Answers:
    """What is prepared for answers of so many tokens."""

    def __init__(self, tokens: int, prompt_tokens: int = 16) -> None:
        counts = usage(prompt_tokens, tokens)
        self.stream = chunked(*[delta(" x")] * tokens, event({"choices": [], "usage": counts}), event(b"[DONE]"))
        self.whole = http(200, json.dumps({"choices": [{"message": {"content": "x"}}], "usage": counts}).encode())

    def __call__(self, asked: Asked) -> bytes:
        if asked.path.endswith("/models"):
            return MODELS
        return self.stream if asked.streams else self.whole


Answer = bytes | list[bytes | float] | None
"""Bytes at once, or bytes with pauses (in seconds) between them; None is never an answer. A list that ends in a pause of 0 is cut off."""


class TrivialApi:
    """A server on a port of its own, in a thread; `answer` is asked for each request."""

    def __init__(self, answer: Callable[[Asked], Answer], port: int = 0) -> None:
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self._answer), "127.0.0.1", port, backlog=1024)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        self._loop.run_forever()

    def __enter__(self) -> TrivialApi:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self._answer = answer
        self._buffer = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].decode("latin-1")
        at = head.find("Content-Length: ")
        whole = end + 4 + (int(head[at + 16 :].split("\r\n", 1)[0]) if at >= 0 else 0)
        if len(self._buffer) < whole:
            return
        asked = Asked(head.split(" ", 2)[1], head, self._buffer[end + 4 : whole])
        self._buffer = self._buffer[whole:]
        answer = self._answer(asked)
        if isinstance(answer, bytes):
            self._transport.write(answer)
            if "Connection: close" in head:
                self._transport.close()
        elif answer is not None:
            task = asyncio.get_running_loop().create_task(self._send(answer, close="Connection: close" in head))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, pieces: list[bytes | float], *, close: bool) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                self._transport.write(piece)
            else:
                await asyncio.sleep(piece)
        if close or pieces[-1:] == [0]:
            self._transport.close()


def main() -> None:
    with TrivialApi(Answers(int(sys.argv[1]))) as server:
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
