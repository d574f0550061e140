# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are alike, told once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import Host

_NUMBERED = re.compile(r"(.*?)(\d{1,9})(\D*)", re.DOTALL | re.ASCII)
_SHORTEST_RUN = 3


@dataclass(frozen=True)
class Alike:
    """Hosts of the same groups with the same figures. They may differ in the UUIDs of their GPUs and in the disk space that is left."""

    hosts: tuple[Host, ...]

    @property
    def first(self) -> Host:
        """One that speaks for all."""
        return self.hosts[0]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(host.name for host in self.hosts)

    @property
    def short_names(self) -> list[str]:
        return short_names(self.names)

    def free_bytes(self, disk: int) -> tuple[int, int] | None:
        """The least and the most that is left of one of their disks."""
        free = [space for host in self.hosts if (space := host.disks[disk].free_bytes) is not None]
        return (min(free), max(free)) if free else None


def fold(hosts: Iterable[Host]) -> list[Alike]:
    """The hosts in groups of those that are alike: first those with errors, then those where something is not known, then the warned."""
    folded: dict[object, list[Host]] = {}
    for host in hosts:
        folded.setdefault((_without_own(host), host.findings), []).append(host)
    return sorted((Alike(tuple(alike)) for alike in folded.values()), key=lambda alike: _urgency(alike.first))


def _urgency(host: Host) -> tuple[bool, ...]:
    return (not host.errors, host.fits is not None, not host.warnings)


def _without_own(host: Host) -> Host:
    """The host without what is only its own."""
    return replace(
        host,
        name="",
        gpus=tuple(replace(gpu, uuid=None) for gpu in host.gpus),
        models=tuple(replace(model, free_bytes=None) for model in host.models),
        services=tuple(replace(service, gpus=host.indices(service)) for service in host.services),
    )


def short_names(names: Sequence[str]) -> list[str]:
    """``a10-[1:40]`` for forty of them, as an inventory writes it; names that are not numbered in a row stay as they are."""
    runs: list[list[str]] = []
    for name in names:
        if runs and name == _after(runs[-1][-1]):
            runs[-1].append(name)
        else:
            runs.append([name])
    return [text for run in runs for text in (run if len(run) < _SHORTEST_RUN else [_range(run[0], run[-1])])]


def _after(name: str) -> str | None:
    before, digits, behind = _split(name)
    return f"{before}{str(int(digits) + 1).zfill(len(digits))}{behind}" if digits else None


def _range(first: str, last: str) -> str:
    before, digits, behind = _split(first)
    return f"{before}[{digits}:{_split(last)[1]}]{behind}"


def _split(name: str) -> tuple[str, str, str]:
    """The last number in a name, with what is before and behind it."""
    match = _NUMBERED.fullmatch(name)
    return (match[1], match[2], match[3]) if match else (name, "", "")
