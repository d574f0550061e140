# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``llama-server --help`` tells about its flags: read from the very binary that will run, since releases differ.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# "-c,    --ctx-size N                     size of the prompt context …"; one space before the placeholder, more before the description.
_ENTRY = re.compile(r"(?P<names>--?\w[\w.-]*(?:,\s*--?\w[\w.-]*)*)(?: (?P<value>\S.*?))?(?:\s{2,}(?P<help>.*))?")


@dataclass(frozen=True)
class Flag:
    """One entry of ``--help``: the names of one setting."""

    names: tuple[str, ...]
    """The long names, in their order, negative ones included."""
    short: tuple[str, ...] = ()
    value: str = ""
    """The placeholder of its value; empty for a switch."""
    help: str = ""

    @property
    def environment(self) -> str | None:
        match = re.search(r"\(env: (\w+)\)", self.help)
        return match[1] if match else None

    @property
    def negatives(self) -> tuple[str, ...]:
        """The names that switch it off; none where the only name says "no" itself (--no-host)."""
        negative = tuple(name for name in self.names if name.startswith("--no-"))
        return negative if len(negative) < len(self.names) else ()

    @property
    def allowed(self) -> frozenset[str]:
        """The only values it takes, empty where the help does not close the list."""
        if match := re.fullmatch(r"[\[{<]([\w+-]+(?:[|,][\w+-]+)+)[\]}>]", self.value):
            return frozenset(re.split(r"[|,]", match[1]))
        if match := re.search(r"allowed values: ([\w+, -]+?)\s*(?:\(|$)", self.help):
            return frozenset(match[1].replace(" ", "").split(","))
        listed = frozenset(re.findall(r"(?:^|\s)- ([a-z][\w+-]*)(?: \(default\))?: ", self.help))
        default = re.search(r"\(default: ([a-z][\w+-]*)\)", self.help)
        return listed | {default[1]} if listed and default else listed

    @property
    def numeric(self) -> bool:
        return self.value == "N"

    @property
    def words(self) -> frozenset[str]:
        """The words that a numeric flag takes instead of a number ('auto')."""
        return frozenset(re.findall(r"'([a-z]+)'", self.help))

    @property
    def removed(self) -> bool:
        return self.help.startswith("the argument has been removed")


Flags = Mapping[str, Flag]
"""The flags of a binary, by each of their names (``--ctx-size``, ``-c``)."""


def parse_help(text: str) -> Flags:
    """What ``llama-server --help`` lists."""
    entries: list[tuple[re.Match[str], list[str]]] = []
    for line in text.splitlines():
        if entry := _ENTRY.fullmatch(line.rstrip()):
            entries.append((entry, [entry["help"] or ""]))
        elif line.startswith(" ") and entries:
            entries[-1][1].append(line.strip())
    flags: dict[str, Flag] = {}
    for entry, description in entries:
        names = [name.strip() for name in entry["names"].split(",")]
        flag = Flag(
            names=tuple(name for name in names if name.startswith("--")),
            short=tuple(name for name in names if not name.startswith("--")),
            value=entry["value"] or "",
            help=" ".join(part for part in description if part),
        )
        flags.update(dict.fromkeys(names, flag))
    return flags
