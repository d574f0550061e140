# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a plan is put into words, on the terminal as on the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import Alike
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import (
    Capacity,
    Driver,
    Estimate,
    Host,
    MemoryPlan,
    Service,
    Suggestion,
    Summary,
    Toolkit,
)
from ansible_collections.baremetal.llm.plugins.module_utils._problems import failure_message
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import UNKNOWN, Amount, show_bytes, show_mib

NOTHING = "-"
_NAMES_SHOWN = 3
_FIGURE = re.compile(r"(?:gpus\[(\d{1,9})\]|host)\.(\w+)", re.ASCII)


def fits(answer: bool | None) -> str:
    return {True: "yes", False: "no", None: UNKNOWN}[answer]


def hosts(alike: Alike) -> str:
    """Their names; of many only some, and how many there are."""
    names = alike.short_names
    few = ", ".join(names[:_NAMES_SHOWN])
    return few if len(names) <= _NAMES_SHOWN else f"{few}, … ({len(alike.hosts)} hosts)"


def count(number: int, singular: str) -> str:
    return f"{number} {singular}{'' if number == 1 else 's'}"


def problems(errors: int, warnings: int) -> str:
    told = [count(number, what) for number, what in ((errors, "error"), (warnings, "warning")) if number]
    return ", ".join(told) or "none"


def driver(found: Driver | None) -> str:
    """``580.126.09 (open)``, or ``none → 580.126.09 (open)`` where another one is wanted than is there."""
    if found is None or not (found.installed_version or found.wanted_version):
        return NOTHING if found is None else "none"
    there, wanted = found.installed_version or "none", found.wanted_version
    flavour = f" ({found.kernel_module})" if found.kernel_module not in (None, "none") else ""
    if wanted in (None, there):
        return f"{there}{flavour}"
    return f"{there}{flavour} → {wanted}" if found.installed_version else f"{there} → {wanted}{flavour}"


def toolkit(found: Toolkit | None) -> str:
    """``13.0.3``, or where none is chosen those that would do."""
    if found is None:
        return NOTHING
    possible = dict.fromkeys(filter(None, (found.min, found.max)))
    return found.version or " to ".join(possible) or UNKNOWN


def disk_left(alike: Alike, disk: int) -> str:
    """``180 GiB``, or ``180 GiB to 210 GiB`` of hosts that differ."""
    space = alike.free_bytes(disk)
    return UNKNOWN if space is None else " to ".join(dict.fromkeys(map(show_bytes, space)))


def fetching(alike: Alike, disk: int) -> str:
    """``5.62 GiB into /srv/hub, 180 GiB left``, as far as it is known."""
    there = alike.first.disks[disk]
    into = f" into {there.directory}" if there.directory and not there.missing.empty else ""
    left = f", {disk_left(alike, disk)} left{'' if into else ' on the disk'}" if alike.free_bytes(disk) else ""
    return f"{to_fetch(there.missing)}{into}{left}"


def runs_on(host: Host, service: Service) -> str:
    return f"GPU {', '.join(host.indices(service))}" if service.gpus else "CPU"


def context(plan: MemoryPlan) -> str:
    """``8 slots of 4,096 tokens``, or of vLLM ``up to 16 requests at once, of up to 32,768 tokens``."""
    tokens = "an unknown number of" if plan.tokens_per_slot is None else f"{plan.tokens_per_slot:,}"
    if plan.capacity and plan.slots is not None:
        return f"up to {count(plan.slots, 'request')} at once, of up to {tokens} tokens"
    return f"{tokens} tokens for a request" if plan.slots is None else f"{count(plan.slots, 'slot')} of {tokens} tokens"


def capacity(found: Capacity) -> str:
    """``119,280 tokens (111,072 to 124,688), which are 3.64 requests of full length``."""
    tokens = UNKNOWN if found.kv_cache_tokens is None else f"{found.kv_cache_tokens:,} tokens"
    if bounds := cache_bounds(found):
        tokens = f"{tokens} ({bounds})"
    requests = found.sequences_of_full_length
    return tokens if requests is None else f"{tokens}, which are {requests:g} requests of full length"


def cache_bounds(found: Capacity) -> str:
    """``111,072 to 124,688``."""
    bounds = (found.kv_cache_tokens_low, found.kv_cache_tokens_high)
    return "" if None in bounds else " to ".join(f"{tokens:,}" for tokens in bounds)


def number(found: float | None) -> str:
    return UNKNOWN if found is None else f"{found:,g}" if found != int(found) else f"{int(found):,}"


def figures(plan: MemoryPlan | None) -> str:
    """Where the figures of a service's memory come from."""
    return {True: "calibrated with the installed release", False: "calculated", None: UNKNOWN}[plan.calibrated if plan else None]


def estimate(plan: MemoryPlan, found: Estimate, names: Mapping[str, str]) -> str:
    """``Compute on GPU 0: 148 MiB to 201 MiB, from the widths of the model``."""
    place = _FIGURE.fullmatch(found.figure)
    if place and place[2] in names:
        index = plan.gpus[int(place[1])].index if place[1] and int(place[1]) < len(plan.gpus) else None
        what = f"{names[place[2]]} on {'the host' if not place[1] else 'a GPU' if index is None else f'GPU {index}'}"
    else:
        what = found.figure
    sizes = " to ".join(dict.fromkeys(map(show_mib, (found.low_mib, found.high_mib))))
    return ", ".join(filter(None, (f"{what}: {sizes}", found.basis)))


def suggestion(found: Suggestion) -> str:
    """``Serve 6 requests at once instead of 8; set parallel: 6, ctx_size: 24576; 1.20 GiB are then left``."""
    options = ", ".join(f"{name}: {str(value).lower() if isinstance(value, bool) else value}" for name, value in found.options)
    left = "" if found.free_mib is None else f"{show_mib(found.free_mib)} are then left"
    return "; ".join(filter(None, (found.message, f"set {options}" if options else "", left)))


def where(alike: Alike, service: str | None) -> str:
    return ", ".join(filter(None, (hosts(alike), service)))


def message(groups: Iterable[Alike]) -> str:
    """All errors in one text to fail with; empty where there are none."""
    found = [
        replace(finding.problem, message=f"{where(alike, finding.service)}: {finding.problem.message}")
        for alike in groups
        for finding in alike.first.findings
        if finding.is_error
    ]
    return failure_message(found) if found else ""


def verdict(summary: Summary) -> str:
    """``5 hosts: 3 fit, 1 does not, 1 unknown``."""
    answers = [
        f"{summary.fit} fit{'s' if summary.fit == 1 else ''}",
        f"{summary.do_not_fit} do{'es' if summary.do_not_fit == 1 else ''} not" if summary.do_not_fit else "",
        f"{summary.unknown} {UNKNOWN}" if summary.unknown else "",
    ]
    return f"{count(summary.hosts, 'host')}: {', '.join(filter(None, answers))}"


def closing(summary: Summary) -> str:
    told = f"Problems: {problems(summary.errors, summary.warnings)}. To fetch: {to_fetch(summary.missing)}."
    return f"{verdict(summary)}. {told}"


def to_fetch(missing: Amount) -> str:
    return "nothing" if missing.empty else show_bytes(missing)
