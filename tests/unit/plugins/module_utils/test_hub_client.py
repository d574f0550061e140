# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program for the client's interpreter, with a client that is a stand-in; the real ones are in tests/integration."""

from __future__ import annotations

import errno
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _hub_client
from ansible_collections.baremetal.llm.plugins.module_utils._hub_client import Corrupt, described, main, patiently
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_hub import git_sha1, sha256

CONTENT = bytes(range(256)) * 20


class Response(types.SimpleNamespace):
    pass


def error(
    name: str, *bases: type[Exception], module: str = "huggingface_hub.errors", response: Any = None, text: str = "text"
) -> Exception:
    """An exception as a client raises it."""
    kind = type(name, bases or (Exception,), {"__module__": module})
    made = kind(text)
    if response:
        made.response = response  # type: ignore[attr-defined]
    return made


def caused(outer: Exception, *causes: Exception) -> Exception:
    inner = outer
    for cause in causes:
        inner.__cause__ = cause
        inner = cause
    return outer


def answer(status: int, **headers: str) -> Response:
    return Response(status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


GATED = type("GatedRepoError", (type("RepositoryNotFoundError", (Exception,), {}),), {})


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (GATED("x"), ("gated", False)),
        (error("RepositoryNotFoundError", response=answer(404)), ("no_repository", False)),
        (error("RevisionNotFoundError"), ("no_revision", False)),
        (type("RemoteEntryNotFoundError", (type("EntryNotFoundError", (Exception,), {}),), {})("x"), ("no_file", False)),
        (error("HfHubHTTPError", response=answer(503)), ("http", True)),
        (error("HfHubHTTPError", response=answer(429)), ("http", True)),
        (error("HfHubHTTPError", response=answer(403)), ("http", False)),
        (error("ConnectError", module="httpx2"), ("network", True)),
        (error("ChunkedEncodingError", module="requests.exceptions"), ("network", True)),
        (caused(error("LocalEntryNotFoundError"), error("ReadTimeout", module="httpx")), ("network", True)),
        (ConnectionResetError(104, "reset"), ("network", True)),
        (TimeoutError(), ("network", True)),
        (OSError(errno.ENOSPC, "full"), ("space", False)),
        (OSError(errno.EIO, "broken"), ("disk", False)),
        (OSError("Consistency check failed: file should be of size 3"), ("size", True)),
        (Corrupt("sha256 x"), ("corrupt", False)),
        (ImportError("no http_get"), ("client", False)),
        (ValueError("odd"), ("other", False)),
    ],
)
def test_kinds_of_failure(raised: Exception, expected: tuple[str, bool]) -> None:
    told = described(raised)
    # An entry that is missing in the cache because the network is away is the network's.
    assert (told["kind"], told["transient"]) == expected or type(raised).__name__ == "LocalEntryNotFoundError"


def test_the_reason_is_the_systems_own() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    wrapped = caused(error("ConnectionError", module="requests", text="HTTPConnectionPool(host=…"), error("NewConnectionError"), refused)
    assert described(wrapped)["detail"] == "Connection refused"
    assert (
        described(error("ReadTimeout", module="httpx", text="The read operation timed out\nmore"))["detail"]
        == "The read operation timed out"
    )
    assert described(ValueError())["detail"] == "ValueError"


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (answer(429, Retry_After="12"), 12),
        (answer(429, RateLimit='"api";r=0;t=31'), 31),
        (answer(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), None),
        (answer(503, RateLimit='"api";r=10;t=299'), None),
        (answer(503), None),
    ],
)
def test_how_long_to_wait(response: Response, seconds: int | None) -> None:
    assert described(error("HfHubHTTPError", response=response))["retry_after"] == seconds


# --- trying again -------------------------------------------------------------------------------------------------------


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(_hub_client, "time", types.SimpleNamespace(sleep=slept.append, monotonic=lambda: 0.0))
    return slept


def failing(*raised: Exception) -> Callable[[], str]:
    left = list(raised)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


BUSY, AWAY, WRONG = error("HfHubHTTPError", response=answer(429, Retry_After="5")), TimeoutError(), ValueError()


def test_what_may_pass_is_tried_again(naps: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert patiently(failing(AWAY, BUSY), [1.0, 2.0]) == "done" and naps == [1.0, 5]
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["event"], event["seconds"], event["status"]) for event in events] == [("waiting", 1.0, None), ("waiting", 5, 429)]


@pytest.mark.parametrize("raised", [[WRONG], [AWAY, AWAY, AWAY], [error("HfHubHTTPError", response=answer(429, Retry_After="61"))]])
def test_what_does_not_pass_is_given_up(naps: list[float], raised: list[Exception]) -> None:
    with pytest.raises(type(raised[-1])):
        patiently(failing(*raised), [1.0, 2.0])
    assert len(naps) == len(raised) - 1


