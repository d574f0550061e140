# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that this stand-in acts on. All that vLLM's parser accepts are accepted, and no other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FACTORS = {"k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20, "g": 10**9, "G": 2**30}


class Given(Mapping[str, list[str]]):
    """The values that follow each long option; an option that is left out has none."""

    def __init__(self, words: Sequence[str]) -> None:
        self._values: dict[str, list[str]] = {}
        self.model = ""
        rest = list(words)
        if rest and not rest[0].startswith("-"):
            self.model = rest.pop(0)
        name = ""
        for word in rest:
            if word.startswith("--"):
                name, equals, value = word.partition("=")
                name = name.replace("_", "-").partition(".")[0]
                self._values[name] = [value] if equals else []
            elif name:
                self._values[name].append(word)
        self.model = self.model or next(iter(self.get("--model", [])), "")

    def __getitem__(self, name: str) -> list[str]:
        return self._values[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, name: str, default: str = "") -> str:
        return next(iter(self.get(name, [])), default)

    def number(self, name: str, default: int) -> int:
        return human_readable(self.text(name)) if name in self else default

    def on(self, name: str) -> bool:
        return name in self


def human_readable(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", text)
    if match is None:
        return -1  # auto
    return int(float(match[1]) * _FACTORS.get(match[2], 1))


@dataclass(frozen=True)
class Options:
    model: str
    names: list[str]
    host: str
    port: int
    max_model_len: int | None
    max_num_seqs: int
    utilisation: float
    cache_dtype: str
    offload_gib: float
    log_stats: bool
    access_log: bool
    shutdown_seconds: int
    api_keys: list[str]
    revision: str
    quantization: str
    tokenizer_mode: str

    @classmethod
    def read(cls, words: Sequence[str]) -> Options:
        given = Given(words)
        length = given.number("--max-model-len", 0)
        return cls(
            model=given.model or "Qwen/Qwen3-0.6B",
            names=given.get("--served-model-name", []) or [given.model],
            host=given.text("--host"),
            port=given.number("--port", 8000),
            max_model_len=length if length > 0 else None,
            max_num_seqs=given.number("--max-num-seqs", 256),
            utilisation=float(given.text("--gpu-memory-utilization", "0.92")),
            cache_dtype=given.text("--kv-cache-dtype", "auto"),
            offload_gib=float(given.text("--kv-offloading-size", "0")),
            log_stats=not given.on("--disable-log-stats"),
            access_log=not given.on("--disable-uvicorn-access-log"),
            shutdown_seconds=given.number("--shutdown-timeout", 0),
            api_keys=given.get("--api-key", []),
            revision=given.text("--revision", "main"),
            quantization=given.text("--quantization"),
            tokenizer_mode=given.text("--tokenizer-mode", "auto"),
        )
