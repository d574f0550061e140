# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP client for one API server: JSON in, JSON or server-sent events out, every wait bounded.

Each request has a connection of its own. On the loopback that costs a fraction of a millisecond, and no request can fail because the
server has meanwhile closed an idle connection.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._text import clean

MAX_BODY = 16 * 1024**2  # bytes; whatever sends more is not the server we look for
_LONGEST_EXCERPT = 300


class RequestError(Exception):
    """There was no usable answer. `permanent`: asking again would not help."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class Reply(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        """The body as data. Pieces of characters, which a model may well produce, are replaced rather than refused."""
        try:
            return json.loads(self.body.decode("utf-8", errors="replace"))
        except ValueError:
            raise RequestError(f"the answer is not JSON: {self.excerpt()}") from None

    def excerpt(self) -> str:
        return excerpt(self.body)


def excerpt(body: bytes | bytearray) -> str:
    """What the server says in an error, or the beginning of whatever it sent, on one line."""
    text = body.decode("utf-8", errors="replace")
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        for key in ("error", "message"):
            if isinstance(said, dict) and key in said:
                said = text = said[key]
    line = " ".join(clean(str(text)).split())
    return f"{line[:_LONGEST_EXCERPT]}…" if len(line) > _LONGEST_EXCERPT else line


class Server(NamedTuple):
    https: bool
    host: str
    port: int | None
    """None where the scheme's own is meant."""
    prefix: str
    """Of all paths, without `/v1`."""


def server_of(base_url: str) -> Server:
    try:
        url = urlsplit(base_url)
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if host is None or url.scheme not in ("http", "https"):
        raise UserError(f"base_url is {base_url!r}: write it as http://ADDRESS:PORT, with an IPv6 address in brackets.")
    return Server(url.scheme == "https", host, port, url.path.rstrip("/").removesuffix("/v1"))


def check_key(api_key: str | None) -> None:
    # http.client names the header's value in its own error, so a key that it would refuse has to be refused before.
    if api_key and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise UserError("api_key holds a space, a line break or a character outside ASCII: a server cannot receive such a key.")


def tls_context(validate_certs: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """Requests to the server at `base_url`, whose path may or may not end in `/v1`."""

    def __init__(self, base_url: str, *, api_key: str | None = None, timeout: float = 60, validate_certs: bool = True) -> None:
        self._https, self._host, self._port, self._prefix = server_of(base_url)
        check_key(api_key)
        self._api_key = api_key
        self._timeout = timeout
        self._validate_certs = validate_certs

    def get(self, path: str, *, timeout: float | None = None) -> Reply:
        return self._ask("GET", path, None, self._api_key, timeout)

    def post(self, path: str, payload: object) -> Reply:
        return self._ask("POST", path, payload, self._api_key, None)

    def post_with_key(self, path: str, payload: object, api_key: str | None) -> Reply:
        """The same request as somebody else: with another key, or with none."""
        return self._ask("POST", path, payload, api_key, None)

    def events(self, path: str, payload: object) -> Iterator[str]:
        """The data of each server-sent event, as it arrives; a status other than 200 is a :class:`RequestError`."""
        with self._request("POST", path, payload, self._api_key, None) as (response, deadline):
            if response.status != http.client.OK:
                reply = Reply(response.status, _read(response, deadline))
                raise RequestError(f"POST {path} was answered {reply.status}: {reply.excerpt()}")
            while line := response.readline(MAX_BODY):
                if line.startswith(b"data:"):
                    yield line[len(b"data:") :].decode("utf-8", errors="replace").strip()
                deadline.check()

    def _ask(self, method: str, path: str, payload: object, api_key: str | None, timeout: float | None) -> Reply:
        with self._request(method, path, payload, api_key, timeout) as (response, deadline):
            return Reply(response.status, _read(response, deadline))

    @contextlib.contextmanager
    def _request(
        self, method: str, path: str, payload: object, api_key: str | None, timeout: float | None
    ) -> Iterator[tuple[http.client.HTTPResponse, _Deadline]]:
        deadline = _Deadline(self._timeout if timeout is None else timeout)
        headers = {"Connection": "close", "Accept-Encoding": "identity"}
        body = None
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        if payload is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(payload).encode()
        connection = self._connection(deadline.seconds)
        try:
            connection.request(method, self._prefix + path, body, headers)
            yield connection.getresponse(), deadline
        except socket.gaierror as error:
            raise RequestError(f"the name {self._host} cannot be resolved: {error.strerror}", permanent=True) from error
        except ssl.SSLError as error:
            raise RequestError(f"TLS failed: {error.reason or error}", permanent=True) from error
        except TimeoutError as error:
            raise RequestError(f"{method} {path} was not answered within {deadline.seconds:g} s") from error
        except ConnectionRefusedError as error:
            raise RequestError("the connection is refused: nothing listens there") from error
        except (ConnectionError, http.client.IncompleteRead, http.client.RemoteDisconnected) as error:
            raise RequestError(f"the server closed the connection while it answered {method} {path}") from error
        except http.client.HTTPException as error:
            raise RequestError(f"the answer to {method} {path} is not HTTP ({type(error).__name__})") from error
        except OSError as error:
            raise RequestError(f"{method} {path} failed: {error.strerror or error}") from error
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if not self._https:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=tls_context(self._validate_certs))


class _Deadline:
    """A socket's own timeout starts again with every byte; this one does not."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise TimeoutError


def _read(response: http.client.HTTPResponse, deadline: _Deadline) -> bytes:
    body = bytearray()
    while piece := response.read1(65536):
        body += piece
        deadline.check()
        if len(body) > MAX_BODY:
            raise RequestError(f"the answer is longer than {MAX_BODY} bytes")
    if response.length:  # announced, but never sent
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)
