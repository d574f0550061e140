# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as one page of HTML that needs nothing beside itself: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._plan_bar import FREE, NOT_KNOWN, bar_of
from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import Alike
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import Finding, GpuUse, Summary
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import UNKNOWN, show_bytes, show_mib
from ansible_collections.baremetal.llm.plugins.plugin_utils import _plan_words as words
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_HERE = Path(__file__).parent

# What each colour stands for: its name, and what it is.
LEGEND = {
    "weights_mib": ("Weights", "the tensors of the model"),
    "mmproj_mib": ("Vision", "the mmproj file and its encoder"),
    "kv_cache_mib": ("KV cache", "the context of all requests"),
    "compute_mib": ("Compute", "buffers of the calculation"),
    "overhead_mib": ("Overhead", "driver, CUDA context and reserve"),
    FREE: ("Free", "taken by no service"),
    NOT_KNOWN: ("Not known", "taken or free, nobody can tell"),
}


def page(groups: Sequence[Alike], summary: Summary, made_at: datetime) -> str:
    """Everything that is inserted is escaped by the template's engine."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(bytes=show_bytes, mib=show_mib)
    return environment.get_template("_plan_page.html.j2").render(
        groups=groups,
        findings=_findings(groups),
        summary=summary,
        made_at=made_at,
        style=Markup((_HERE / "_plan_page.css").read_text(encoding="utf-8")),
        words=words,
        names={kind: name for kind, (name, _meaning) in LEGEND.items()},
        legend=LEGEND,
        unknown=UNKNOWN,
        bar_of=bar_of,
        told=_told,
    )


def _findings(groups: Sequence[Alike]) -> list[tuple[int, Alike, Finding]]:
    """Every problem with the number of the hosts that have it, errors first."""
    found = [(number, alike, finding) for number, alike in enumerate(groups, 1) for finding in alike.first.findings]
    return sorted(found, key=lambda row: not row[2].is_error)


def _told(use: GpuUse) -> str:
    """The bar in words."""
    taken = [f"{LEGEND[name][0]} {show_mib(amount)}" for name, amount in use.parts.items() if not amount.empty]
    left = f"{show_mib(use.lacking)} too little" if use.lacking else f"free {show_mib(use.free_mib)}"
    return f"{', '.join([*taken, left])}; memory {show_mib(use.memory_mib)}"
