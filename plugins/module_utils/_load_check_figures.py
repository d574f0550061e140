# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many requests together say: rates, percentiles and errors by kind."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, warning

_FEW = 20  # requests; of fewer, one makes the 95th percentile
_BUSY_PERCENT = 80.0  # of one CPU; above it, this program may be slower than the server


@dataclass(frozen=True)
class Sample:
    """One request; all times are seconds of one clock. `arrivals`: when text came."""

    began: float
    ended: float
    arrivals: Sequence[float] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    """The kind of its failure, by which they are counted."""
    detail: str = ""

    @property
    def tokens(self) -> int:
        """Those of its answer; of an answer that is not whole, the events that came."""
        return len(self.arrivals) if self.completion_tokens is None else self.completion_tokens


@dataclass(frozen=True)
class Distribution:
    """In milliseconds."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float

    def as_dict(self) -> dict[str, float]:
        return {name: round(1000 * value, 2) for name, value in vars(self).items()}


def distribution(seconds: Iterable[float]) -> Distribution | None:
    """None where there is nothing to measure."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    mean = math.fsum(ordered) / len(ordered)
    return Distribution(mean, percentile(ordered, 50), percentile(ordered, 95), percentile(ordered, 99), ordered[-1])


def percentile(ordered: Sequence[float], rank: float) -> float:
    """Between the two nearest of the ordered values, on a straight line."""
    place = (len(ordered) - 1) * rank / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True)
class Figures:
    """Measured are the requests that began between `opened` and `closed`. Rates are of what came to its end in that time."""

    sent: int
    succeeded: int
    failed: int
    seconds: float
    requests_per_second: float
    tokens_per_second: float
    time_to_first_token: Distribution | None
    inter_token: Distribution | None
    time_per_token: Distribution | None
    latency: Distribution | None
    prompt_tokens: float | None
    completion_tokens: float | None
    client_cpu_percent: float
    errors: dict[str, int]
    error_examples: dict[str, str]

    def as_dict(self) -> dict[str, object]:
        def milliseconds(of: Distribution | None) -> dict[str, float] | None:
            return None if of is None else of.as_dict()

        return {
            "requests": {"sent": self.sent, "succeeded": self.succeeded, "failed": self.failed},
            "seconds": round(self.seconds, 2),
            "requests_per_second": _significant(self.requests_per_second),
            "tokens_per_second": _significant(self.tokens_per_second),
            "time_to_first_token_ms": milliseconds(self.time_to_first_token),
            "inter_token_ms": milliseconds(self.inter_token),
            "time_per_token_ms": milliseconds(self.time_per_token),
            "latency_ms": milliseconds(self.latency),
            "prompt_tokens": self.prompt_tokens and round(self.prompt_tokens, 1),
            "completion_tokens": self.completion_tokens and round(self.completion_tokens, 1),
            "client_cpu_percent": round(self.client_cpu_percent, 1),
            "errors": self.errors,
            "error_examples": self.error_examples,
        }

    def problems(self) -> list[Problem]:
        """What makes the figures say less than they seem to."""
        found = []
        if self.client_cpu_percent > _BUSY_PERCENT:
            found.append(
                warning(
                    "client_busy",
                    f"the load check itself took {self.client_cpu_percent:.0f} % of a CPU, so the figures may be its own limit",
                    "Give it more tokens to wait for (max_tokens), or fewer requests at once (parallel)",
                )
            )
        if 0 < self.succeeded < _FEW:
            remedy = "Give it more seconds"
            found.append(warning("few_requests", f"only {self.succeeded} requests were measured, so percentiles say little", remedy))
        return found


def figures(samples: Sequence[Sample], opened: float, closed: float, cpu_seconds: float, cpu_wall: float) -> Figures:
    """`samples` holds all requests, those of the warm-up as well: their ends and tokens belong to the rates."""
    seconds = closed - opened
    measured = [sample for sample in samples if opened <= sample.began < closed]
    good = [sample for sample in measured if sample.error is None]
    bad = [sample for sample in measured if sample.error is not None]
    ended = sum(sample.error is None and opened <= sample.ended < closed for sample in samples)
    kinds = Counter(str(sample.error) for sample in bad)
    return Figures(
        sent=len(measured),
        succeeded=len(good),
        failed=len(bad),
        seconds=seconds,
        requests_per_second=ended / seconds if seconds > 0 else 0.0,
        tokens_per_second=math.fsum(_tokens_between(sample, opened, closed) for sample in samples) / seconds if seconds > 0 else 0.0,
        time_to_first_token=distribution(sample.arrivals[0] - sample.began for sample in good if sample.arrivals),
        inter_token=distribution(gap for sample in good for gap in _gaps(sample.arrivals)),
        time_per_token=distribution(pace for sample in good if (pace := _pace(sample)) is not None),
        latency=distribution(sample.ended - sample.began for sample in good),
        prompt_tokens=_mean(sample.prompt_tokens for sample in good),
        completion_tokens=_mean(sample.tokens for sample in good),
        client_cpu_percent=100 * cpu_seconds / cpu_wall if cpu_wall > 0 else 0.0,
        errors=dict(sorted(kinds.items())),
        error_examples={str(sample.error): sample.detail for sample in reversed(bad)},
    )


def _tokens_between(sample: Sample, opened: float, closed: float) -> float:
    """An event may hold several tokens, so each has its share of the whole; without events, all come at the end."""
    times = sample.arrivals or [sample.ended]
    return sample.tokens * sum(opened <= time < closed for time in times) / len(times)


def _gaps(arrivals: Sequence[float]) -> Iterator[float]:
    """From one event to the next. Those that came at once share the time since the one before: none of them took no time."""
    before: float | None = None
    for now, together in itertools.groupby(arrivals):
        count = sum(1 for _event in together)
        if before is not None:
            yield from itertools.repeat((now - before) / count, count)
        before = now


def _pace(sample: Sample) -> float | None:
    if len(sample.arrivals) < 2 or sample.tokens < 2:
        return None
    return (sample.arrivals[-1] - sample.arrivals[0]) / (sample.tokens - 1)


def _mean(counts: Iterable[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known else None


def _significant(rate: float) -> float:
    """Four figures are more than any of it is worth."""
    return float(f"{rate:.4g}")
