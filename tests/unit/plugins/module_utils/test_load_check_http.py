# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_http import IncomingResponse, NotHttpError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("answer", "status", "body", "reusable"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
        (HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", 200, b"hello", False),
        (HEAD + b"Content-Length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.0 401 No\r\ncontent-length: 2\r\n\r\nno", 401, b"no", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nno", 200, b"no", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
        (CHUNKED + b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n", 200, b"hello!", True),
        (CHUNKED + b"3\r\na\r\n\r\n2\r\n\r\n\r\n0\r\nTrailer: x\r\n\r\n", 200, b"a\r\n\r\n", True),
        (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    ],
)
def test_an_answer_in_pieces_of_any_size(answer: bytes, step: int, status: int, body: bytes, reusable: bool) -> None:
    response, read = IncomingResponse(), b""
    for at in range(0, len(answer), step):
        assert not response.complete
        read += response.feed(answer[at : at + step])
    assert (response.complete, response.status, read, response.reusable) == (True, status, body, reusable)


def test_without_a_length_the_end_of_the_connection_is_the_end() -> None:
    response = IncomingResponse()
    assert response.feed(HEAD + b"\r\none ") == b"one " and response.feed(b"two") == b"two"
    assert not response.complete and response.ended() and not response.reusable


@pytest.mark.parametrize("answer", [b"", HEAD, HEAD + b"Content-Length: 5\r\n\r\nhell", CHUNKED + b"5\r\nhello\r\n"])
def test_a_connection_that_ends_too_early(answer: bytes) -> None:
    response = IncomingResponse()
    response.feed(answer)
    assert not response.ended()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        CHUNKED + b"five\r\n",
        CHUNKED + b"2\r\nhello\r\n",
        CHUNKED + b"x" * 2000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    ],
)
def test_what_is_not_http(answer: bytes) -> None:
    with pytest.raises(NotHttpError):
        IncomingResponse().feed(answer)


def test_what_follows_the_answer_is_not_read() -> None:
    response = IncomingResponse()
    assert response.feed(HEAD + b"Content-Length: 2\r\n\r\nokHTTP/1.1 500") == b"ok" and response.complete
    assert response.feed(b"more") == b""
