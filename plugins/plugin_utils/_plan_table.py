# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan on the terminal: a table of the hosts, one of their GPUs and one of what vLLM keeps, what is wrong, and one line for all of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import Alike
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import PARTS, GpuUse, Summary
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Severity
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import UNKNOWN, show_gib
from ansible_collections.baremetal.llm.plugins.module_utils._table import render
from ansible_collections.baremetal.llm.plugins.plugin_utils import _plan_words as words

_FIGURES = ("MEMORY", *(name.removesuffix("_mib").replace("_", " ").upper() for name in PARTS), "FREE")
_NARROWEST = 60


@dataclass(frozen=True)
class Block:
    """Lines that belong together, and how bad what they say is."""

    lines: Sequence[str]
    severity: Severity | None = None


_GAP = Block([""])


def blocks(groups: Sequence[Alike], summary: Summary, columns: int) -> list[Block]:
    """The whole plan. Texts are wrapped to so many columns; the tables are as wide as they are."""
    gpus, caches = _gpu_table(groups), _cache_table(groups)
    texts = list(_texts(groups, max(columns, _NARROWEST)))
    return [
        Block(_host_table(groups)),
        *([_GAP, Block(["GPU memory in GiB", *gpus])] if gpus else []),
        *([_GAP, Block(["Cache of vLLM in tokens", *caches])] if caches else []),
        *([_GAP, *texts] if texts else []),
        _GAP,
        Block([words.closing(summary)]),
    ]


def _host_table(groups: Sequence[Alike]) -> list[str]:
    headings = ("HOST", "FITS", "PROBLEMS", "DRIVER", "TOOLKIT", "TO FETCH", "DISK LEFT")
    rows = [
        (
            words.hosts(alike),
            words.fits(alike.first.fits),
            words.problems(alike.first.errors, alike.first.warnings),
            words.driver(alike.first.driver),
            words.toolkit(alike.first.toolkit),
            words.to_fetch(alike.first.missing),
            ", ".join(words.disk_left(alike, disk) for disk in range(len(alike.first.disks))) or words.NOTHING,
        )
        for alike in groups
    ]
    return render(headings, rows)


def _gpu_table(groups: Sequence[Alike]) -> list[str]:
    rows = [(words.hosts(alike), *_gpu_cells(use)) for alike in groups for use in alike.first.uses]
    return render(("HOST", "GPU", *_FIGURES, "SERVICES"), rows, numeric=_FIGURES) if rows else []


def _cache_table(groups: Sequence[Alike]) -> list[str]:
    """How many requests vLLM has room for, beside how many it is to take."""
    figures = ("TOKENS", "OF A REQUEST", "ROOM FOR", "MOST AT ONCE")
    planned = [(alike, service.name, service.plan) for alike in groups for service in alike.first.services if service.plan]
    rows = [
        (
            words.hosts(alike),
            name,
            words.number(plan.capacity.kv_cache_tokens),
            words.cache_bounds(plan.capacity) or words.NOTHING,
            words.number(plan.tokens_per_slot),
            words.number(plan.capacity.sequences_of_full_length),
            words.number(plan.slots),
        )
        for alike, name, plan in planned
        if plan.capacity
    ]
    headings = ("HOST", "SERVICE", figures[0], "BETWEEN", *figures[1:])
    return render(headings, rows, numeric=figures) if rows else []


def _gpu_cells(use: GpuUse) -> tuple[str, ...]:
    return (
        " ".join(filter(None, ("" if use.gpu.index is None else str(use.gpu.index), use.gpu.name or UNKNOWN))),
        show_gib(use.memory_mib),
        *(words.NOTHING if amount.empty else show_gib(amount) for amount in use.parts.values()),
        show_gib(use.free_mib),
        ", ".join(use.services) or words.NOTHING,
    )


def _texts(groups: Sequence[Alike], columns: int) -> Iterator[Block]:
    """What is wrong and what is suggested, errors first. Sorting is stable, so the order of the hosts stays."""
    found = [(alike, finding) for alike in groups for finding in alike.first.findings]
    for alike, finding in sorted(found, key=lambda pair: not pair[1].is_error):
        severity = finding.problem.severity
        yield Block(_paragraph(severity.name, f"{words.where(alike, finding.service)}: {finding.problem}", columns), severity)
    for alike in groups:
        for service in alike.first.services:
            for suggestion in service.plan.suggestions if service.plan else ():
                yield Block(_paragraph("SUGGESTION", f"{words.where(alike, service.name)}: {words.suggestion(suggestion)}.", columns))


def _paragraph(head: str, text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns, initial_indent=f"{head}  ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
