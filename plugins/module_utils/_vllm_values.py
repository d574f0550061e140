# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How ``vllm serve`` reads the value of a flag: vllm/utils/argparse_utils.py and vllm/engine/arg_utils.py of 0.33.0.

The JSON of a configuration is only read; which keys it may have, vLLM alone knows.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import Flag

_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")')
_BARE_HUMAN = re.compile(r"\b\d+(?:\.\d+)?[kKmMgGtT]\b")


def human_readable_int(text: str) -> int:
    """32k is 32000, and 32K is 32768; 1.5k is 1500, and 1.5K an error."""
    match = _HUMAN.fullmatch(text.strip())
    if match is None:
        return int(text)
    number, suffix = match.groups()
    if suffix in _DECIMAL:
        return int(float(number) * _DECIMAL[suffix])
    if not number.isdigit():
        raise ArgumentTypeError(
            f"Decimals are not allowed with binary suffixes like {suffix}. Did you mean to use {number}{suffix.lower()} instead?"
        )
    return int(number) * _BINARY[suffix]


def human_readable_int_or_auto(text: str) -> int:
    return -1 if text.strip().lower() in ("auto", "-1") else human_readable_int(text)


def _lower(text: str) -> str:
    return text.lower().replace("-", "_")


def _json_or_str(text: str) -> Any:
    if not re.match(r"(?s)^\s*{.*}\s*$", text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ArgumentTypeError(f"Value {text} cannot be converted to JSON.") from None


def _config(text: str) -> Any:
    """JSON of a whole configuration, in which numbers may be written as 80g."""
    parts = _QUOTED.split(text)
    parts[::2] = [_BARE_HUMAN.sub(lambda match: str(human_readable_int(match[0])), part) for part in parts[::2]]
    try:
        value = json.loads("".join(parts))
    except ValueError as invalid:
        raise ArgumentTypeError(f"Invalid JSON: {invalid}") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError("Input should be an object")
    return value


def _lora(text: str) -> Any:
    if not text or ("=" in text and "," not in text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ArgumentTypeError(f"Invalid JSON format for --lora-modules: {text}") from None


_READ: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "human_readable_int": human_readable_int,
    "human_readable_int_or_auto": human_readable_int_or_auto,
    "lower": _lower,
    "json": json.loads,
    "json_or_str": _json_or_str,
    "config": _config,
    "lora": _lora,
}


def reader(flag: Flag) -> Callable[[str], Any]:
    """What reads the flag's value; it raises ValueError or ArgumentTypeError."""
    read = _READ[flag.kind]
    if not flag.optional:
        return read

    def optional(text: str) -> Any:
        if text in ("", "None"):
            return None
        try:
            return read(text)
        except ValueError:
            raise ArgumentTypeError(f"Value {text} cannot be converted to {read}.") from None

    return optional
