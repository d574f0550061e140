# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._hub_errors import Asked, explained
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubFailure

ASKED = Asked("acme/tiny", "main", "https://me:secret@hub.example/", False, Path("/srv/hub"), "/opt/client/bin/python", False)


@pytest.mark.parametrize(
    ("kind", "status", "path", "message", "with_token"),
    [
        (
            "gated",
            401,
            "m.gguf",
            "accept them at https://***@hub.example/acme/tiny and give a token (token)",
            "accept them at https://***@hub.example/acme/tiny with the account of this token, or give one of an account that has",
        ),
        (
            "no_repository",
            401,
            None,
            "repo_id: https://***@hub.example has no acme/tiny, or it is private; correct the name, or give a token that may read it",
            "or the token may not read it; correct the name, or give another token that may read it",
        ),
        (
            "no_revision",
            404,
            None,
            "revision: acme/tiny has no commit, branch or tag 'main'; https://***@hub.example/acme/tiny/tree/main shows",
            "",
        ),
        ("no_file", 404, "m.gguf", "files: the hub lists m.gguf of acme/tiny at main, but does not give it; run this again", ""),
        ("http", 401, None, "token: https://***@hub.example refuses it (401), so it has expired or is mistyped; make a new one at", ""),
        (
            "http",
            403,
            None,
            "token: https://***@hub.example does not give acme/tiny (403), it takes a token",
            "(403), the token's rights do not",
        ),
        (
            "http",
            429,
            None,
            "has been asked too often from here (429); run this again in 7 s, or give a token (token), which may ask",
            "again in 7 s",
        ),
        ("http", 503, "m.gguf", "https://***@hub.example has a problem of its own (503), also when asked again; run this later", ""),
        ("http", 418, None, "https://***@hub.example does not give acme/tiny (status 418: why); check repo_id, revision and endpoint", ""),
        (
            "network",
            None,
            None,
            "https://***@hub.example can't be reached (why); check the network, the proxy (HTTPS_PROXY) and the address",
            "",
        ),
        (
            "network",
            None,
            "m.gguf",
            "the connection broke again and again while m.gguf of acme/tiny came (why); run this again, it goes on",
            "",
        ),
        ("size", None, "m.gguf", "m.gguf of acme/tiny ended too early again and again; run this again", ""),
        (
            "corrupt",
            None,
            "m.gguf",
            "m.gguf of acme/tiny arrived damaged twice (why is not what the hub says it has), and nothing of it",
            "",
        ),
        (
            "space",
            None,
            "m.gguf",
            "cache_dir: no space was left on the file system of /srv/hub while m.gguf of acme/tiny came; free some",
            "",
        ),
        ("disk", None, "m.gguf", "cache_dir: m.gguf of acme/tiny can't be written below /srv/hub: why; repair or replace", ""),
        ("answer", None, None, "endpoint: https://***@hub.example does not answer as the hub does (why); correct the address", ""),
        ("client", None, None, "python: the hub's client at /opt/client/bin/python does not work (why); leave python out", ""),
        ("killed", None, None, "the hub's client was killed (why), perhaps for lack of memory; run this again, it goes on", ""),
        ("other", None, None, "the hub's client can't bring acme/tiny: why", ""),
    ],
)
def test_each_failure_is_one_sentence_with_a_remedy(kind: str, status: int | None, path: str | None, message: str, with_token: str) -> None:
    failure = HubFailure(kind, "why", status, 7 if status == 429 else None, False, path, {"rc": 1})
    error = explained(failure, ASKED)
    assert message in error.msg and error.details == {"rc": 1} and "secret" not in error.msg
    assert "\n" not in error.msg and not error.msg.endswith(".")
    assert with_token in explained(failure, replace(ASKED, with_token=True)).msg


def test_a_client_of_our_own_is_to_be_removed() -> None:
    error = explained(HubFailure("client", "why", None, None, False, None, {}), replace(ASKED, own_python=True))
    assert error.msg == "the hub's client at /opt/client/bin/python does not work (why); remove its directory, then it is installed anew"
