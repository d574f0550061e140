# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vLLM's endpoints in front of llama-server: answers in vLLM's form, with what llama-server has computed."""

from __future__ import annotations

import http.client
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .engine import Engine
from .log import uvicorn
from .metrics import Metrics
from .options import Options

_GUARDED = ("/v1", "/v2", "/inference", "/cohere")
_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_BACKEND_SECONDS = 600


class ApiServer(ThreadingHTTPServer):
    """Its address is taken at once, and listened on when the engine has loaded, as vLLM does it."""

    daemon_threads = True
    request_queue_size = 2048

    def __init__(self, options: Options, version: str, keys: list[str]) -> None:
        self.address_family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        super().__init__((options.host, options.port), Handler, bind_and_activate=False)
        self.options, self.version, self.keys = options, version, keys
        self.engine: Engine
        self.metrics: Metrics
        self.root = options.model
        self.length = 0
        self.server_bind()

    def server_bind(self) -> None:
        self.allow_reuse_address = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def open(self, engine: Engine, metrics: Metrics, length: int) -> None:
        self.engine, self.metrics, self.length = engine, metrics, length
        self.server_activate()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client has hung up


class Refusal(Exception):
    def __init__(self, status: int, kind: str, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": parameter, "code": status}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        if self.server.options.access_log:
            reason = http.client.responses.get(int(str(args[1])), "") if len(args) > 1 else ""
            uvicorn(f'{self.client_address[0]}:{self.client_address[1]} - "{self.requestline}" {args[1] if len(args) > 1 else ""} {reason}')

    def do_GET(self) -> None:
        self._route(
            {
                "/health": self._health,
                "/ping": self._health,
                "/version": self._version,
                "/metrics": self._metrics,
                "/v1/models": self._models,
            }
        )

    def do_POST(self) -> None:
        self._route({"/ping": self._health, _CHAT: self._chat, _COMPLETIONS: self._completions})

    def _route(self, routes: Mapping[str, Callable[[], None]]) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(_GUARDED) and self.server.keys and not self._knows_key():
            self._json(401, {"error": "Unauthorized"})
        elif path in routes:
            try:
                routes[path]()
            except Refusal as refusal:
                self._json(refusal.status, refusal.body)
        else:
            self._json(404, {"detail": "Not Found"})

    def _knows_key(self) -> bool:
        scheme, _, token = (self.headers["Authorization"] or "").partition(" ")
        return scheme.lower() == "bearer" and token in self.server.keys

    # -- what it says of itself --

    def _health(self) -> None:
        self._send(200 if self.server.engine.lives else 503, b"", "")

    def _version(self) -> None:
        self._json(200, {"version": self.server.version})

    def _metrics(self) -> None:
        self._send(200, self.server.metrics.text().encode(), "text/plain; version=0.0.4; charset=utf-8")

    def _models(self) -> None:
        now = int(time.time())
        cards = [
            {
                "id": name,
                "object": "model",
                "created": now,
                "owned_by": "vllm",
                "root": self.server.root,
                "parent": None,
                "max_model_len": self.server.length,
                "permission": [{"id": f"modelperm-{uuid.uuid4().hex}", "object": "model_permission", "created": now}],
            }
            for name in self.server.options.names
        ]
        self._json(200, {"object": "list", "data": cards})

    # -- questions --

    def _chat(self) -> None:
        self._answer(_CHAT, "messages")

    def _completions(self) -> None:
        self._answer(_COMPLETIONS, "prompt")

    def _answer(self, path: str, needed: str) -> None:
        question = self._question(needed)
        if not self.server.engine.lives:
            raise Refusal(500, "InternalServerError", "The server had an error while processing your request.")
        self.server.metrics.start()
        backend = http.client.HTTPConnection("127.0.0.1", self.server.engine.port, timeout=_BACKEND_SECONDS)
        started = time.monotonic()
        try:
            backend.request("POST", path, json.dumps(question), {"Content-Type": "application/json"})
            reply = backend.getresponse()
            if reply.status != 200:
                error = json.loads(reply.read()).get("error", {})
                raise Refusal(reply.status, "BadRequestError", str(error.get("message", "")))
            if question.get("stream"):
                self._stream(reply, question, started)
            else:
                answer = translate(json.loads(reply.read()), self.server.options.names[0])
                usage = answer["usage"]
                self.server.metrics.served(usage["prompt_tokens"], usage["completion_tokens"], time.monotonic() - started, None)
                self._json(200, answer)
        except (OSError, http.client.HTTPException):
            if question.get("stream"):
                raise
            raise Refusal(500, "InternalServerError", "The server had an error while processing your request.") from None
        finally:
            backend.close()
            self.server.metrics.end()

    def _question(self, needed: str) -> dict[str, Any]:
        try:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        except ValueError:
            question = None
        if not isinstance(question, dict) or needed not in question:
            message = f"1 validation error:\n  {{'type': 'missing', 'loc': ('body', '{needed}'), 'msg': 'Field required'}}"
            raise Refusal(400, "BadRequestError", message, needed)
        if question.get("model") and question["model"] not in self.server.options.names:
            raise Refusal(404, "NotFoundError", f"The model `{question['model']}` does not exist.", "model")
        if question.pop("cache_salt", None):
            question["cache_prompt"] = False
        return {**question, "model": "tiny"}

    def _stream(self, reply: http.client.HTTPResponse, question: Mapping[str, Any], started: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        first: float | None = None
        generated = prompt = 0
        for chunk in events(reply):
            data = chunk if chunk == "[DONE]" else json.dumps(translate(json.loads(chunk), self.server.options.names[0]))
            if chunk != "[DONE]":
                usage = json.loads(chunk).get("usage") or {}
                prompt, counted = usage.get("prompt_tokens", prompt), usage.get("completion_tokens")
                generated = generated + 1 if counted is None else counted
                first = time.monotonic() - started if first is None else first
            event = f"data: {data}\n\n".encode()
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")
        self.server.metrics.served(prompt, generated, time.monotonic() - started, first)

    # -- answers --

    def _json(self, status: int, data: object) -> None:
        self._send(status, json.dumps(data).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def events(reply: http.client.HTTPResponse) -> Iterator[str]:
    while line := reply.readline():
        if line.startswith(b"data: "):
            yield line[len(b"data: ") :].decode("utf-8", errors="replace").strip()


def translate(answer: dict[str, Any], model: str) -> dict[str, Any]:
    """Without what llama-server adds of its own, and with what is vLLM's."""
    for choice in answer.get("choices", []):
        choice.setdefault("logprobs", None)
        if "delta" in choice and "role" in choice["delta"]:
            choice["delta"]["content"] = choice["delta"].get("content") or ""
        if choice.get("finish_reason") and "message" in choice:
            choice.update(stop_reason=None, token_ids=None)
            choice["message"].update(refusal=None, annotations=None, audio=None, function_call=None, reasoning=None)
    usage = answer.get("usage")
    if usage:
        answer["usage"] = {
            "prompt_tokens": usage["prompt_tokens"],
            "total_tokens": usage["total_tokens"],
            "completion_tokens": usage["completion_tokens"],
            "prompt_tokens_details": None,
        }
    kept = ("id", "object", "created", "choices", "usage")
    return {**{key: answer[key] for key in kept if key in answer}, "model": model}
