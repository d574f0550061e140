# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that have parts of files, as a hub has, and others that have their ways."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Asked:
    path: str
    range: str | None
    authorization: str | None


@dataclass
class FileServer:
    """`files` by their paths, without what follows a question mark; a path that begins with one of `redirections` is another's."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    redirections: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Callable[[BaseHTTPRequestHandler], None] | None = None  # instead of all that
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> FileServer:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(Asked(self.path, self.headers["Range"], self.headers["Authorization"]))
                with contextlib.suppress(ConnectionError):  # a client hangs up when it has what it wanted
                    (server.answer or server.serve)(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        for beginning, target in self.redirections.items():
            if path.startswith(beginning):
                say(request, 302, {**self.headers, "Location": target + path.removeprefix(beginning)})
                return
        if path not in self.files:
            say(request, 404, {"X-Error-Code": "EntryNotFound"})
            return
        content = self.files[path]
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"] or "")
        if not self.ranges or asked is None:
            self.send(request, 200, {**self.headers, "Content-Length": str(len(content))}, content)
            return
        first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
        if first > last:
            say(request, 416, {"Content-Range": f"bytes */{len(content)}"})
            return
        part = content[first : last + 1]
        headers = {"Content-Length": str(len(part)), "Content-Range": f"bytes {first}-{last}/{len(content)}", "ETag": '"etag"'}
        self.send(request, 206, {**headers, **self.headers}, part)

    def send(self, request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes) -> None:
        say(request, status, headers)
        for at in range(0, len(body), 65536):
            self.sent += request.wfile.write(body[at : at + 65536])


def say(request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
