# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local hub answers as the real one does, faults included."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.tests.hub.hublib.faults import Fault, parse
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Repository, load
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub

BIG = bytes(range(256)) * 400
FILES: dict[str, bytes | Path] = {"m.gguf": BIG, "config.json": b"{}\n"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(
        [Repository("a/b"), Repository("a/gated", gated=True), Repository("a/private", private=True)],
        tokens={"good": {"*"}, "other": set()},
    ) as hub:
        for repository in hub.by_name.values():
            repository.commit(FILES)
        yield hub


def ask(hub: Hub, method: str, path: str, body: bytes | None = None, *, downloads: bool = False, **headers: str) -> tuple[int, Any, bytes]:
    port = hub.download_port if downloads else hub.port
    connection = http.client.HTTPConnection(hub.download_address if downloads else hub.address, port, timeout=5)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def location(hub: Hub, path: str = "m.gguf") -> str:
    _status, headers, _body = ask(hub, "GET", f"/a/b/resolve/main/{path}")
    return str(headers["Location"]).partition(f":{hub.download_port}")[2]


def test_a_small_file_comes_from_the_hub(hub: Hub) -> None:
    repository = hub.by_name["a/b"]
    for method, content in (("GET", b"{}\n"), ("HEAD", b"")):
        status, headers, body = ask(hub, method, "/a/b/resolve/main/config.json")
        assert (status, headers["X-Repo-Commit"], headers["Content-Length"], body) == (200, repository.refs["main"], "3", content)
        # As `git hash-object` has it.
        assert headers["ETag"] == '"0967ef424bce6791893e9a57bb952f80fd536e93"'


def test_a_large_file_comes_from_elsewhere(hub: Hub) -> None:
    status, headers, _body = ask(hub, "HEAD", "/a/b/resolve/main/m.gguf")
    assert status == 302 and headers["X-Linked-Size"] == str(len(BIG)) and len(headers["X-Linked-Etag"]) == 66
    status, headers, body = ask(hub, "GET", location(hub), downloads=True)
    assert (status, body) == (200, BIG)
    assert ask(hub, "GET", location(hub).partition("?")[0], downloads=True)[0] == 403, "an address is good only as it is signed"


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=0-9", BIG[:10], f"bytes 0-9/{len(BIG)}"),
        ("bytes=102390-", BIG[-10:], f"bytes 102390-102399/{len(BIG)}"),
        ("bytes=-5", BIG[-5:], f"bytes 102395-102399/{len(BIG)}"),
        ("bytes=5-999999999", BIG[5:], f"bytes 5-102399/{len(BIG)}"),
    ],
)
@pytest.mark.parametrize("on_disk", [True, False])
def test_parts_of_a_file(hub: Hub, tmp_path: Path, asked: str, expected: bytes, content_range: str, on_disk: bool) -> None:
    if on_disk:
        (tmp_path / "m.gguf").write_bytes(BIG)
        hub.by_name["a/b"].commit({"m.gguf": tmp_path / "m.gguf"})
    status, headers, body = ask(hub, "GET", location(hub), downloads=True, Range=asked)
    assert (status, body, headers["Content-Range"]) == (206, expected, content_range)


def test_a_range_beyond_the_end(hub: Hub) -> None:
    assert ask(hub, "GET", location(hub), downloads=True, Range="bytes=102400-")[0] == 416


