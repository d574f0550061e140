# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry of container images on this machine, as far as asking for the digest of a tag goes: no layer can be pulled from it.

It answers as the reference implementation (distribution 2.8.2) does, which knows no index for who does not say that it takes one. And it
asks for a token as public registries do, whether or not who comes has a login.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import typing as t
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Asked(t.NamedTuple):
    method: str
    path: str
    accept: str
    authorization: str


@dataclass
class Registry:
    """``users`` may pull, with a token or a password; without any, everybody may. ``tokens`` says which of the two is asked for."""

    users: t.Mapping[str, str] = field(default_factory=dict)
    tokens: bool = True
    tells_digest: bool = True
    fails_with: int = 0
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def push(self, repository: str, tag: str, *images: str, kind: str = INDEX) -> str:
        """Have an index of these images under a tag; its digest."""
        manifests = [
            {"mediaType": MANIFEST, "digest": f"sha256:{hashlib.sha256(image.encode()).hexdigest()}", "size": 1} for image in images
        ]
        content = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode()
        self.manifests[repository, tag] = kind, content
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def __enter__(self) -> Registry:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.answer(self)

            def do_HEAD(self) -> None:
                registry.answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def name(self) -> str:
        """As images are called by."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        headers = request.headers
        authorization = headers.get("Authorization", "")
        self.asked.append(Asked(request.command, request.path, headers.get("Accept", ""), authorization))
        url = urlsplit(request.path)
        parts = url.path.split("/")
        if self.fails_with:
            self._send(request, self.fails_with, b"")
        elif url.path == "/token":
            self._token(request, parse_qs(url.query), authorization)
        elif parts[1] != "v2" or parts[-2] != "manifests":
            self._send(request, 404, b"404 page not found\n")
        elif not self._allows(authorization):
            self._challenge(request, "/".join(parts[2:-2]))
        elif ("/".join(parts[2:-2]), parts[-1]) not in self.manifests:
            self._unknown(request)
        else:
            kind, content = self.manifests["/".join(parts[2:-2]), parts[-1]]
            if kind not in headers.get("Accept", ""):
                self._unknown(request)
                return
            digest = {"Docker-Content-Digest": f"sha256:{hashlib.sha256(content).hexdigest()}"} if self.tells_digest else {}
            self._send(request, 200, content, {"Content-Type": kind, **digest})

    def _token(self, request: BaseHTTPRequestHandler, query: t.Mapping[str, list[str]], authorization: str) -> None:
        if self.users and authorization not in self._passwords():
            self._send(request, 401, b'{"details":"incorrect username or password"}')
        else:
            self._send(request, 200, json.dumps({"token": f"for-{query['scope'][0].replace(':', '-')}"}).encode())

    def _unknown(self, request: BaseHTTPRequestHandler) -> None:
        self._send(request, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    def _challenge(self, request: BaseHTTPRequestHandler, repository: str) -> None:
        realm = f'Bearer realm="http://{self.name}/token",service="registry.test",scope="repository:{repository}:pull"'
        self._send(request, 401, b"{}", {"WWW-Authenticate": realm if self.tokens else 'Basic realm="Registry Realm"'})

    def _allows(self, authorization: str) -> bool:
        if self.tokens:
            return authorization.startswith("Bearer for-repository-")
        return not self.users or authorization in self._passwords()

    def _passwords(self) -> set[str]:
        return {f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" for user, password in self.users.items()}

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: t.Mapping[str, str] | None = None) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)
