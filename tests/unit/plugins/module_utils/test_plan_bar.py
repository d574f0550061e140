# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._plan_bar import bar_of
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.tests.plan_samples import fleet, plan, share


def bar(memory: float | None, *shares: dict[str, Any]) -> tuple[dict[str, float], float | None]:
    services = [{"name": str(number), "gpus": [0], "plan": plan(each)} for number, each in enumerate(shares)]
    (host,) = parse_hosts([{"host": "h", "gpus": [{"index": 0, "memory_mib": memory}], "services": services}])
    drawn = bar_of(host.uses[0])
    return {segment.kind: segment.percent for segment in drawn.segments}, drawn.limit


@pytest.mark.parametrize(
    ("memory", "shares", "segments", "limit"),
    [
        (1000, [], {"free_mib": 100}, None),
        (
            1000,
            [share(1000, 500, 0, 200, 50, 50)],
            {"weights_mib": 50, "kv_cache_mib": 20, "compute_mib": 5, "overhead_mib": 5, "free_mib": 20},
            None,
        ),
        (1000, [share(1000, 500, 0, None, 0, 0)], {"weights_mib": 50, "not_known": 50}, None),
        (1000, [share(1000, 500, 0, 500, 0, 0)], {"weights_mib": 50, "kv_cache_mib": 50}, None),
        (1000, [share(1000, 500, 0, 1500, 0, 0)], {"weights_mib": 25, "kv_cache_mib": 75}, 50),
        (1000, [share(1000, 500, 0, 0, 0, 0), share(1000, 750, 0, 0, 0, 0)], {"weights_mib": 100}, 80),
        # Not all of it is known, and yet it is too much.
        (1000, [share(1000, 2000, 0, None, 0, 0)], {"weights_mib": 100}, 50),
        (None, [share(None, 500, 0, None, 0, 0)], {"not_known": 100}, None),
        (0, [], {"not_known": 100}, None),
    ],
)
def test_a_bar(memory: float | None, shares: list[dict[str, Any]], segments: dict[str, float], limit: float | None) -> None:
    drawn, drawn_limit = bar(memory, *shares)
    assert drawn == pytest.approx(segments, abs=0.001)
    assert list(drawn) == list(segments)
    assert drawn_limit == limit


@pytest.mark.parametrize("weights", [1, 1 / 3, 333.333, 7919.1])
def test_the_percents_add_up(weights: float) -> None:
    drawn, _limit = bar(8192, share(8192, weights, weights / 7, weights / 11, weights / 13, weights / 17))
    assert sum(drawn.values()) == pytest.approx(100, abs=1e-9)


def test_the_percents_of_the_samples_add_up() -> None:
    for host in parse_hosts(fleet()):
        for use in host.uses:
            assert sum(segment.percent for segment in bar_of(use).segments) == pytest.approx(100, abs=1e-9)
