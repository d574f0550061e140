# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load check asks: texts of a wanted length that no server has seen before, or has in part, on purpose."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHAT, COMPLETIONS = "chat", "completions"
PATHS = {CHAT: "/v1/chat/completions", COMPLETIONS: "/v1/completions"}

# Two short prompts tell what a word costs and what the chat template adds.
CALIBRATION_WORDS = (8, 72)

# Common words, each one token for the usual tokenizers.
_WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state", "family", "student",
    "group", "country", "problem", "hand", "part", "place", "case", "week", "company", "system", "program", "question", "work",
    "government", "number", "night", "point", "home", "water", "room", "mother", "area", "money", "story", "fact", "month", "lot",
    "right", "study", "book", "eye", "job", "word", "business", "issue", "side", "kind", "head", "house", "service", "friend",
    "father", "power", "hour", "game", "line", "end", "member", "law", "car", "city", "community", "name", "president", "team",
    "minute", "idea", "body", "information", "back", "parent", "face", "others", "level", "office", "door", "health", "person", "art",
    "war", "history", "party", "result", "change", "morning", "reason", "research", "girl", "guy", "moment", "air", "teacher"
)  # fmt: skip


@dataclass(frozen=True)
class Lengths:
    """Tokens of a prompt as a straight line over its words."""

    tokens_per_word: float = 1.0
    tokens_around: float = 0.0

    def words_for(self, tokens: int) -> int:
        return max(1, round((tokens - self.tokens_around) / self.tokens_per_word))


def calibrated(measured: Mapping[int, int]) -> Lengths:
    """From two prompts: their words, and the tokens that the server counted."""
    (few, tokens_of_few), (many, tokens_of_many) = sorted(measured.items())
    per_word = (tokens_of_many - tokens_of_few) / (many - few)
    if per_word <= 0:  # a server that counts something else
        return Lengths()
    return Lengths(per_word, tokens_of_few - few * per_word)


class Prompts:
    """Endless prompts of so many words. The first `shared_percent` of them are the same in all, the rest is in none twice.

    A prefix cache that has seen another prompt knows no more than the shared part of this one: what differs comes right after it.
    """

    def __init__(self, words: int, shared_percent: int, seed: str) -> None:
        # No secret is made here, but a text; the same seed has to give the same.
        self._random = random.Random(seed)
        shared = words * shared_percent // 100
        self._shared = "".join(f"{word} " for word in random.Random("shared").choices(_WORDS, k=shared))
        self._own = words - shared

    def next(self) -> str:
        return self._shared + " ".join(self._random.choices(_WORDS, k=self._own))


def body_of(
    endpoint: str, model: str, prompt: str, *, max_tokens: int, stream: bool, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The request. Keys of `extra` that are None are left out of it."""
    said = {"messages": [{"role": "user", "content": prompt}]} if endpoint == CHAT else {"prompt": prompt}
    body: dict[str, Any] = {
        "model": model,
        **said,
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,  # each answer has the same length, whatever the model has to say
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
        **(extra or {}),
    }
    return {key: value for key, value in body.items() if value is not None}
