# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_prompts import Lengths, Prompts, body_of, calibrated


def common_prefix(first: str, second: str) -> int:
    """Words that two prompts have in common from the beginning."""
    count = 0
    for one, other in zip(first.split(), second.split(), strict=True):
        if one != other:
            break
        count += 1
    return count


@pytest.mark.parametrize(("shared", "least", "most"), [(0, 0, 4), (50, 100, 104), (100, 200, 200)])
def test_prompts_differ_from_where_they_may(shared: int, least: int, most: int) -> None:
    prompts = Prompts(200, shared, "seed")
    texts = [prompts.next() for _ in range(50)]
    assert {len(text.split()) for text in texts} == {200}
    found = [common_prefix(one, other) for number, one in enumerate(texts) for other in texts[:number]]
    assert least <= min(found) and max(found) <= most
    assert len(set(texts)) == (1 if shared == 100 else 50)


def test_another_run_has_other_prompts() -> None:
    assert Prompts(50, 0, "a").next() == Prompts(50, 0, "a").next() != Prompts(50, 0, "b").next()
    assert Prompts(50, 100, "a").next() == Prompts(50, 100, "b").next()


@pytest.mark.parametrize(
    ("measured", "tokens", "words"),
    [({8: 20, 72: 84}, 256, 244), ({8: 30, 72: 158}, 256, 121), ({8: 20, 72: 84}, 5, 1), ({8: 16, 72: 16}, 100, 100)],
)
def test_two_prompts_tell_how_long_a_word_is(measured: dict[int, int], tokens: int, words: int) -> None:
    assert calibrated(measured).words_for(tokens) == words


def test_without_counts_a_word_is_a_token() -> None:
    assert Lengths().words_for(256) == 256


def test_bodies() -> None:
    chat = body_of("chat", "m", "hello", max_tokens=8, stream=True)
    assert chat["messages"] == [{"role": "user", "content": "hello"}] and chat["stream_options"] == {"include_usage": True}
    assert (chat["temperature"], chat["ignore_eos"], chat["max_tokens"], chat["stream"]) == (0, True, 8, True)
    plain = body_of("completions", "m", "hello", max_tokens=8, stream=False, extra={"ignore_eos": None, "temperature": 0.7, "seed": 1})
    assert plain == {"model": "m", "prompt": "hello", "max_tokens": 8, "temperature": 0.7, "stream": False, "seed": 1}
