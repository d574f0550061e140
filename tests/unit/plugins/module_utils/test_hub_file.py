# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import email.message
import io
import itertools
import socket
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _hub_file
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import read_model
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import MissingFileError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import HubRepo
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_file_server import COMMIT, FileServer, say
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_packer import F32, INT32, STRING, UINT16, Packer

REPO = "ours/tiny-GGUF"
NAME = "q4/m.gguf"
PATH = f"/{REPO}/resolve/main/{NAME}"
TOKEN = "hf_secret"
PACK = Packer()

ARCHITECTURE = PACK.pair("general.architecture", STRING, "llama")
NORM = PACK.tensor("norm", (8,), F32, 0)
SMALL = PACK.file(ARCHITECTURE, tensors=(NORM,), data=32)
# 150,000 tokens and as many scores: 3 MB.
VOCABULARY = (
    PACK.array_pair("tokenizer.ggml.tokens", STRING, [f"token{number}" for number in range(150_000)]),
    PACK.array_pair("tokenizer.ggml.token_type", INT32, [1] * 150_000),
)
LARGE = PACK.file(ARCHITECTURE, *VOCABULARY, PACK.pair("last", STRING, "here"), tensors=(NORM,), data=32)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def repo(server: FileServer, *, revision: str = "main", token: str | None = None, timeout: float = 20) -> HubRepo:
    return HubRepo(REPO, revision, endpoint=server.url, token=token, timeout=timeout)


def failure(server: FileServer, *, token: str | None = None, timeout: float = 20) -> str:
    with pytest.raises(UserError) as error:
        read_model(repo(server, token=token, timeout=timeout), NAME)
    assert TOKEN not in error.value.msg
    return error.value.msg


def test_a_short_header_is_one_request() -> None:
    with FileServer({PATH: SMALL + bytes(10**6)}) as server:
        model = read_model(repo(server), NAME)
        assert [(asked.path, asked.range) for asked in server.asked] == [(PATH, "bytes=0-262143")]
    assert (model.header.architecture, model.files[0].path, model.files[0].size) == ("llama", NAME, len(SMALL) + 10**6)


def test_the_windows_grow_and_what_is_of_no_interest_is_left_out() -> None:
    with FileServer({PATH: LARGE + bytes(10**7)}) as server:
        model = read_model(repo(server), NAME)
        ranges = [tuple(map(int, (asked.range or "").removeprefix("bytes=").split("-"))) for asked in server.asked]
    assert model.header.metadata["last"] == "here"
    assert [last + 1 - first for first, last in ranges] == [262_144, 524_288, 1_048_576, 2_097_152]
    assert all(later[0] > earlier[1] for earlier, later in itertools.pairwise(ranges))


def test_a_server_without_ranges_sends_no_more_than_needed() -> None:
    content = LARGE + bytes(100 << 20)
    with FileServer({PATH: content}, ranges=False) as server:
        model = read_model(repo(server), NAME)
        assert model.header.metadata["last"] == "here" and model.files[0].size == len(content)
        time.sleep(0.2)  # for whatever is still on its way
        assert len(server.asked) == 1 and server.sent < 40 << 20


@pytest.mark.parametrize("ranges", [True, False])
def test_the_token_stays_with_the_hub(ranges: bool) -> None:
    with FileServer({"/cdn/m.gguf": LARGE}, ranges=ranges) as cdn:
        # On another port, which is another origin.
        with FileServer(redirections={PATH: f"{cdn.url}/cdn/m.gguf?signature=abc"}, headers={"X-Repo-Commit": COMMIT}) as hub:
            place = repo(hub, token=TOKEN)
            read_model(place, NAME)
        assert [asked.authorization for asked in hub.asked] == [f"Bearer {TOKEN}"]
        assert len(cdn.asked) == (4 if ranges else 1)
        assert {asked.authorization for asked in cdn.asked} == {None}
        assert {asked.path for asked in cdn.asked} == {"/cdn/m.gguf?signature=abc"}
        assert place.commit == COMMIT


