# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply, RequestError
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import FakeLlamaServer


@contextmanager
def answering(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """A server that answers one request with these bytes, whatever they are, and closes the connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            except OSError:
                pass  # the client has lost its patience

    threading.Thread(target=serve, daemon=True).start()
    with server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_end_in_v1(address: str, suffix: str) -> None:
    if ":" in address and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("IPv6 is switched off")
    with FakeLlamaServer(address=address) as server:
        reply = Client(server.url + suffix).get("/v1/models")
    assert (reply.status, reply.json()["data"][0]["id"]) == (200, "tiny")
    assert server.asked == [("GET", "/v1/models")]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://host:port", "http://host:99999", "http://[::1", ""]
)
def test_a_wrong_base_url_is_named(url: str) -> None:
    with pytest.raises(UserError, match="base_url is") as error:
        Client(url)
    assert repr(url) in error.value.msg


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "tab\t"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(UserError) as error:
        Client("http://127.0.0.1", api_key=key)
    assert key not in error.value.msg


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RequestError, match="nothing listens there") as error:
        Client(f"http://127.0.0.1:{port}").get("/health")
    assert not error.value.permanent


def test_a_name_that_does_not_resolve_is_permanent() -> None:
    with pytest.raises(RequestError, match=r"host\.invalid cannot be resolved") as error:
        Client("http://host.invalid").get("/health")
    assert error.value.permanent


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf", "closed the connection"),
    ],
)
def test_an_answer_that_is_none(answer: bytes, reason: str) -> None:
    with answering(answer) as url, pytest.raises(RequestError, match=reason):
        Client(url).get("/props")


@pytest.mark.parametrize("drip", [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", *[b"x"] * 99)])
def test_no_answer_is_waited_for_longer_than_the_timeout(drip: tuple[bytes, ...]) -> None:
    started = time.monotonic()
    with answering(*drip, b"", pause=0.05 if drip else 5) as url, pytest.raises(RequestError, match=r"within 0\.2 s"):
        Client(url, timeout=0.2).get("/props")
    assert time.monotonic() - started < 4


def test_an_endless_stream_ends_with_the_timeout() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with answering(head, *[b"data: {}\n\n"] * 99, pause=0.05) as url, pytest.raises(RequestError, match=r"within 0\.3 s"):
        list(Client(url, timeout=0.3).events("/v1/chat/completions", {}))


def test_events_arrive_one_by_one() -> None:
    with FakeLlamaServer() as server:
        events = list(Client(server.url).events("/v1/chat/completions", {"messages": [], "stream": True}))
    assert (events[0][:1], events[-1], len(events)) == ("{", "[DONE]", 12)


def test_a_refused_stream_says_why() -> None:
    with FakeLlamaServer(api_key="right") as server, pytest.raises(RequestError, match="answered 401: Invalid API Key"):
        list(Client(server.url, api_key="wrong").events("/v1/chat/completions", {}))


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b'{"error":{"message":"no"}}', "no"),
        (b'{"error":"no"}', "no"),
        (b'{"message":"no"}', "no"),
        (b'{"error":{"code":500}}', "{'code': 500}"),
        (b'["error"]', '["error"]'),
        (b"<p>\n no\x1b[2J \xff", "<p> no\ufffd[2J \ufffd"),
        (b"x" * 301, "x" * 300 + "…"),
    ],
)
def test_excerpts(body: bytes, excerpt: str) -> None:
    assert Reply(500, body).excerpt() == excerpt


def test_pieces_of_characters_are_data_all_the_same() -> None:
    assert Reply(200, b'{"content":"\xe2\x82"}').json() == {"content": "\ufffd"}
    with pytest.raises(RequestError, match="not JSON: <html>"):
        Reply(200, b"<html>").json()
