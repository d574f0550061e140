# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub of the tests, asked without its client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import HubRepo, MissingRevisionError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_listing import look, sha256_of
from ansible_collections.baremetal.llm.tests.hub.hublib.faults import Fault
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_file_server import FileServer, say
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_hub import hub_file, sha256

FILES = {"q4/tiny.gguf": b"weights", "config.json": b"{}" * 3_000_000, "empty.txt": b""}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def hub() -> Iterator[Hub]:
    repositories = [Repository("acme/tiny"), Repository("acme/gated", gated=True), Repository("acme/private", private=True)]
    with Hub(repositories, tokens={"hf_reader": {"acme/gated", "acme/private"}, "hf_other": set()}) as hub:
        for repository in repositories:
            repository.commit(FILES)
            repository.commit(FILES, "feature/x")
        yield hub


def repo(hub: Hub, repo_id: str = "acme/tiny", revision: str = "main", token: str | None = None) -> HubRepo:
    return HubRepo(repo_id, revision, endpoint=hub.endpoint, token=token, timeout=20)


def test_what_is_there(hub: Hub) -> None:
    listing = look(repo(hub))
    assert listing.commit == hub.by_name["acme/tiny"].refs["main"]
    assert listing.files == tuple(sorted(hub_file(path, content) for path, content in FILES.items()))
    assert len(hub.requests) == 1 and hub.sent() == 0
    assert look(repo(hub, revision="feature/x")).commit == hub.by_name["acme/tiny"].refs["feature/x"]


@pytest.mark.parametrize("path", ["config.json", "empty.txt"])
def test_the_checksum_that_the_hub_does_not_tell(hub: Hub, path: str) -> None:
    listing = look(repo(hub))
    assert sha256_of(repo(hub, revision=listing.commit), listing.by_path()[path]) == sha256(FILES[path])


def test_a_small_file_that_arrives_damaged(hub: Hub) -> None:
    hub.faults.add(Fault("corrupt", path="config.json", after=5_000_000, times=None))
    with pytest.raises(UserError, match=r"config\.json of acme/tiny, revision main, arrived as something else than the hub says"):
        sha256_of(repo(hub), look(repo(hub)).by_path()["config.json"])


@pytest.mark.parametrize("repo_id", ["acme/gated", "acme/private"])
def test_a_token_that_opens(hub: Hub, repo_id: str) -> None:
    assert look(repo(hub, repo_id, token="hf_reader")).commit == hub.by_name[repo_id].refs["main"]


@pytest.mark.parametrize(
    ("repo_id", "token", "said"),
    [
        ("acme/gated", None, "token: acme/gated is gated; accept its conditions on HUB/acme/gated and give a token of that account."),
        ("acme/gated", "hf_other", "token: acme/gated is gated"),
        ("acme/private", None, "repo_id: there is no acme/private on"),
        ("acme/private", "hf_other", "that can be read; correct it, or the token may have no access to it"),
        ("acme/none", None, "repo_id: there is no acme/none on"),
        ("acme/tiny", "hf_expired", "does not accept it; give one that is valid"),
    ],
)
def test_what_can_not_be_read(hub: Hub, repo_id: str, token: str | None, said: str) -> None:
    with pytest.raises(UserError) as refused:
        look(repo(hub, repo_id, token=token))
    assert said.replace("HUB", hub.endpoint) in refused.value.msg and "hf_" not in refused.value.msg


def test_no_such_revision(hub: Hub) -> None:
    with pytest.raises(MissingRevisionError, match="acme/tiny has no revision v2"):
        look(repo(hub, revision="v2"))


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html>",
        b"[]",
        b"{}",
        b'{"sha": "main", "siblings": []}',
        b'{"sha": "' + b"0" * 40 + b'", "siblings": [{"rfilename": "../x"}]}',
    ],
)
def test_an_answer_that_is_no_hubs(body: bytes) -> None:
    reason = r"endpoint: 127\.0\.0\.1:\d+ does not answer as the hub does"
    with FileServer(answer=lambda request: say(request, 200, {}, body)) as server, pytest.raises(UserError, match=reason):
        look(HubRepo("acme/tiny", "main", endpoint=server.url))


@pytest.mark.parametrize(("status", "said"), [(404, "has no list of files"), (503, "fails with 503 Service Unavailable; try again later")])
def test_a_refusal(status: int, said: str) -> None:
    with FileServer(answer=lambda request: say(request, status, {})) as server, pytest.raises(UserError, match=said):
        look(HubRepo("acme/tiny", "main", endpoint=server.url))