def test_who_gets_on_may_fail_for_ever(naps: list[float]) -> None:
    assert patiently(failing(*[AWAY] * 50), [1.0], lambda: True) == "done" and len(naps) == 50


# --- fetching -----------------------------------------------------------------------------------------------------------


class FakeClient:
    """huggingface_hub, as far as it is used; ``send`` is how its http_get brings a file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, int]] = []
        self.send: Callable[[Any, bytes, int], None] = self.all
        constants = types.SimpleNamespace(DOWNLOAD_CHUNK_SIZE=None)
        top = types.SimpleNamespace(hf_hub_url=lambda repo_id, path, **_more: f"{repo_id}/{path}", constants=constants)
        modules = {
            "huggingface_hub": top,
            "huggingface_hub.file_download": types.SimpleNamespace(http_get=self.http_get),
            "huggingface_hub.utils": types.SimpleNamespace(build_hf_headers=lambda token: {"authorization": token}),
        }
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def http_get(self, url: str, temp_file: Any, *, resume_size: int, headers: dict[str, Any], **_more: Any) -> None:
        assert headers["Accept-Encoding"] == "identity"
        self.asked.append((url, resume_size))
        if resume_size < len(CONTENT):
            self.send(temp_file, CONTENT, resume_size)

    @staticmethod
    def all(file: Any, content: bytes, position: int) -> None:
        for begin in range(position, len(content), 1000):
            file.write(content[begin : begin + 1000])
        assert file.tell() == len(content)

    @staticmethod
    def from_the_start(file: Any, content: bytes, _position: int) -> None:
        file.seek(0)
        file.truncate()
        FakeClient.all(file, content, 0)

    def breaking(self, file: Any, content: bytes, position: int) -> None:
        file.write(content[position : position + 2000])
        if position + 2000 < len(content):
            raise error("RemoteProtocolError", module="httpx2")

    def corrupt_once(self, file: Any, content: bytes, _position: int) -> None:
        self.all(file, content[::-1] if len(self.asked) == 1 else content, 0)


@pytest.fixture
def fake_client(monkeypatch: pytest.MonkeyPatch, naps: list[float]) -> FakeClient:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return FakeClient(monkeypatch)


@pytest.mark.parametrize(
    ("there", "way", "asked", "received"),
    [
        (b"", "all", [0], len(CONTENT)),
        (CONTENT[:999], "all", [999], len(CONTENT) - 999),
        (CONTENT[:999], "from_the_start", [999], len(CONTENT)),
        (CONTENT, "all", [len(CONTENT)], 0),
        (CONTENT + b"x", "all", [0], len(CONTENT)),
        (b"damaged" + CONTENT[7:999], "all", [999, 0], 2 * len(CONTENT) - 999),
        (b"", "breaking", [0, 2000, 4000], len(CONTENT)),
        (b"", "corrupt_once", [0, 0], 2 * len(CONTENT)),
    ],
)
@pytest.mark.parametrize("lfs", [True, False])
def test_a_file_comes(
    fake_client: FakeClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    there: bytes,
    way: str,
    asked: list[int],
    received: int,
    lfs: bool,
) -> None:
    fake_client.send = getattr(fake_client, way)
    partial = tmp_path / "partial"
    partial.write_bytes(there)
    blob = sha256(CONTENT) if lfs else git_sha1(CONTENT)
    file = {"path": "m.gguf", "size": len(CONTENT), "blob": blob, "lfs": lfs, "partial": str(partial)}
    request = {"do": "fetch", "repo_id": "a/b", "commit": "c", "endpoint": "http://hub", "files": [file], "pauses": [1.0]}
    (tmp_path / "request").write_text(json.dumps(request))
    assert main(str(tmp_path / "request")) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1] == {"event": "file", "path": "m.gguf", "sha256": sha256(CONTENT), "received": received}
    assert partial.read_bytes() == CONTENT and [position for _url, position in fake_client.asked] == asked
    assert [event["event"] for event in events if event["event"] != "progress"].count("corrupt") == (len(asked) == 2)


def test_a_file_that_stays_damaged(fake_client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial = tmp_path / "partial"
    file = {"path": "m.gguf", "size": len(CONTENT), "blob": "0" * 64, "lfs": True, "partial": str(partial)}
    request = {"do": "fetch", "repo_id": "a/b", "commit": "c", "endpoint": "http://hub", "files": [file], "pauses": []}
    (tmp_path / "request").write_text(json.dumps(request))
    assert main(str(tmp_path / "request")) == 1
    failed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (failed["event"], failed["kind"], failed["path"]) == ("failed", "corrupt", "m.gguf")
    assert failed["detail"] == f"sha256 {sha256(CONTENT)}" and partial.read_bytes() == b""
