# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import fold
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import Driver, Suggestion, Toolkit, summary_of
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Severity
from ansible_collections.baremetal.llm.plugins.plugin_utils import _plan_words as words
from ansible_collections.baremetal.llm.plugins.plugin_utils._plan_table import Block, blocks
from ansible_collections.baremetal.llm.tests.plan_samples import a10, fleet, plan, share

TABLES = """\
HOST                FITS     PROBLEMS   DRIVER                                 TOOLKIT       TO FETCH    DISK LEFT
vllm-1.example.org  no       3 errors   535.183.01 (proprietary) → 580.126.09  11.8 to 13.4  ≥ 3.87 GiB  1.86 GiB
lab                 unknown  1 warning  580.126.09 (open)                      -             unknown     unknown
rtx5090-1           yes      1 warning  580.126.09 (open)                      13.0.3        nothing     840 GiB
a10-1, a10-2        yes      none       none → 580.126.09 (open)               13.0.3        5.62 GiB    354 GiB to 384 GiB

GPU memory in GiB
HOST                GPU                        MEMORY  WEIGHTS  MMPROJ  KV CACHE  COMPUTE  OVERHEAD     FREE  SERVICES
vllm-1.example.org  0 NVIDIA GeForce RTX 4090   23.99     6.19       -     18.51     1.18      1.46    -3.35  mistral-7b, qwen3-4b
vllm-1.example.org  1 NVIDIA GeForce RTX 4090   23.99        -       -         -        -         -    23.99  -
lab                 0 NVIDIA L4                 22.49     9.00       -   unknown  unknown      0.97  unknown  novel
rtx5090-1           0 NVIDIA GeForce RTX 5090   31.84    17.12    1.49      0.75     0.48      1.28    10.73  qwen3-vl-30b
a10-1, a10-2        0 NVIDIA A10                22.49     4.36    1.63      1.75     0.17      0.97    13.61  qwen2-vl

Cache of vLLM in tokens
HOST                SERVICE      TOKENS  BETWEEN             OF A REQUEST  ROOM FOR  MOST AT ONCE
vllm-1.example.org  mistral-7b  133,200  124,880 to 138,640        32,768      4.07           256
"""


def told(entries: list[dict[str, Any]], columns: int = 100) -> list[Block]:
    hosts = parse_hosts(entries)
    return blocks(fold(hosts), summary_of(hosts), columns)


def lines_of(found: list[Block]) -> list[str]:
    return [line for block in found for line in block.lines]


def test_the_tables() -> None:
    lines = lines_of(told(fleet()))
    assert "\n".join(lines[: TABLES.count("\n")]) + "\n" == TABLES
    assert lines[-1] == "5 hosts: 3 fit, 1 does not, 1 unknown. Problems: 3 errors, 2 warnings. To fetch: ≥ 15.1 GiB."


def test_every_problem_has_its_paragraph_errors_first() -> None:
    found = [block for block in told(fleet()) if block.severity]
    assert [block.severity for block in found] == [Severity.ERROR] * 3 + [Severity.WARNING] * 2
    assert found[0].lines == [
        "ERROR  vllm-1.example.org: NVIDIA driver 535.183.01 is older than the 570.26 that CUDA 12.8 in the",
        "  image needs. Set nvidia_driver_version to 580.126.09 and run playbooks/driver_upgrade.yml.",
    ]
    assert found[3].lines[0].startswith("WARNING  lab, novel: The architecture 'novelnet' is not known")


@pytest.mark.parametrize(("columns", "widest"), [(200, 200), (80, 80), (10, 60)])
def test_texts_are_as_wide_as_the_terminal(columns: int, widest: int) -> None:
    texts = [line for block in told(fleet(), columns) if block.severity for line in block.lines]
    assert max(map(len, texts)) <= widest


def test_suggestions_come_after_the_problems() -> None:
    *_lines, first, second, _gap, _closing = lines_of(told(fleet()))
    assert first == "SUGGESTION  vllm-1.example.org, qwen3-4b: Keep keys and values as q8_0 (hardly worse, all slots as"
    assert second == "  they are); set cache_type_k: q8_0, cache_type_v: q8_0; 19.2 GiB are then left."


def test_a_host_without_gpus_has_no_table_of_them() -> None:
    assert lines_of(told([{"host": "cpu", "groups": [], "services": [{"name": "s", "fits": True}]}])) == [
        "HOST  FITS  PROBLEMS  DRIVER  TOOLKIT  TO FETCH  DISK LEFT",
        "cpu   yes   none      -       -        nothing   -",
        "",
        "1 host: 1 fits. Problems: none. To fetch: nothing.",
    ]