def test_the_token_follows_within_the_hub_alone() -> None:
    with FileServer({"/cdn/m.gguf": SMALL}) as cdn, FileServer() as hub:
        new = PATH.replace("tiny", "renamed")
        hub.redirections = {PATH: new, new: f"{cdn.url}/cdn/m.gguf"}
        read_model(repo(hub, token=TOKEN), NAME)
        assert [(asked.path, asked.authorization) for asked in hub.asked] == [(PATH, f"Bearer {TOKEN}"), (new, f"Bearer {TOKEN}")]
        assert [asked.authorization for asked in cdn.asked] == [None]


def test_no_token_is_sent_without_one() -> None:
    with FileServer({PATH: SMALL}) as server:
        read_model(repo(server), NAME)
        assert server.asked[0].authorization is None


def test_the_revision_and_the_name_are_quoted() -> None:
    path = f"/{REPO}/resolve/refs%2Fpr%2F1/q4/m%20%23%C3%A4.gguf"
    with FileServer({path: SMALL}) as server:
        read_model(repo(server, revision="refs/pr/1"), "q4/m #ä.gguf")
        assert [asked.path for asked in server.asked] == [path]


def shard(number: int, count: int = 3) -> bytes:
    pairs = [PACK.pair("split.no", UINT16, number), PACK.pair("split.count", UINT16, count), PACK.pair("split.tensors.count", INT32, count)]
    return PACK.file(*pairs, tensors=(PACK.tensor(f"t{number}", (8,), F32, 0),), data=32)


def test_all_files_of_a_split_model_are_of_one_commit() -> None:
    base = f"/{REPO}/resolve/{{}}/m-0000{{}}-of-00003.gguf"
    files = {base.format("main", 1): shard(0), base.format(COMMIT, 2): shard(1), base.format(COMMIT, 3): shard(2)}
    with FileServer(files, headers={"X-Repo-Commit": COMMIT}) as server:
        model = read_model(repo(server), "m-00001-of-00003.gguf")
        assert [asked.path for asked in server.asked] == list(files)
    assert [tensor.name for tensor in model.header.tensors] == ["t0", "t1", "t2"]


def test_a_file_of_a_split_model_that_the_hub_does_not_have() -> None:
    files = {f"/{REPO}/resolve/main/m-0000{number}-of-00003.gguf": shard(number - 1) for number in (1, 3)}
    reason = r"is the first of 3 files, but there is no m-00002-of-00003\.gguf beside it"
    with FileServer(files) as server, pytest.raises(UserError, match=reason):
        read_model(repo(server), "m-00001-of-00003.gguf")


