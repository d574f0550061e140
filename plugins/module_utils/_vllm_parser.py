# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether ``vllm serve`` would take a command line: argparse, as vLLM uses it, over the table of its flags.

Like vLLM's own it takes underscores for dashes, ``--name=value``, unambiguous beginnings of names, and the keys of a JSON value one by one
(``--compilation-config.mode 3``). Read in, and compared with, vllm/utils/argparse_utils.py and vllm/engine/arg_utils.py of 0.33.0. The JSON
of a configuration is only read; which keys it may have, vLLM alone knows.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import NEWEST, Flag, flags_of

_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")')
_BARE_HUMAN = re.compile(r"\b\d+(?:\.\d+)?[kKmMgGtT]\b")


class _RefusedError(Exception):
    pass


def accepts(words: Sequence[str], release: str = NEWEST) -> str | None:
    """What vLLM says to the words that follow ``vllm serve``, the model first; None if it takes them."""
    return parse(words, release)[1]


def parse(words: Sequence[str], release: str = NEWEST) -> tuple[dict[str, Any], str | None]:
    """The values by option, as far as they were given, and what vLLM says instead of taking them."""
    parser = _parser(release)
    try:
        found = parser.parse_args(list(_one_by_one(_model_first(words))))
    except (_RefusedError, argparse.ArgumentError) as refused:
        return {}, str(refused)
    return vars(found), None


# -- words ---------------------------------------------------------------------------------------------------------------


def _model_first(words: Sequence[str]) -> list[str]:
    """``--model NAME`` is put first. Without it, a name for the API needs the model in front, or it would swallow it."""
    for index, word in enumerate(words):
        if word.startswith("--model="):
            return [word[len("--model=") :], *words[:index], *words[index + 1 :]]
        if word == "--model" and index + 1 < len(words):
            return [words[index + 1], *words[:index], *words[index + 2 :]]
    named = any(re.match(r"--served[-_]model[-_]name(=|$)", word) for word in words)
    if named and words[0].startswith("-") and not any(re.match(r"--config(=|$)", word) for word in words):
        raise _RefusedError(
            "`model` should be provided as the first positional argument when using `vllm serve`. "
            "i.e. `vllm serve <model> --<arg> <value>`."
        )
    return list(words)


def _one_by_one(words: Sequence[str]) -> Iterator[str]:
    """The words with dashes in the names of flags, and with the dotted keys of one flag as one JSON value at the end."""
    nested: dict[str, dict[str, Any]] = {}
    queue = [_dashed(word) for word in words]
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-") or "." not in name or re.match(r"-\d*\.", name):
            yield word
            continue
        if not equals:
            if not queue:
                raise _RefusedError(f"argument {name}: expected one argument")
            value = queue.pop(0)
        if name.endswith("+"):
            name, value = name[:-1], json.dumps(value.split(","))
        flag, *keys = name.split(".")
        inner = nested.setdefault(flag, {})
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise _RefusedError(f"argument {flag}: {key} is a value already")
        inner[keys[-1]] = _json_value(value)
    for flag, values in nested.items():
        yield from (flag, json.dumps(values))


def _dashed(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    head, dot, tail = name.partition(".")
    return head.replace("_", "-") + dot + tail + equals + value


def _json_value(text: str) -> Any:
    for read in (json.loads, human_readable_int):
        try:
            return read(text)
        except (ValueError, argparse.ArgumentTypeError):
            pass
    return text


# -- values --------------------------------------------------------------------------------------------------------------


def human_readable_int(text: str) -> int:
    """32k is 32000, and 32K is 32768; 1.5k is 1500, and 1.5K an error."""
    match = _HUMAN.fullmatch(text.strip())
    if match is None:
        return int(text)
    number, suffix = match.groups()
    if suffix in _DECIMAL:
        return int(float(number) * _DECIMAL[suffix])
    if not number.isdigit():
        raise argparse.ArgumentTypeError(
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
        raise argparse.ArgumentTypeError(f"Value {text} cannot be converted to JSON.") from None


def _config(text: str) -> Any:
    """JSON of a whole configuration, in which numbers may be written as 80g."""
    parts = _QUOTED.split(text)
    parts[::2] = [_BARE_HUMAN.sub(lambda match: str(human_readable_int(match[0])), part) for part in parts[::2]]
    try:
        value = json.loads("".join(parts))
    except ValueError as invalid:
        raise argparse.ArgumentTypeError(f"Invalid JSON: {invalid}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("Input should be an object")
    return value


def _lora(text: str) -> Any:
    if not text or ("=" in text and "," not in text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"Invalid JSON format for --lora-modules: {text}") from None


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
            raise argparse.ArgumentTypeError(f"Value {text} cannot be converted to {read}.") from None

    return optional


# -- the parser ----------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _RefusedError(message)


class _Switch(argparse.Action):
    """On with one name, off with another, and never with a value."""

    def __init__(self, option_strings: Sequence[str], dest: str, negatives: Sequence[str], **keywords: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **keywords)
        self.negatives = negatives

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        setattr(namespace, self.dest, option_string not in self.negatives)


@functools.cache
def _parser(release: str) -> _Parser:
    parser = _Parser(prog="vllm", add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("model_tag", nargs="?")
    for flag in dict.fromkeys(flags_of(release).values()):
        names = (*flag.names, *flag.short, *flag.negatives)
        keywords: dict[str, Any] = {"dest": flag.option}
        if flag.kind == "switch":
            parser.add_argument(*names, action=_Switch, negatives=flag.negatives, **keywords)
            continue
        keywords["type"] = reader(flag)
        if flag.closed:
            keywords["choices"] = _choices(flag)
        if flag.repeated:
            keywords["action"] = "append"
        elif flag.nargs:
            keywords["nargs"] = flag.nargs
        parser.add_argument(*names, **keywords)
    return parser


def _choices(flag: Flag) -> list[Any]:
    choices: list[Any] = [int(choice) for choice in flag.choices] if flag.kind == "int" else list(flag.choices)
    return [*choices, None] if flag.optional else choices
