# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub: one origin with the API and the small files, and another one that the large files come from, as with the real hub.

On the loopback the two have addresses of their own, because some clients take whatever is on the same host for the hub itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .faults import Fault, Faults
from .repository import File, Repository

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE = 1 << 20


@dataclass
class Request:
    """One that is answered, known before the first byte of the answer leaves. ``body_bytes`` are those that were sent so far."""

    origin: str
    method: str
    path: str
    status: int
    authorization: str | None
    range: str | None
    body_bytes: int = 0


@dataclass
class Hub:
    """A hub that serves while its context lasts. ``tokens`` says for each token which closed repositories it opens, ``*`` for all."""

    repositories: Iterable[Repository] = ()
    address: str = "127.0.0.1"
    port: int = 0
    download_port: int = 0
    tokens: dict[str, set[str]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_name = {repository.repo_id: repository for repository in self.repositories}

    def add(self, repository: Repository) -> Repository:
        self.by_name[repository.repo_id] = repository
        return repository

    def __enter__(self) -> Hub:
        self._servers = []
        hub = ("hub", self.address, self.port, _HubHandler)
        downloads = ("downloads", self.download_address, self.download_port, _DownloadHandler)
        for origin, address, port, handler in (hub, downloads):
            server = _Server((address, port), handler)
            server.hub, server.origin = self, origin
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            self._servers.append(server)
        self.port, self.download_port = (server.server_address[1] for server in self._servers)
        return self

    def __exit__(self, *_exc: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def download_address(self) -> str:
        return "127.0.0.2" if self.address == "127.0.0.1" else self.address

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def asked(self, *, method: str | None = None, contains: str = "", origin: str | None = None) -> list[Request]:
        """The requests so far that match."""
        return [
            request
            for request in self.requests
            if (method in (None, request.method)) and contains in request.path and (origin in (None, request.origin))
        ]

    def sent(self) -> int:
        """How many bytes of files have left so far."""
        return sum(request.body_bytes for request in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    hub: Hub
    origin: str

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to tell."""


class _Refused(Exception):
    def __init__(self, status: int, code: str = "", message: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the base class's)
        """Nothing on the terminal."""

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def note(self, status: int) -> Request:
        authorization, ranged = self.headers.get("Authorization"), self.headers.get("Range")
        request = Request(self.server.origin, self.command, self.path, status, authorization, ranged)
        self.hub.requests.append(request)
        return request

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        try:
            self.answer([unquote(part) for part in urlsplit(self.path).path.split("/")[1:]])
        except _Refused as refused:
            headers = {**refused.headers, "X-Error-Message": refused.message}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            self.send_json({"error": refused.message}, refused.status, headers)

    def answer(self, parts: list[str]) -> None:
        raise NotImplementedError

    def send_json(self, data: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(data).encode()
        self.note(status)
        self.start(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def may_fail(self, where: str, path: str) -> None:
        fault = self.hub.faults.take(where, path)
        if fault is not None and fault.kind == "status":
            raise _failed(fault)

    # -- files -------------------------------------------------------------------------------------------------------------

    def send_file(self, file: File, headers: dict[str, str]) -> None:
        fault = self.hub.faults.take("download", file.path) if self.command == "GET" else None
        if fault is not None and fault.kind == "status":
            raise _failed(fault)
        size = file.content.size
        begin, end, partial = 0, size, False
        ranged = _RANGE.fullmatch(self.headers.get("Range") or "")
        if ranged and not (fault and fault.kind == "no_ranges"):
            begin, end = _bounds(ranged[1], ranged[2], size)
            partial = True
            if begin >= end:
                raise _Refused(416, message="the range is not in the file", headers={"Content-Range": f"bytes */{size}"})
        status = 206 if partial else 200
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - begin),
            "Accept-Ranges": "bytes",
            **headers,
            **({"Content-Range": f"bytes {begin}-{end - 1}/{size}"} if partial else {}),
        }
        request = self.note(status)
        self.start(status, headers)
        if self.command == "HEAD":
            return
        try:
            self.body(file, begin, end, fault, request)
        except OSError:
            self.close_connection = True

    def body(self, file: File, begin: int, end: int, fault: Fault | None, request: Request) -> None:
        """Send a part of a file."""
        self.wfile.flush()
        with contextlib.ExitStack() as stack:
            source = file.content.source
            opened = stack.enter_context(open(source, "rb")) if isinstance(source, Path) else None
            position, stop = begin, end
            if fault is not None and fault.kind in ("truncate", "reset", "stall"):
                stop = min(end, max(begin, fault.after))
            while position < stop:
                count = min(_PIECE, stop - position)
                if fault is not None and fault.kind == "slow":
                    count = min(count, max(1, fault.rate // 20))
                    time.sleep(count / fault.rate)
                request.body_bytes += count  # before they leave: who has them all must find them counted
                if opened is not None and not (fault and fault.kind == "corrupt"):
                    asked, count = count, os.sendfile(self.connection.fileno(), opened.fileno(), position, count)
                    request.body_bytes -= asked - count
                else:
                    piece = bytearray(_read(source, position, count))
                    if fault is not None and fault.kind == "corrupt" and position <= fault.after < position + count:
                        piece[fault.after - position] ^= 1
                    self.connection.sendall(piece)
                position += count
            if stop < end and fault is not None:
                self.break_off(fault)

    def break_off(self, fault: Fault) -> None:
        if fault.kind == "stall":
            time.sleep(fault.seconds)
        if fault.kind == "reset":
            time.sleep(0.1)  # what was sent arrives first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True


class _HubHandler(_Handler):
    """Questions about repositories, and files; the large ones by a redirect."""

    def answer(self, parts: list[str]) -> None:
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            repository = self.repository("/".join(parts[2:4]))
            self.may_fail("api", repository.repo_id)
            self.answer_api(repository, parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            repository = self.repository("/".join(parts[:2]))
            self.send_resolved(repository, parts[3], "/".join(parts[4:]))
        else:
            raise _Refused(404, message="there is nothing here")

    def repository(self, name: str) -> Repository:
        """The one of this name, if whoever asks may know of it."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        if token is not None and token not in self.hub.tokens:
            raise _Refused(401, message="Invalid credentials in Authorization header")
        repository = self.hub.by_name.get(name)
        if repository is None or (repository.private and not self.opens(token, repository)):
            raise _Refused(404 if token else 401, "RepoNotFound", "Repository not found")
        return repository

    def opens(self, token: str | None, repository: Repository) -> bool:
        opened = self.hub.tokens.get(token, set()) if token else set()
        return "*" in opened or repository.repo_id in opened

    def commit(self, repository: Repository, revision: str) -> str:
        commit = repository.resolve(revision)
        if commit is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def answer_api(self, repository: Repository, rest: list[str]) -> None:
        query = parse_qs(urlsplit(self.path).query)
        kind, revision, *below = [*rest, *["", "main"][len(rest) :]]
        commit = self.commit(repository, revision)
        files = repository.commits[commit]
        if kind in ("", "revision"):
            siblings = [file.sibling(metadata="blobs" in query) for file in files.values()]
            about = {"id": repository.repo_id, "sha": commit, "private": repository.private, "gated": repository.gated and "auto"}
            self.send_json({**about, "siblings": siblings})
        elif kind == "tree":
            prefix = "".join(f"{part}/" for part in below if part)
            self.send_json([file.entry() for path, file in files.items() if path.startswith(prefix)])
        elif kind == "paths-info" and self.command == "POST":
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
            paths = parse_qs(asked).get("paths", []) if form else json.loads(asked)["paths"]
            self.send_json([files[path].entry() for path in paths if path in files])
        else:
            raise _Refused(404, message="there is nothing here")

    def send_resolved(self, repository: Repository, revision: str, path: str) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.may_fail("resolve", path)
        if repository.gated and not self.opens(token, repository):
            raise _Refused(403 if token else 401, "GatedRepo", f"Access to model {repository.repo_id} is restricted")
        commit = self.commit(repository, revision)
        file = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if file is None:
            raise _Refused(404, "EntryNotFound", "Entry not found", headers)
        if not file.lfs:
            self.send_file(file, {**headers, "ETag": f'"{file.etag}"'})
            return
        host = self.connection.getsockname()[0] if self.hub.download_address == self.hub.address else self.hub.download_address
        location = f"http://{host}:{self.hub.download_port}/{repository.repo_id}/{commit}/{path}?signature=valid"
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.content.size), "Location": location}
        self.note(HTTPStatus.FOUND)
        self.start(HTTPStatus.FOUND, {**headers, "Content-Length": "0"})


class _DownloadHandler(_Handler):
    """The large files, for whoever has the address."""

    def answer(self, parts: list[str]) -> None:
        repository = self.hub.by_name.get("/".join(parts[:2]))
        files = repository.commits.get(parts[2], {}) if repository and len(parts) > 3 else {}
        file = files.get("/".join(parts[3:]))
        if file is None or "signature=valid" not in self.path:
            raise _Refused(403, message="the address is not signed")
        # The commit is for clients that ask here after following the redirect.
        self.send_file(file, {"ETag": f'"{file.etag}"', "X-Repo-Commit": parts[2]})


def _failed(fault: Fault) -> _Refused:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return _Refused(fault.status, message=HTTPStatus(fault.status).phrase, headers=headers)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:  # the last bytes
        return max(0, size - int(last or 0)), size
    return int(first), min(size, int(last) + 1 if last else size)


def _read(source: bytes | Path, position: int, count: int) -> bytes:
    if isinstance(source, bytes):
        return source[position : position + count]
    with open(source, "rb") as file:
        file.seek(position)
        return file.read(count)
