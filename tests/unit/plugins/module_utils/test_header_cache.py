# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _header_cache
from ansible_collections.baremetal.llm.plugins.module_utils._header_cache import HeaderCache, default_directory

NAME = ("https://hub", "acme/tiny", "0" * 40, "tiny.gguf")


def test_what_is_kept_comes_back_and_nothing_else(tmp_path: Path) -> None:
    cache = HeaderCache(tmp_path / "headers")
    assert cache.get(*NAME) is None
    cache.put({"architecture": "llama"}, *NAME)
    assert cache.get(*NAME) == {"architecture": "llama"}
    assert cache.get("https://other", *NAME[1:]) is None
    assert (tmp_path / "headers").stat().st_mode & 0o777 == 0o700


def test_a_damaged_one_is_none(tmp_path: Path) -> None:
    cache = HeaderCache(tmp_path)
    cache.put({"architecture": "llama"}, *NAME)
    (kept,) = tmp_path.iterdir()
    for damage in (kept.read_bytes()[:20], b"", b"[]", json.dumps({"name": ["another"], "header": {}}).encode()):
        kept.write_bytes(damage)
        assert cache.get(*NAME) is None


def test_those_that_nobody_asked_for_go_first(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(_header_cache, "_MOST", 3)
    cache = HeaderCache(tmp_path)
    for number in range(3):
        cache.put({"number": number}, str(number))
        os.utime(cache._place((str(number),)), (number, number))
    assert cache.get("0")  # which makes it the youngest
    cache.put({"number": 3}, "3")
    assert [number for number in range(4) if cache.get(str(number))] == [0, 2, 3]


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = HeaderCache(tmp_path / "file" / "headers")
    cache.put({}, *NAME)
    assert cache.get(*NAME) is None


def test_its_place() -> None:
    assert default_directory({"HOME": "/home/me"}) == Path("/home/me/.cache/baremetal.llm/headers")
    assert default_directory({"HOME": "/home/me", "XDG_CACHE_HOME": "/c"}) == Path("/c/baremetal.llm/headers")
