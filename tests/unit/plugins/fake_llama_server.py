# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that answers as llama-server was recorded to, and misbehaves on request."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import TypeVar

Self = TypeVar("Self", bound="FakeLlamaServer")

RECORDED = Path(__file__).parent / "fixtures"


def recorded(name: str, engine: str = "llama_server") -> bytes:
    return (RECORDED / engine / name).read_bytes()


@dataclass
class FakeLlamaServer:
    """`health`: the statuses of the first answers of /health; "slow" is an answer that never comes. Then it is 200 for good."""

    api_key: str | None = None
    address: str = "127.0.0.1"
    health: list[int | str] = field(default_factory=list)
    change: Callable[[str, bytes], bytes] = lambda _, body: body  # what becomes of a recorded answer
    completion_status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)
    questions: list[dict[str, object]] = field(default_factory=list)
    cannot_chat: bool = False

    engine = "llama_server"
    said = {"/props": "props.json", "/v1/models": "models.json"}
    guarded = "/"

    def __enter__(self: Self) -> Self:
        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in self.address else socket.AF_INET

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client hangs up when it has what it wanted

        self._server = Server((self.address, 0), self._handler())
        self._server.daemon_threads = True
        self._closing = threading.Event()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://[{self.address}]:{self.port}" if ":" in self.address else f"http://{self.address}:{self.port}"

    def _remember(self, body: bytes) -> dict[str, object]:
        question: dict[str, object] = json.loads(body)
        self.questions.append(question)
        return question

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                pass

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes) -> None:
                fake.asked.append((self.command, self.path))
                if self.path == "/health":
                    status = fake.health.pop(0) if fake.health else 200
                    if status == "slow":
                        fake._closing.wait(30)
                        return
                    self._send(int(status), "health.json" if status == 200 else "loading.json")
                elif fake.api_key and self.path.startswith(fake.guarded) and self.headers["Authorization"] != f"Bearer {fake.api_key}":
                    self._send(401, "unauthorized.json")
                elif self.path in fake.said:
                    self._send(200, fake.said[self.path])
                elif not {"messages", "prompt"} & json.loads(body).keys():
                    self._send(400, "empty_question.json")
                elif fake.cannot_chat and "messages" in json.loads(body):
                    self._send(400, "no_template.json")
                elif fake._remember(body).get("stream"):
                    name = "stream.txt" if "messages" in json.loads(body) else "text_stream.txt"
                    self._stream(fake.change(name, recorded(name, fake.engine)))
                else:
                    self._send(fake.completion_status, "completion.json" if fake.completion_status == 200 else "loading.json")

            def _send(self, status: int, name: str) -> None:
                body = fake.change(name, recorded(name, fake.engine))
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _stream(self, events: bytes) -> None:
                # As llama-server does it: chunked, one event a chunk. Without [DONE] the connection is cut in the middle.
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for event in events.split(b"\n\n"):
                    self.wfile.write(f"{len(event) + 2:x}\r\n".encode() + event + b"\n\n\r\n")
                    time.sleep(0.001)
                if b"[DONE]" in events:
                    self.wfile.write(b"0\r\n\r\n")
                self.close_connection = True

        return Handler


class FakeVllm(FakeLlamaServer):
    """One that answers as vLLM does."""

    engine = "vllm"
    said = {"/v1/models": "models.json", "/version": "version.json", "/metrics": "metrics.txt"}
    guarded = "/v1"