@pytest.mark.parametrize(
    ("status", "headers", "token", "expected"),
    [
        (401, {}, None, "repo_id: there is no ours/tiny-GGUF on HOST that can be read; correct it, or if it is private, give a token."),
        (401, {}, TOKEN, "token: HOST does not accept it; give one that is valid."),
        (
            401,
            {"X-Error-Code": "RepoNotFound"},
            TOKEN,
            "repo_id: there is no ours/tiny-GGUF on HOST that can be read; correct it, or the token",
        ),
        (
            401,
            {"X-Error-Code": "GatedRepo"},
            None,
            "token: ours/tiny-GGUF is gated; accept its conditions on http://HOST/ours/tiny-GGUF and give",
        ),
        (403, {"X-Error-Code": "GatedRepo"}, TOKEN, "token: ours/tiny-GGUF is gated; accept its conditions"),
        (403, {}, TOKEN, "token: HOST refuses q4/m.gguf of ours/tiny-GGUF (403); the token has no access."),
        (403, {}, None, "token: HOST refuses q4/m.gguf of ours/tiny-GGUF (403); give a token that has access."),
        (404, {"X-Error-Code": "RepoNotFound"}, None, "repo_id: there is no ours/tiny-GGUF on HOST"),
        (404, {"X-Error-Code": "RevisionNotFound"}, None, "revision: ours/tiny-GGUF has no revision main; give a commit"),
        (404, {"X-Error-Code": "EntryNotFound"}, None, "file: ours/tiny-GGUF has no file q4/m.gguf at revision main"),
        (404, {}, None, "file: HOST has no q4/m.gguf of ours/tiny-GGUF at revision main"),
        (418, {}, None, "endpoint: HOST answers 418 I'm a Teapot when asked for q4/m.gguf of ours/tiny-GGUF."),
        (429, {"Retry-After": "30"}, None, "endpoint: HOST gets too many requests (429); try again after 30 s."),
        (429, {"Retry-After": "Fri, 1 Jan 2100 00:00:00 GMT"}, None, "endpoint: HOST gets too many requests (429); try again later."),
        (429, {}, None, "endpoint: HOST gets too many requests (429); try again later."),
        (500, {}, None, "endpoint: HOST fails with 500 Internal Server Error; try again later."),
        (503, {}, None, "endpoint: HOST fails with 503 Service Unavailable; try again later."),
    ],
)
def test_a_refusal_says_what_to_do(status: int, headers: dict[str, str], token: str | None, expected: str) -> None:
    with FileServer(answer=lambda request: say(request, status, headers)) as server:
        message = failure(server, token=token)
        assert message.startswith(expected.replace("HOST", server.url.removeprefix("http://")))


def test_the_other_server_refuses() -> None:
    with FileServer(answer=lambda request: say(request, 403, {})) as cdn, FileServer(redirections={PATH: f"{cdn.url}/m?key=abc"}) as hub:
        message = failure(hub, token=TOKEN)
        assert cdn.url.removeprefix("http://") in message and "key=abc" not in message


def answered(status: int, headers: dict[str, str], body: bytes = b"", pause: float = 0) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        say(request, status, headers)
        for at in range(len(body)):
            request.wfile.write(body[at : at + 1] if pause else body)
            if not pause:
                break
            time.sleep(pause)

    return answer


