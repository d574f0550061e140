# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What apt and dpkg say, as data: installed packages, what is offered, what a transaction would change.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# For dpkg-query --showformat; the native architecture comes from `dpkg --print-architecture`.
DPKG_FORMAT = r"${Package}\t${Architecture}\t${Version}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\n"

# As apt itself does it: nobody is asked, the configuration of the host stays, and needrestart leaves the services alone.
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none", "NEEDRESTART_SUSPEND": "1"}
WAIT = "wait for it, or raise nvidia_driver_lock_timeout"


class Package(NamedTuple):
    name: str
    """With its architecture where that is a foreign one: `libcuda1:i386`."""
    version: str
    status: str
    held: bool
    intact: bool

    @property
    def there(self) -> bool:
        return self.status not in ("not-installed", "config-files")


class Change(NamedTuple):
    """What a transaction does to one package; ``old`` is None for one that comes, ``new`` for one that goes."""

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"install {self.name} {self.new}"
        return f"remove {self.name} {self.old}" if self.new is None else f"{self.name} {self.old} -> {self.new}"


class Simulation(NamedTuple):
    """What apt would do, or why it would not."""

    changes: tuple[Change, ...] = ()
    refusal: str | None = None


def parse_packages(text: str, native: str) -> list[Package]:
    """From dpkg-query with :data:`DPKG_FORMAT`: everything of which files are there."""
    packages = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 6:
            continue
        name, architecture, version, want, flag, status = fields
        qualified = name if architecture in (native, "all", "") else f"{name}:{architecture}"
        intact = status == "installed" and flag == "ok"
        package = Package(qualified, version, status, want == "hold", intact)
        if package.there:
            packages.append(package)
    return packages


def parse_madison(text: str) -> dict[str, list[str]]:
    """From ``apt-cache madison``: the versions of each package that can be installed, newest first, each once."""
    offered: dict[str, list[str]] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3 and fields[2].rpartition(" ")[2] == "Packages":
            versions = offered.setdefault(fields[0], [])
            if fields[1] not in versions:
                versions.append(fields[1])
    return offered


_INST = re.compile(r"Inst (?P<name>\S+) (?:\[(?P<old>[^\]]+)\] )?\((?P<new>\S+) ")
_REMV = re.compile(r"(?:Remv|Purg) (?P<name>\S+) \[(?P<old>[^\]]+)\]")


def parse_simulation(text: str) -> list[Change]:
    """From ``apt-get --simulate``."""
    changes: dict[str, Change] = {}
    for line in text.splitlines():
        if inst := _INST.match(line):
            # A package that is replaced while its conflicts are sorted out is removed and installed again.
            before = changes.get(inst["name"])
            changes[inst["name"]] = Change(inst["name"], inst["old"] or (before.old if before else None), inst["new"])
        elif remv := _REMV.match(line):
            changes[remv["name"]] = Change(remv["name"], remv["old"], None)
    return list(changes.values())


def parse_download_bytes(text: str) -> int:
    """From ``apt-get --print-uris``: what is still to be fetched, and not only read where it lies."""
    sizes = re.findall(r"^'(?!file:)[^']+' \S+ (\d+)(?: |$)", text, re.MULTILINE)
    return sum(int(size) for size in sizes)


def reason(output: str) -> str:
    """Why apt would not, in one line: the unmet dependencies if it names any, or else its last errors."""
    lines = [line.strip() for line in output.splitlines()]
    unmet = [line for line in lines if re.match(r"(\S+ : )?(Depends|PreDepends|Conflicts|Breaks): ", line)]
    errors = [line[2:].strip() for line in lines if line.startswith("E:")]
    return "; ".join((unmet or errors)[:4]) or next((line for line in reversed(lines) if line), "it said nothing")


def hindrance(output: str) -> str | None:
    """What kept apt from installing or fetching, and the remedy; None for what only apt itself can say."""
    if unfetched := re.findall(r"^E: Failed to fetch (\S+) +(\S.*)$", output, re.MULTILINE):
        address, why = unfetched[0]
        more = f" and {len(unfetched) - 1} more" if len(unfetched) > 1 else ""
        return (
            f"apt cannot fetch {address}{more} ({why.rstrip(' :')}). Bring the sources of apt within reach of this host, or a mirror of "
            "them, or install these packages yourself; a driver that works stays as it is with nvidia_driver_manage: false"
        )
    held = re.search(r"^E: Could not get lock (\S+?)\.?(?: It is held by (.+))?$", output, re.MULTILINE)
    return f"{held[2] or 'another program'} holds {held[1]}; {WAIT}" if held else None


def transaction_diff(changes: Iterable[Change]) -> tuple[str, str]:
    """The packages before and after, for diff mode."""
    ordered = sorted(changes)
    before = "".join(f"{change.name} {change.old}\n" for change in ordered if change.old is not None)
    after = "".join(f"{change.name} {change.new}\n" for change in ordered if change.new is not None)
    return before, after
