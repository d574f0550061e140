# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import fold, short_names
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.tests.plan_samples import a10, fleet, problem, rtx5090


def names(*entries: dict[str, Any]) -> list[tuple[str, ...]]:
    return [alike.names for alike in fold(parse_hosts(entries))]


def test_errors_come_first_then_what_is_not_known_then_warnings() -> None:
    assert names(*fleet()) == [("vllm-1.example.org",), ("lab",), ("rtx5090-1",), ("a10-1", "a10-2")]


def with_uuid(number: int) -> dict[str, Any]:
    """A host whose service names its GPU by the UUID, which every GPU has for itself."""
    host = a10(number)
    host["gpus"][0]["uuid"] = host["services"][0]["gpus"][0] = f"GPU-{number}"
    return host


def test_alike_are_hosts_that_differ_in_uuids_and_free_disk_alone() -> None:
    assert names(with_uuid(1), rtx5090(), with_uuid(2), a10(3, None)) == [("rtx5090-1",), ("a10-1", "a10-2", "a10-3")]


@pytest.mark.parametrize(
    "difference",
    [
        {"groups": ["a10", "spare"]},
        {"problems": [problem("odd", "warning", "m", "r")]},
        {"driver": {"installed_version": "570.172.08", "wanted_version": "580.126.09"}},
        {"services": []},
        {"models": []},
        {"gpus": [{"index": 0, "name": "NVIDIA A10", "memory_mib": 24000, "compute_capability": "8.6"}]},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_hosts_that_differ_are_told_apart(difference: dict[str, Any]) -> None:
    assert len(names(a10(1), {**a10(2), **difference})) == 2


def test_a_disk_that_is_too_small_is_told_of_its_host() -> None:
    assert names(a10(1), a10(2, free_bytes=10**9), a10(3)) == [("a10-2",), ("a10-1", "a10-3")]


def test_the_range_of_free_disk() -> None:
    groups = fold(parse_hosts([a10(1, 412), a10(2, None), a10(3, 10**12)]))
    assert [group.free_bytes(0) for group in groups if len(group.hosts) == 2] == [(10**12, 10**12)]
    assert fold(parse_hosts([a10(1, 7 * 10**9), a10(2, 10**12)]))[0].free_bytes(0) == (7 * 10**9, 10**12)
    assert fold(parse_hosts([a10(1, None)]))[0].free_bytes(0) is None


@pytest.mark.parametrize(
    ("given", "short"),
    [
        ([], []),
        (["lab"], ["lab"]),
        (["a1", "a2"], ["a1", "a2"]),
        (["a1", "a2", "a3"], ["a[1:3]"]),
        (["gpu08", "gpu09", "gpu10", "gpu11"], ["gpu[08:11]"]),
        (["gpu8", "gpu9", "gpu10"], ["gpu[8:10]"]),
        (["n1.dc", "n2.dc", "n3.dc", "n5.dc", "x", "n6.dc"], ["n[1:3].dc", "n5.dc", "x", "n6.dc"]),
        (["a1", "b2", "a3"], ["a1", "b2", "a3"]),
        (["a" + "9" * 5000, "b"], ["a" + "9" * 5000, "b"]),
    ],
)
def test_names_in_short(given: list[str], short: list[str]) -> None:
    assert short_names(given) == short
