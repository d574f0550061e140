# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the files of a split GGUF are called (llama_split_path in llama.cpp's src/llama.cpp): model-00001-of-00003.gguf."""

from __future__ import annotations

import re

_SHARD = re.compile(r"(?P<prefix>.+)-\d{5}-of-(?P<count>\d{5})\.gguf")


def shard_suffix(number: int, count: int) -> str:
    """What ends the name of this file; the first has the number 1."""
    return f"-{number:05}-of-{count:05}.gguf"


def shards(prefix: str, count: int) -> list[str]:
    return [prefix + shard_suffix(number, count) for number in range(1, count + 1)]


def shard_names(path: str) -> list[str]:
    """All shards of the split GGUF that ``path`` is one of; nothing when it is none."""
    shard = _SHARD.fullmatch(path)
    return shards(shard["prefix"], int(shard["count"])) if shard else []
