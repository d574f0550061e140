# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of ``vllm serve`` in each release that was looked at, and which of those tell about another release.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._image import parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_flags import RELEASES, ROWS, Row

NEWEST = RELEASES[-1]

# The image of which the tag is the release of vLLM, in whichever registry mirrors it; others are numbered as their builders like.
_OWN_IMAGE = "vllm-openai"
_TAG = re.compile(r"v(\d+\.\d+\.\d+)(?:\.?(?:post|rc)\d+)?(?:-.*)?")


@dataclass(frozen=True)
class Flag:
    """One setting."""

    names: tuple[str, ...]
    """The long names that set it."""
    negatives: tuple[str, ...]
    """The names that switch it off."""
    short: tuple[str, ...]
    kind: str
    """What its value is: a key of KINDS."""
    nargs: str
    """Empty for one value, + for one or more, ? for one or none."""
    choices: tuple[str, ...]
    closed: bool
    """Whether the parser takes nothing but the choices; otherwise only vLLM itself refuses the rest, later."""
    optional: bool
    """Whether the text None, or an empty one, stands for no value."""
    repeated: bool
    """Whether each use adds a value."""
    deprecated: bool
    default: str
    """Where it is simple."""
    since: str
    until: str
    """The first and the last release, of those looked at, in which it is the same."""

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def option(self) -> str:
        return option(self.name)


KINDS = {
    "switch": "no value",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "human_readable_int": "a whole number such as 8192, 8k (8000) or 8K (8192)",
    "human_readable_int_or_auto": "a whole number such as 32768, 32k (32000) or 32K (32768), or auto",
    "lower": "a text",
    "json": "JSON",
    "json_or_str": "JSON or a text",
    "config": "JSON",
    "lora": "name=path, or JSON",
}

Flags = Mapping[str, Flag]
"""The flags of a release, by each of their names."""


def option(name: str) -> str:
    """How an option is written that stands for a flag."""
    return name.lstrip("-").replace("-", "_")


@functools.cache
def flags_of(release: str = NEWEST) -> Flags:
    """Those of one of RELEASES."""
    index = RELEASES.index(release)
    flags: dict[str, Flag] = {}
    for row in ROWS:
        since, until = row[-1].split()
        if RELEASES.index(since) <= index <= RELEASES.index(until):
            flag = _flag(row)
            flags.update(dict.fromkeys((*flag.names, *flag.negatives, *flag.short), flag))
    return flags


def _flag(row: Row) -> Flag:
    names, negatives, short, kind, nargs, choices, notes, default, releases = row
    noted = notes.split()
    since, until = releases.split()
    return Flag(
        names=tuple(names.split()),
        negatives=tuple(negatives.split()),
        short=tuple(short.split()),
        kind=kind,
        nargs=nargs,
        choices=tuple(choices.split()),
        closed=bool(choices) and "open" not in noted,
        optional="optional" in noted,
        repeated="repeated" in noted,
        deprecated="deprecated" in noted,
        default=default,
        since=since,
        until=until,
    )


# -- releases ------------------------------------------------------------------------------------------------------------


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def release_of(image: str | None) -> str | None:
    """The release of vLLM in an image, as far as its tag tells: v0.33.0, v0.33.0-cu129, not latest or nightly."""
    parsed = parse_image(image or "")
    if parsed is None or parsed.tag is None or parsed.repository.rpartition("/")[2] != _OWN_IMAGE:
        return None
    match = _TAG.fullmatch(parsed.tag)
    return match[1] if match else None


@dataclass(frozen=True)
class Known:
    """The releases to ask about one release."""

    releases: tuple[str, ...]
    """The same one, or the nearest before and after it."""
    certain: bool
    """Whether what all of them say holds."""


def known_of(version: str | None) -> Known:
    """Patches change no options. A version that is not known is taken for the newest."""
    if version is None:
        return Known((NEWEST,), True)
    minor = numbers(version)[:2]
    same = [release for release in RELEASES if numbers(release)[:2] == minor]
    before = [release for release in RELEASES if numbers(release)[:2] < minor][-1:]
    after = [release for release in RELEASES if numbers(release)[:2] > minor][:1]
    if same:
        return Known(tuple(same), True)
    return Known((*before, *after), bool(before and after))
