# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import (
    HubFile,
    check_endpoint,
    check_path,
    check_repo_id,
    check_revision,
    check_token,
    parse_listing,
    parse_lock,
)

COMMIT = "0123456789" * 4
SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            check_repo_id,
            ["Qwen/Qwen2-VL-7B-Instruct-GGUF", "a/b", "ggml-org/gpt_oss.20b"],
            ["gpt2", "a/b/c", "/b", "a/", "a/..", "../b", "a/b--c", "a b/c", "a/b\n", "", "https://hub/a/b", ".a/b", "a/b."],
        ),
        (
            check_revision,
            ["main", "v1.0", "refs/pr/1", COMMIT, "feature/x-y"],
            ["", "-x", "a b", "../x", "a//b", "a/", "x\n", "x^", "a:b", "@{u}"],
        ),
        (
            lambda path: check_path("files", path),
            ["a.gguf", "deep/er/a.gguf", "*.gguf", "é.bin"],
            ["/a", "../a", "a/../b", "", "a//b", "a\\b", "a\n", "."],
        ),
        (
            check_endpoint,
            ["https://huggingface.co", "http://10.0.0.1:8080/mirror"],
            ["huggingface.co", "ftp://x", "http://", "http://x:y", "http://x?y=1"],
        ),
        (check_token, ["hf_abc"], ["hf abc", "hf_abc\n", "hf_ä"]),
    ],
)
def test_names(check: Any, good: list[str], bad: list[str]) -> None:
    for name in good:
        check(name)
    for name in bad:
        with pytest.raises(UserError) as refused:
            check(name)
        assert check is not check_token or name not in refused.value.msg


LOCKED = {"path": "a.gguf", "size": 3, "sha256": SHA256}


def test_a_lock_comes_out_as_it_went_in() -> None:
    raw = {"commit": COMMIT, "files": [{**LOCKED, "path": "b"}, LOCKED]}
    assert parse_lock(raw).as_dict() == {"commit": COMMIT, "files": [LOCKED, {**LOCKED, "path": "b"}]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"commit": "main", "files": [LOCKED]}, r"expected\.commit: 'main' is not a commit but the name of a branch or tag"),
        ({"commit": COMMIT[:-1], "files": [LOCKED]}, r"expected\.commit: '\d+' is not a commit"),
        ({"commit": COMMIT, "files": []}, r"expected\.files: there are none"),
        ({"commit": COMMIT, "files": [LOCKED, {**LOCKED, "path": "../a"}]}, r"expected\.files\[1\]\.path: '\.\./a' is not a path inside"),
        (
            {"commit": COMMIT, "files": [{**LOCKED, "size": -1}]},
            r"expected\.files\[0\]\.size: -1 is not a number of bytes; give the size of a\.gguf",
        ),
        ({"commit": COMMIT, "files": [{**LOCKED, "sha256": "x"}]}, r"expected\.files\[0\]\.sha256: 'x' is not a sha256"),
    ],
)
def test_a_lock_that_settles_nothing(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_lock(raw)


ENTRY = {"path": "a.gguf", "size": 3, "blob": SHA256, "lfs": True}


def test_a_listing() -> None:
    small = {"path": "a.json", "size": 0, "blob": COMMIT, "lfs": False}
    listing = parse_listing(COMMIT, [small, ENTRY])
    assert listing.files == (HubFile("a.gguf", 3, SHA256, True), HubFile("a.json", 0, COMMIT, False))
    assert [file.sha256 for file in listing.files] == [SHA256, None]


@pytest.mark.parametrize(
    ("commit", "entry"),
    [
        ("main", ENTRY),
        (None, ENTRY),
        (COMMIT, {**ENTRY, "size": None}),
        (COMMIT, {**ENTRY, "blob": COMMIT}),
        (COMMIT, {**ENTRY, "lfs": False}),
        (COMMIT, {**ENTRY, "path": "/etc/passwd"}),
        (COMMIT, {**ENTRY, "path": "a/../../b"}),
    ],
)
def test_a_hub_that_lists_nonsense_is_not_believed(commit: str | None, entry: dict[str, Any]) -> None:
    with pytest.raises((ValueError, UserError)):
        parse_listing(commit, [entry])
