# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether ``vllm serve`` would take a command line: argparse, as vLLM uses it, over the table of its flags.

Like vLLM's own it takes underscores for dashes, ``--name=value``, unambiguous beginnings of names, and the keys of a JSON value one by one
(``--compilation-config.mode 3``). Read in, and compared with, vllm/utils/argparse_utils.py of 0.33.0.
The stand-in refuses what it does not take; unit tests ask it about what the collection writes.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import NEWEST, Flag, flags_of
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_values import human_readable_int, reader


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
