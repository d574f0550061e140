# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What load checks have measured, as rows and as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_baseline import FAILED, OTHER, SAME, WORSE, Comparison
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_url import base_url
from ansible_collections.baremetal.llm.plugins.module_utils._table import render
from ansible_collections.baremetal.llm.plugins.plugin_utils._registered import results

_NOTHING = "-"
_RATES = ("PARALLEL", "REQUESTS/S", "TOKENS/S")
_TIMES = {"FIRST TOKEN": "time_to_first_token_ms", "INTER-TOKEN": "inter_token_ms", "TOTAL": "latency_ms"}
LEGEND = "FIRST TOKEN, INTER-TOKEN and TOTAL: milliseconds that 50 / 95 / 99 % of them took at most"


def targets(services: Any, names: Sequence[str] = (), host: str | None = None) -> list[dict[str, str]]:
    """The services that are to be asked, each with its base URL; without their keys, which are not even read."""
    if not isinstance(services, list):
        raise AnsibleFilterError(f"load_check_targets: inference_services has to be a list of services, not {type(services).__name__}")
    wanted = [service for service in map(_parsed, services) if not names or service.name in names]
    for service in wanted:
        if host is not None and service.only_local:
            raise AnsibleFilterError(
                f"load_check_targets: {service.name} listens on {', '.join(service.listen)} only, which the controller does not reach. "
                "Leave load_check_from out, or name other services in load_check_services"
            )
    return [{"service": service.name, "base_url": base_url(service, host)} for service in wanted]


def _parsed(raw: Any) -> Service:
    readable = {key: raw[key] for key in raw if key not in ("api_key", "environment")} if isinstance(raw, Mapping) else raw
    service, problems = parse(readable)
    if service is None or errors(problems):
        raise AnsibleFilterError(f"load_check_targets: {service.name if service else 'inference_services'}: {errors(problems)[0]}")
    return service


def rows_of(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each service that was asked on the host with these variables, which are templated only when they are looked at."""
    keys = ("base_url", "model", "parameters", "figures", "problems", "message")
    return [
        {
            "host": variables["inventory_hostname"],
            "service": result["item"]["service"],
            **{key: result.get(key) for key in keys},
        }
        for name in ("__load_check_from_host", "__load_check_from_controller")
        for result in results(variables, name, "figures")
    ]


def table(rows: Sequence[Mapping[str, Any]], comparisons: Sequence[Comparison] | None) -> list[str]:
    headings = ["HOST", "SERVICE", *_RATES, *_TIMES, "FAILED", *(["BASELINE"] if comparisons else [])]
    cells = [
        [
            row["host"],
            row["service"],
            str(row["parameters"]["parallel"]),
            *_figures(row["figures"]),
            *([comparisons[index].verdict] if comparisons else []),
        ]
        for index, row in enumerate(rows)
    ]
    return render(headings, cells, numeric={*_RATES, *_TIMES})


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    nothing = not figures["requests"]["succeeded"]
    for rate in ("requests_per_second", "tokens_per_second"):
        yield _NOTHING if nothing else f"{figures[rate]:g}"
    for key in _TIMES.values():
        times = figures[key]
        yield " / ".join(_milliseconds(times[rank]) for rank in ("p50", "p95", "p99")) if times else _NOTHING
    failed, sent = figures["requests"]["failed"], figures["requests"]["sent"]
    yield f"{failed} of {sent}" if failed else "none"


def _milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}"


def remarks(rows: Sequence[Mapping[str, Any]], comparisons: Sequence[Comparison] | None) -> list[str]:
    """What the table has no room for: errors with an example of each kind, doubts, and what has changed by how much."""
    lines = []
    for index, row in enumerate(rows):
        figures, name = row["figures"], f"{row['host']} {row['service']}"
        for kind, count in figures["errors"].items():
            lines.append(f"{name}: {count} × {kind}: {figures['error_examples'][kind]}")
        lines += [f"{name}: {problem['message']}. {problem['remedy']}." for problem in row.get("problems") or ()]
        if comparisons:
            comparison = comparisons[index]
            if comparison.verdict == OTHER:
                lines.append(f"{name}: not comparable with the baseline, {comparison.reason}")
            lines += [f"{name}: {change}" for change in comparison.changes if change.verdict != SAME]
    return lines


def failure(rows: Sequence[Mapping[str, Any]], comparisons: Sequence[Comparison], *, on_worse: bool) -> str:
    """Why the run fails, empty where it does not: a service that answered nothing and, if wanted, one that is worse."""
    lines = []
    for row, comparison in zip(rows, comparisons, strict=True):
        name = f"{row['host']} {row['service']} ({row['base_url']})"
        if comparison.verdict == FAILED:
            lines.append(f"{name}: {comparison.reason}")
        elif on_worse and comparison.verdict == WORSE:
            worse = [str(change) for change in comparison.changes if change.verdict == WORSE]
            lines.append(f"{name} is worse than its baseline: {'; '.join(worse)}")
    return "\n".join(lines)
