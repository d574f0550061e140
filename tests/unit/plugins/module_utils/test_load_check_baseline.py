# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_baseline import compare, dump, find, load, merged

PARAMETERS = {"parallel": 8, "stream": True}


def times(p50: float, p95: float) -> dict[str, float]:
    return {"mean": p50, "p50": p50, "p95": p95, "p99": p95, "max": p95}


def result(
    *, rate: float = 100.0, first: float = 100.0, first_p95: float = 200.0, gap: float = 10.0, failed: int = 0, succeeded: int = 100,
    service: str = "chat", model: str = "m", **parameters: Any,
) -> dict[str, Any]:  # fmt: skip
    return {
        "host": "gpu1",
        "service": service,
        "model": model,
        "parameters": {**PARAMETERS, **parameters},
        "figures": {
            "requests": {"sent": succeeded + failed, "succeeded": succeeded, "failed": failed},
            "requests_per_second": rate,
            "tokens_per_second": 8 * rate,
            "time_to_first_token_ms": times(first, first_p95),
            "inter_token_ms": times(gap, 2 * gap),
            "latency_ms": times(500, 600),
        },
    }


@pytest.mark.parametrize(
    ("now", "verdict", "moved"),
    [
        ({}, "same", []),
        ({"rate": 91}, "same", []),
        ({"rate": 80}, "worse", ["requests/s", "tokens/s"]),
        ({"rate": 120}, "better", ["requests/s", "tokens/s"]),
        ({"first": 120}, "worse", ["first token p50"]),
        ({"first": 80}, "better", ["first token p50"]),
        ({"first_p95": 235}, "same", []),  # twice the tolerance
        ({"first_p95": 250}, "worse", ["first token p95"]),
        ({"gap": 10.9}, "same", []),
        ({"gap": 13}, "worse", ["inter-token p50", "inter-token p95"]),
        ({"rate": 200, "gap": 13}, "worse", ["requests/s", "tokens/s", "inter-token p50", "inter-token p95"]),
        ({"failed": 1}, "same", []),
        ({"failed": 5}, "worse", ["failed %"]),
    ],
)
def test_better_same_or_worse(now: dict[str, Any], verdict: str, moved: list[str]) -> None:
    found = compare(result(**now), result(), 10)
    assert found.verdict == verdict
    assert [change.metric for change in found.changes if change.verdict != "same"] == moved


def test_a_few_milliseconds_are_noise_whatever_the_percentage() -> None:
    assert compare(result(first=4.0, first_p95=9.0, gap=0.9), result(first=2.0, first_p95=3.0, gap=0.3), 10).verdict == "same"


def test_the_tolerance_is_the_operators() -> None:
    assert compare(result(rate=91), result(), 5).verdict == "worse"
    assert compare(result(rate=80), result(), 30).verdict == "same"


def test_by_how_much() -> None:
    change = compare(result(rate=75), result(), 10).changes[0]
    assert change.as_dict() == {"metric": "requests/s", "before": 100.0, "now": 75.0, "percent": -25.0, "verdict": "worse"}
    assert str(change) == "requests/s 100 → 75 (-25 %), worse"


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({"parallel": 16}, "parallel was 8 and is 16"),
        ({"stream": False}, "stream was true and is false"),
        ({"request": {"temperature": 1}}, 'request was unset and is {"temperature": 1}'),
        ({"model": "n"}, 'model was "m" and is "n"'),
    ],
)
def test_what_was_asked_otherwise_is_not_compared(now: dict[str, Any], reason: str) -> None:
    found = compare(result(**now), result(), 10)
    assert (found.verdict, found.reason, found.changes) == ("not comparable", reason, ())


def test_new_and_failed() -> None:
    assert compare(result(), None, 10).verdict == "new"
    assert compare({**result(succeeded=0, failed=3), "message": "all 3 failed"}, result(), 10).as_dict() == {
        "verdict": "failed",
        "reason": "all 3 failed",
        "changes": [],
    }


def test_what_was_not_measured_is_not_compared() -> None:
    now, before = result(), result()
    now["figures"]["time_to_first_token_ms"] = before["figures"]["inter_token_ms"] = None
    assert {"first token p50", "inter-token p50"}.isdisjoint(change.metric for change in compare(now, before, 10).changes)


def test_a_file_keeps_what_others_have_and_what_did_not_work_this_time() -> None:
    old = [result(service="chat", rate=1), result(service="other"), result(service="ill", rate=2)]
    kept = load(dump(merged(old, [result(service="chat", rate=3), result(service="ill", succeeded=0, failed=1)])), "f")
    assert [(entry["service"], entry["figures"]["requests_per_second"]) for entry in kept] == [("chat", 3), ("ill", 2), ("other", 100)]
    assert find(kept, "gpu1", "chat") == kept[0] and find(kept, "gpu2", "chat") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"load_check": 2, "results": []}', '{"load_check": 1, "results": [1]}', '{"load_check": 1, "results": [{}]}',
     json.dumps({"load_check": 1, "results": [{**result(), "figures": {"requests": {}}}]})],
)  # fmt: skip
def test_a_file_that_is_no_baseline(text: str) -> None:
    with pytest.raises(UserError, match=r"load_check_baseline: /x/b\.json holds no results"):
        load(text, "/x/b.json")
