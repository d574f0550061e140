# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of load checks that are kept, and whether today's are better, the same or worse.

A file of results is a baseline as it is. Services are told by their host and name, and compared only if they were asked the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

VERSION = 1
BETTER, SAME, WORSE = "better", "same", "worse"
NEW, OTHER, FAILED = "new", "not comparable", "failed"

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """`slack` times the tolerance is how much it may move; what is below `floor`, in its own unit, is noise at any rate."""

    name: str
    path: tuple[str, ...]
    higher_is_better: bool = False
    slack: float = 1.0
    floor: float = 0.0


# The slowest of some hundred requests vary more from run to run than all of them together.
METRICS = (
    Metric("requests/s", ("requests_per_second",), higher_is_better=True),
    Metric("tokens/s", ("tokens_per_second",), higher_is_better=True),
    Metric("first token p50", ("time_to_first_token_ms", "p50"), floor=5),
    Metric("first token p95", ("time_to_first_token_ms", "p95"), slack=2, floor=20),
    Metric("inter-token p50", ("inter_token_ms", "p50"), floor=1),
    Metric("inter-token p95", ("inter_token_ms", "p95"), slack=2, floor=5),
    Metric("total p50", ("latency_ms", "p50"), floor=5),
    Metric("total p95", ("latency_ms", "p95"), slack=2, floor=20),
)
_MOST_FAILED = 1.0  # percentage points by which the share of requests that fail may rise


@dataclass(frozen=True)
class Change:
    metric: str
    before: float
    now: float
    verdict: str

    @property
    def percent(self) -> float | None:
        """By how much it moved; None where there was nothing before."""
        return 100 * (self.now - self.before) / self.before if self.before else None

    def as_dict(self) -> dict[str, object]:
        percent = self.percent
        return {
            "metric": self.metric,
            "before": self.before,
            "now": self.now,
            "percent": percent if percent is None else round(percent, 1),
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        percent = self.percent
        moved = "" if percent is None else f" ({percent:+.0f} %)"
        return f"{self.metric} {self.before:g} → {self.now:g}{moved}, {self.verdict}"


@dataclass(frozen=True)
class Comparison:
    verdict: str
    reason: str = ""
    changes: tuple[Change, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {"verdict": self.verdict, "reason": self.reason, "changes": [change.as_dict() for change in self.changes]}


def compare(now: Result, before: Result | None, tolerance_percent: float) -> Comparison:
    """One that is worse in anything is worse; how much it is better elsewhere stands beside it."""
    if not now["figures"]["requests"]["succeeded"]:
        return Comparison(FAILED, now.get("message") or "no request was answered")
    if before is None:
        return Comparison(NEW)
    then, asked = ({"model": result.get("model"), **result["parameters"]} for result in (before, now))
    differences = [
        f"{name} was {_shown(then.get(name))} and is {_shown(value)}" for name, value in asked.items() if then.get(name) != value
    ]
    if differences:
        return Comparison(OTHER, "; ".join(differences))
    changes = tuple(_changes(now["figures"], before["figures"], tolerance_percent))
    verdicts = {change.verdict for change in changes}
    return Comparison(WORSE if WORSE in verdicts else BETTER if BETTER in verdicts else SAME, changes=changes)


def _changes(now: Mapping[str, Any], before: Mapping[str, Any], tolerance_percent: float) -> Iterable[Change]:
    for metric in METRICS:
        old, new = _value(before, metric.path), _value(now, metric.path)
        if old is not None and new is not None:
            yield Change(metric.name, old, new, _verdict(metric, old, new, tolerance_percent))
    old, new = _failed_percent(before), _failed_percent(now)
    verdict = WORSE if new - old > _MOST_FAILED else BETTER if old - new > _MOST_FAILED else SAME
    yield Change("failed %", old, new, verdict)


def _verdict(metric: Metric, old: float, new: float, tolerance_percent: float) -> str:
    moved = new - old
    if abs(moved) <= max(metric.floor, old * metric.slack * tolerance_percent / 100):
        return SAME
    return BETTER if (moved > 0) == metric.higher_is_better else WORSE


def _value(figures: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = figures
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def _failed_percent(figures: Mapping[str, Any]) -> float:
    requests = figures["requests"]
    return round(100 * requests["failed"] / requests["sent"], 1) if requests["sent"] else 0.0


def _shown(value: object) -> str:
    return "unset" if value is None else json.dumps(value)


def dump(results: Iterable[Result]) -> str:
    return json.dumps({"load_check": VERSION, "results": list(results)}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def load(text: str, name: str) -> list[dict[str, Any]]:
    """The results in a file that is called `name`."""
    try:
        data = json.loads(text)
        results = data["results"]
        sound = data["load_check"] == VERSION and all(_is_result(entry) for entry in results)
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise UserError(f"load_check_baseline: {name} holds no results of a load check. Remove it, or name another file.")
    return list(results)


def _is_result(entry: Any) -> bool:
    requests = entry["figures"]["requests"]
    counted = all(isinstance(requests[name], int) for name in ("sent", "succeeded", "failed"))
    return counted and isinstance(entry["host"], str) and isinstance(entry["service"], str) and isinstance(entry["parameters"], dict)


def find(results: Iterable[Result], host: str, service: str) -> Result | None:
    return next((entry for entry in results if (entry["host"], entry["service"]) == (host, service)), None)


def merged(old: Iterable[Result], new: Sequence[Result]) -> list[Result]:
    """The new results, and of the old ones those of other services. One that failed says nothing to compare with, so the old one stays."""
    good = [entry for entry in new if entry["figures"]["requests"]["succeeded"]]
    kept = [entry for entry in old if find(good, entry["host"], entry["service"]) is None]
    return sorted([*kept, *good], key=lambda entry: (entry["host"], entry["service"]))
