# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that this stand-in acts on. Which it accepts decides the table that was extracted from vLLM's released packages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .parser import parse

VERSION = os.environ.get("SHIM_VLLM_VERSION", "0.33.0")


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
    given: dict[str, Any]

    @classmethod
    def read(cls, words: Sequence[str]) -> tuple[Options, str | None]:
        """Also what vLLM's parser says instead of taking the words."""
        given, refusal = parse(words, VERSION)
        given = {name: value for name, value in given.items() if value is not None}
        model = given.get("model_tag") or "Qwen/Qwen3-0.6B"
        length = given.get("max_model_len", -1)
        options = cls(
            model=model,
            names=given.get("served_model_name") or [model],
            host=given.get("host", ""),
            port=given.get("port", 8000),
            max_model_len=length if length > 0 else None,
            max_num_seqs=given.get("max_num_seqs", 256),
            utilisation=given.get("gpu_memory_utilization", 0.92),
            cache_dtype=given.get("kv_cache_dtype", "auto"),
            offload_gib=given.get("kv_offloading_size", 0),
            log_stats=not given.get("disable_log_stats", False),
            access_log=not given.get("disable_uvicorn_access_log", False),
            shutdown_seconds=given.get("shutdown_timeout", 0),
            api_keys=given.get("api_key", []),
            revision=given.get("revision", "main"),
            quantization=given.get("quantization", ""),
            tokenizer_mode=given.get("tokenizer_mode", "auto"),
            given=given,
        )
        return options, refusal