HALF = SMALL[: len(SMALL) // 2]
WHOLE_RANGE = f"bytes 0-{len(SMALL) - 1}/{len(SMALL)}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answered(206, {"Content-Length": str(len(SMALL)), "Content-Range": WHOLE_RANGE}, HALF), "closed the connection in the middle"),
        (answered(206, {"Content-Length": str(len(HALF)), "Content-Range": WHOLE_RANGE}, HALF), "closed the connection in the middle"),
        (answered(206, {"Content-Range": WHOLE_RANGE}, HALF), "closed the connection in the middle"),
        (answered(200, {"Content-Length": str(len(SMALL))}, HALF), "closed the connection in the middle"),
        (answered(200, {"Content-Length": "10000000000"}, SMALL), "closed the connection in the middle"),
        (answered(206, {"Content-Range": "bytes 1-9/10"}, SMALL), "another range than it was asked for"),
        (answered(206, {"Content-Range": "bytes 0-9/100"}, SMALL), "another range than it was asked for"),
        (answered(206, {"Content-Range": "bytes 0-99/*"}, SMALL), "answers 206 without the range"),
        (answered(206, {}, SMALL), "answers 206 without the range"),
        (answered(204, {}), "answers 204 without the range"),
        (answered(200, {}, SMALL), "has neither ranges nor the size of q4/m.gguf"),
        (answered(200, {"Transfer-Encoding": "chunked"}, b"5\r\nGGUF"), "has neither ranges nor the size"),
        (lambda request: None, "closed the connection in the middle"),
        (lambda request: request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n") and None, "is not HTTP"),
        (answered(302, {"Location": "ftp://127.0.0.1/m.gguf?key=abc"}), "redirects to ftp://127.0.0.1/m.gguf, which is not secure"),
        (answered(302, {"Location": "file:///etc/shadow"}), "redirects without end, or to what is no address of the web"),
        (answered(302, {"Location": PATH}), "redirects without end"),
        (answered(200, {"Content-Length": "0"}), "can't be read as a GGUF file: it is empty"),
        (answered(416, {"Content-Range": "bytes */0"}), "can't be read as a GGUF file: it is empty"),
        (answered(200, {"Content-Length": "15"}, b"<!doctype html>"), "it starts with b'<!do' instead of b'GGUF'"),
        (answered(206, {"Content-Range": WHOLE_RANGE.replace(str(len(SMALL) - 1), "0")}), "another range than it was asked for"),
    ],
)
def test_an_answer_that_is_none(answer: Callable[[BaseHTTPRequestHandler], None], expected: str) -> None:
    with FileServer(answer=answer) as server:
        assert expected in failure(server)


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: time.sleep(5),
        # A byte now and then would keep a socket's own timeout from ever coming.
        answered(206, {"Content-Length": str(len(SMALL)), "Content-Range": WHOLE_RANGE}, SMALL, pause=0.05),
        answered(200, {"Content-Length": str(len(SMALL))}, SMALL, pause=0.05),
        lambda request: [request.wfile.write(b"H") and time.sleep(0.05) for _ in range(100)] and None,
    ],
)
def test_no_answer_is_waited_for_longer_than_the_timeout(answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    with FileServer(answer=answer) as server:
        began = time.monotonic()
        assert "did not answer within 0.3 s" in failure(server, timeout=0.3)
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("change", ["etag", "size"])
def test_a_file_that_is_replaced_meanwhile(change: str) -> None:
    with FileServer({PATH: LARGE}) as server:

        def answer(request: BaseHTTPRequestHandler) -> None:
            if change == "etag":
                server.headers = {"ETag": f'"{len(server.asked)}"'}
            else:
                server.files = {PATH: LARGE + bytes(len(server.asked))}
            server.serve(request)

        server.answer = answer
        assert "changes while it is read" in failure(server)


def test_nothing_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UserError, match=rf"endpoint: 127\.0\.0\.1:{port} can't be reached from this host: .*refused"):
        read_model(HubRepo(REPO, "main", endpoint=f"http://127.0.0.1:{port}"), NAME)


def test_what_is_encrypted_does_not_go_on_in_the_clear() -> None:
    handler = _hub_file._Redirections(lambda headers: None)
    request = urllib.request.Request("https://hub.example/m.gguf")
    with pytest.raises(UserError, match=r"redirects to http://hub\.example/m\.gguf, which is not secure"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", email.message.Message(), "http://hub.example/m.gguf?key=abc")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"endpoint": "hub.example"}, "endpoint is 'hub.example': write it as https://NAME"),
        ({"endpoint": "ftp://hub.example"}, "endpoint is 'ftp://hub.example'"),
        ({"endpoint": "https://hub.example:port"}, "endpoint is 'https://hub.example:port'"),
        ({"repo_id": "https://hub.example/ours/tiny"}, "repo_id is 'https://hub.example/ours/tiny': write it as OWNER/NAME"),
        ({"repo_id": "ours/tiny/m.gguf"}, "write it as OWNER/NAME"),
        ({"repo_id": ""}, "write it as OWNER/NAME"),
        ({"revision": " "}, "revision is empty"),
        ({"timeout": 0.0}, "timeout is 0: give seconds, more than 0."),
        ({"timeout": -1.0}, "timeout is -1"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"token": "two words"}, "token holds a space"),
        ({"token": "line\nbreak"}, "token holds a space"),
        ({"token": "schlüssel"}, "token holds a space"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as error:
        HubRepo(**{"repo_id": REPO, "revision": "main", **arguments})
    assert expected in error.value.msg
    assert arguments.get("token", "…") not in error.value.msg


def test_a_missing_file_is_told_apart() -> None:
    with FileServer() as server, pytest.raises(MissingFileError, match="has no file q4/m"):
        read_model(repo(server), NAME)