def test_nothing_unknown_is_shown_as_nothing() -> None:
    services = [{"name": "s", "gpus": [0], "plan": plan(share(None, *[None] * 5))}]
    lines = lines_of(told([{"host": "h", "gpus": [{"index": 0}], "services": services, "models": [{}]}]))
    assert lines[1].split() == ["h", "unknown", "none", "-", "-", "unknown", "unknown"]
    assert lines[5].split() == ["h", "0", *["unknown"] * 8, "s"]


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ([1], "a10-1"),
        (range(1, 81), "a10-[1:80]"),
        ([1, 3, 5, 7], "a10-1, a10-3, a10-5, … (4 hosts)"),
        ([1, 2, 3, 5, 7], "a10-[1:3], a10-5, a10-7"),
    ],
)
def test_the_names_of_hosts_that_are_alike(numbers: list[int], name: str) -> None:
    (alike,) = fold(parse_hosts([a10(number) for number in numbers]))
    assert words.hosts(alike) == name


@pytest.mark.parametrize(
    ("driver", "text"),
    [
        (None, "-"),
        (Driver(None, None, None, "580.65.06"), "none"),
        (Driver("580.126.09", None, "open", None), "580.126.09 (open)"),
        (Driver("580.126.09", "580.126.09", "open", None), "580.126.09 (open)"),
        (Driver(None, "580.126.09", "none", None), "none → 580.126.09"),
        (Driver("570.172.08", "580.126.09", None, None), "570.172.08 → 580.126.09"),
    ],
)
def test_the_driver_that_is_there_and_the_one_that_comes(driver: Driver | None, text: str) -> None:
    assert words.driver(driver) == text


PLAN = {
    "gpus": [{"weights_mib": 1}, {"weights_mib": 1}],
    "estimates": [
        {"figure": "gpus[1].compute_mib", "low_mib": 148, "high_mib": 2010, "basis": "from the widths of the model"},
        {"figure": "gpus[2].compute_mib", "low_mib": 148, "high_mib": 148, "basis": None},
        {"figure": "host.compute_mib", "low_mib": None, "high_mib": 201},
        {"figure": "capacity.kv_cache_tokens", "low_mib": 1, "high_mib": 2},
    ],
}


def test_estimates_are_told_with_their_place_and_width() -> None:
    services = [{"name": "s", "gpus": [0, 3], "plan": PLAN}]
    (host,) = parse_hosts([{"host": "h", "gpus": [{"index": 0}, {"index": 3}], "services": services}])
    planned = host.services[0].plan
    assert planned
    assert [words.estimate(planned, each, {"compute_mib": "Compute"}) for each in planned.estimates] == [
        "Compute on GPU 3: 148 MiB to 1.96 GiB, from the widths of the model",
        "Compute on a GPU: 148 MiB",
        "Compute on the host: unknown to 201 MiB",
        "capacity.kv_cache_tokens: 1.00 MiB to 2.00 MiB",
    ]


@pytest.mark.parametrize(
    ("suggestion", "text"),
    [
        (Suggestion("c", "Take a smaller file", (), None), "Take a smaller file"),
        (
            Suggestion("c", "Do it", (("parallel", 6), ("kv_unified", True)), 512),
            "Do it; set parallel: 6, kv_unified: true; 512 MiB are then left",
        ),
    ],
)
def test_a_suggestion_says_what_to_set_and_what_is_left(suggestion: Suggestion, text: str) -> None:
    assert words.suggestion(suggestion) == text


@pytest.mark.parametrize(
    ("slots", "tokens", "text"),
    [
        (8, 4096, "8 slots of 4,096 tokens"),
        (1, None, "1 slot of an unknown number of tokens"),
        (None, 32768, "32,768 tokens for a request"),
    ],
)
def test_the_context(slots: int | None, tokens: int | None, text: str) -> None:
    (host,) = parse_hosts([{"host": "h", "services": [{"name": "s", "plan": plan(slots=slots, tokens_per_slot=tokens)}]}])
    planned = host.services[0].plan
    assert planned and words.context(planned) == text


@pytest.mark.parametrize(
    ("toolkit", "text"),
    [
        (Toolkit("13.0.3", "11.1", "13.4", ()), "13.0.3"),
        (Toolkit(None, "12.8", "12.8", ()), "12.8"),
        (Toolkit(None, None, None, ()), "unknown"),
    ],
)
def test_the_toolkit(toolkit: Toolkit, text: str) -> None:
    assert words.toolkit(toolkit) == text


def test_the_message_tells_all_errors_with_their_hosts() -> None:
    groups = fold(parse_hosts(fleet()))
    lines = words.message(groups).splitlines()
    assert lines[0] == "3 problems:"
    assert all(line.startswith("- vllm-1.example.org: ") for line in lines[1:]) and len(lines) == 4
    assert words.message(fold(parse_hosts([a10()]))) == ""
