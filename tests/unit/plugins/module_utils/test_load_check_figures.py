# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import statistics

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_figures import Sample, distribution, figures, percentile


@pytest.mark.parametrize(
    ("values", "rank", "expected"),
    [
        ([7.0], 95, 7.0),
        ([1.0, 2.0], 50, 1.5),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 95, 4.8),
        ([float(n) for n in range(101)], 99, 99.0),
        ([1.0, 2.0, 3.0], 0, 1.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
    ],
)
def test_percentiles(values: list[float], rank: float, expected: float) -> None:
    assert percentile(values, rank) == pytest.approx(expected)


def test_percentiles_are_those_of_the_standard_library() -> None:
    values = sorted((n * 7919 % 1009) / 3 for n in range(500))
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert [percentile(values, rank) for rank in range(1, 100)] == pytest.approx(cuts)


def test_a_distribution_is_told_in_milliseconds() -> None:
    found = distribution([0.3, 0.1, 0.2])
    assert found is not None
    assert found.as_dict() == {"mean": 200.0, "p50": 200.0, "p95": 290.0, "p99": 298.0, "max": 300.0}
    assert distribution([]) is None


def streamed(began: float, *arrivals: float, tokens: int | None = None) -> Sample:
    return Sample(began, arrivals[-1], arrivals, 10, len(arrivals) if tokens is None else tokens)


def test_only_requests_that_began_in_time_are_measured_and_rates_are_of_what_came_in_it() -> None:
    samples = [
        streamed(9.0, 9.5, 10.5),  # of the warm-up: one of its tokens, and its end, are in time
        streamed(10.0, 10.2, 10.4),
        streamed(11.5, 11.9, 12.1, 12.3, 12.5),  # ends too late: one of its tokens counts
        streamed(12.0, 12.5),  # begins too late
    ]
    found = figures(samples, 10.0, 12.0, cpu_seconds=0.5, cpu_wall=2.0)
    assert (found.sent, found.succeeded, found.failed) == (2, 2, 0)
    assert found.requests_per_second == 2 / 2
    assert found.tokens_per_second == pytest.approx((1 + 2 + 1) / 2)
    assert found.client_cpu_percent == 25
    told = found.as_dict()
    assert told["time_to_first_token_ms"]["p50"] == 300.0  # type: ignore[index]
    assert told["inter_token_ms"]["max"] == 200.0  # type: ignore[index]
    assert told["latency_ms"]["max"] == 1000.0  # type: ignore[index]
    assert (told["prompt_tokens"], told["completion_tokens"]) == (10.0, 3.0)


def test_an_event_may_hold_several_tokens() -> None:
    found = figures([streamed(0.0, 1.0, 2.0, tokens=9)], 0.0, 1.5, 0, 1)
    assert found.tokens_per_second == pytest.approx(4.5 / 1.5)
    assert found.time_per_token is not None and found.time_per_token.mean == pytest.approx(1 / 8)
    assert found.inter_token is not None and found.inter_token.mean == 1.0


@pytest.mark.parametrize(
    ("arrivals", "gaps"),
    [((1.0, 2.0, 4.0), [1.0, 2.0]), ((1.0, 1.0, 2.0), [1.0]), ((1.0, 2.0, 2.0, 2.0, 2.0), [0.25] * 4), ((1.0, 1.0), None), ((1.0,), None)],
)
def test_events_that_come_at_once_share_the_time_that_they_took(arrivals: tuple[float, ...], gaps: list[float] | None) -> None:
    found = figures([streamed(0.0, *arrivals)], 0.0, 9.0, 0, 1).inter_token
    assert found == (gaps and distribution(gaps))


def test_whole_answers_have_no_first_token() -> None:
    found = figures([Sample(0.0, 1.0, (), 10, 8)], 0.0, 2.0, 0, 1)
    assert found.tokens_per_second == 4 and found.requests_per_second == 0.5
    assert (found.time_to_first_token, found.inter_token, found.time_per_token) == (None, None, None)


def test_errors_are_counted_by_kind_with_the_first_of_each() -> None:
    bad = [Sample(float(n), n + 1.0, error=kind, detail=f"{kind} {n}") for n, kind in enumerate(["timeout", "http_500", "timeout"])]
    found = figures([*bad, streamed(3.0, 3.1)], 0.0, 4.0, 0, 1)
    assert found.errors == {"http_500": 1, "timeout": 2}
    assert found.error_examples == {"timeout": "timeout 0", "http_500": "http_500 1"}
    assert (found.sent, found.succeeded, found.failed, found.requests_per_second) == (4, 1, 3, 0.25)


def test_nothing_at_all() -> None:
    told = figures([], 0.0, 0.0, 0, 0).as_dict()
    assert told["requests"] == {"sent": 0, "succeeded": 0, "failed": 0} and told["requests_per_second"] == 0
    assert told["latency_ms"] is None and told["prompt_tokens"] is None


@pytest.mark.parametrize(
    ("requests", "cpu", "codes"),
    [(20, 0.5, []), (19, 0.5, ["few_requests"]), (20, 0.9, ["client_busy"]), (0, 0.1, [])],
)
def test_doubts(requests: int, cpu: float, codes: list[str]) -> None:
    samples = [streamed(0.0, 0.5) for _ in range(requests)]
    assert [problem.code for problem in figures(samples, 0.0, 1.0, cpu, 1.0).problems()] == codes