def test_questions_about_a_repository(hub: Hub) -> None:
    repository = hub.by_name["a/b"]
    first = repository.refs["main"]
    second = repository.commit({"config.json": b"[]"}, "refs/pr/1")
    for revision, commit in (("", first), (f"/revision/{first}", first), ("/revision/refs%2Fpr%2F1", second)):
        _status, _headers, body = ask(hub, "GET", f"/api/models/a/b{revision}?blobs=true")
        assert json.loads(body)["sha"] == commit
    siblings = {entry["rfilename"]: entry for entry in json.loads(ask(hub, "GET", "/api/models/a/b?blobs=true")[2])["siblings"]}
    assert siblings["m.gguf"]["lfs"]["size"] == siblings["m.gguf"]["size"] == len(BIG) and "lfs" not in siblings["config.json"]
    tree = json.loads(ask(hub, "GET", f"/api/models/a/b/tree/{first}?recursive=true&expand=false")[2])
    assert {entry["path"]: entry.get("lfs", {}).get("oid") for entry in tree} == {
        "config.json": None,
        "m.gguf": repository.commits[first]["m.gguf"].content.sha256,
    }
    for body in (b'{"paths": ["m.gguf", "none"]}', b"paths=m.gguf&paths=none&expand=false"):
        kind = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"
        found = json.loads(ask(hub, "POST", "/api/models/a/b/paths-info/main", body, Content_Type=kind)[2])
        assert [entry["path"] for entry in found] == ["m.gguf"]


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/a/b/resolve/main/none", None, 404, "EntryNotFound"),
        ("/a/b/resolve/none/config.json", None, 404, "RevisionNotFound"),
        ("/api/models/a/b/revision/none", None, 404, "RevisionNotFound"),
        ("/api/models/a/none", None, 401, "RepoNotFound"),
        ("/api/models/a/none", "good", 404, "RepoNotFound"),
        ("/api/models/a/private", None, 401, "RepoNotFound"),
        ("/api/models/a/private", "other", 404, "RepoNotFound"),
        ("/api/models/a/private", "good", 200, None),
        ("/api/models/a/gated", None, 200, None),
        ("/a/gated/resolve/main/config.json", None, 401, "GatedRepo"),
        ("/a/gated/resolve/main/config.json", "other", 403, "GatedRepo"),
        ("/a/gated/resolve/main/config.json", "good", 200, None),
        ("/api/models/a/b", "unknown", 401, None),
        ("/elsewhere", None, 404, None),
    ],
)
def test_who_gets_what(hub: Hub, path: str, token: str | None, status: int, code: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answered, told, _body = ask(hub, "GET", path, **headers)
    assert (answered, told["X-Error-Code"]) == (status, code)
    assert hub.requests[-1].authorization == headers.get("Authorization")


def test_faults_happen_as_often_as_was_said(hub: Hub) -> None:
    place = location(hub)
    hub.faults.add(Fault("status", status=429, retry_after=3, times=2))
    answers = [ask(hub, "GET", place, downloads=True) for _time in range(3)]
    assert [(status, headers["Retry-After"]) for status, headers, _body in answers] == [(429, "3"), (429, "3"), (200, None)]
    hub.faults.add(Fault("status", where="api", path="a/b", times=None))
    assert [ask(hub, "GET", "/api/models/a/b")[0] for _time in range(3)] == [503] * 3
    hub.faults.clear()
    assert ask(hub, "GET", "/api/models/a/b")[0] == 200


@pytest.mark.parametrize("on_disk", [True, False])
def test_faults_of_a_body(hub: Hub, tmp_path: Path, on_disk: bool) -> None:
    (tmp_path / "m.gguf").write_bytes(BIG)
    hub.by_name["a/b"].commit({"m.gguf": tmp_path / "m.gguf" if on_disk else BIG})
    place = location(hub)

    def get(fault: Fault, **headers: str) -> bytes:
        hub.faults.add(fault)
        return ask(hub, "GET", place, downloads=True, **headers)[2]

    corrupt = get(Fault("corrupt", after=1000))
    assert [index for index in range(len(BIG)) if corrupt[index] != BIG[index]] == [1000]
    with pytest.raises(http.client.IncompleteRead) as broken:
        get(Fault("truncate", after=5000))
    assert broken.value.partial == BIG[:5000] and hub.sent() == len(BIG) + 5000
    with pytest.raises(ConnectionError):
        get(Fault("reset", after=5000))
    began = time.monotonic()
    assert get(Fault("slow", rate=len(BIG) * 4)) == BIG and time.monotonic() - began > 0.2
    assert get(Fault("no_ranges"), Range="bytes=7-") == BIG
    assert hub.sent() == 3 * len(BIG) + 2 * 5000


def test_a_directory_becomes_repositories(tmp_path: Path) -> None:
    for path in ("a/b/main/deep/m.gguf", "a/b/v1/config.json", "c/d/main/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    found = {repository.repo_id: repository for repository in load(tmp_path)}
    assert {name: sorted(repository.refs) for name, repository in found.items()} == {"a/b": ["main", "v1"], "c/d": ["main"]}
    assert list(found["a/b"].commits[found["a/b"].refs["main"]]) == ["deep/m.gguf"]
    assert {repository.repo_id: repository.refs for repository in load(tmp_path)} == {name: one.refs for name, one in found.items()}


def test_faults_on_the_command_line() -> None:
    assert parse("truncate") == Fault("truncate")
    assert parse("status,where=api,path=a/*,status=429,retry_after=2,times=0") == Fault("status", "api", "a/*", None, 0, 429, 2)
    for wrong in ("explode", "status,where=moon"):
        with pytest.raises(ValueError, match="there is no fault"):
            parse(wrong)
