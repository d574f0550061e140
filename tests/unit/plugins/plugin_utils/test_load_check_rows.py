# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_baseline import compare
from ansible_collections.baremetal.llm.plugins.plugin_utils._load_check_rows import failure, remarks, rows_of, table, targets

CHAT = {"name": "chat", "model": {"file": "/m.gguf"}, "host": "0.0.0.0", "port": 8080}
VLLM = {
    "name": "mistral", "engine": "vllm", "manager": "compose", "image": "vllm/vllm-openai:v0.33.0",
    "model": {"repo_id": "o/n"}, "host": "0.0.0.0", "port": 8000,
}  # fmt: skip
LOCAL = {"name": "local", "model": {"file": "/m.gguf"}, "port": 8081}


class Unreadable(dict[str, Any]):
    """A service whose key is in a vault that is not open."""

    def __getitem__(self, key: str) -> Any:
        assert key != "api_key"
        return super().__getitem__(key)


def test_all_services_or_those_that_are_named() -> None:
    services = [Unreadable(CHAT, api_key="x"), LOCAL]
    chat, local = [{"service": "chat", "base_url": "http://127.0.0.1:8080"}, {"service": "local", "base_url": "http://127.0.0.1:8081"}]
    assert targets(services) == [chat, local]
    assert targets(services, ["local", "elsewhere"]) == [local]
    assert targets([VLLM]) == [{"service": "mistral", "base_url": "http://127.0.0.1:8000"}]
    assert targets(services, ["chat"], "gpu1") == [{"service": "chat", "base_url": "http://gpu1:8080"}]


@pytest.mark.parametrize(
    ("services", "host", "message"),
    [
        ({}, None, "has to be a list of services"),
        (["chat"], None, "inference_services: service: "),
        ([{**CHAT, "port": 0}], None, "chat: port: 0 is not a TCP port"),
        ([CHAT, LOCAL], "gpu1", "local listens on 127.0.0.1:8081 only, which the controller does not reach"),
    ],
)
def test_services_that_cannot_be_asked(services: Any, host: str | None, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        targets(services, (), host)


def times(value: float) -> dict[str, float]:
    return {"mean": value, "p50": value, "p95": 2 * value, "p99": 30 * value, "max": 40 * value}


def measured(service: str, rate: float = 12.34, failed: int = 0, succeeded: int = 40, **extra: Any) -> dict[str, Any]:
    nothing = not succeeded
    return {
        "service": service,
        "base_url": "http://127.0.0.1:8080",
        "model": "m",
        "parameters": {"parallel": 8},
        "figures": {
            "requests": {"sent": failed + succeeded, "succeeded": succeeded, "failed": failed},
            "requests_per_second": rate,
            "tokens_per_second": 64 * rate,
            "time_to_first_token_ms": None if nothing else times(40),
            "inter_token_ms": None if nothing else times(1.25),
            "latency_ms": None if nothing else times(500),
            "errors": {"timeout": failed} if failed else {},
            "error_examples": {"timeout": "not answered within 60 s"} if failed else {},
        },
        "problems": [],
        "message": "all 3 requests failed, timeout: not answered within 60 s" if nothing else "",
        **extra,
    }


ROWS = [{"host": "gpu1", **measured("chat")}, {"host": "gpu1", **measured("other", failed=3, succeeded=0)}]


def test_rows_of_what_the_tasks_have_registered() -> None:
    class Variables(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            assert key != "untouched"
            return super().get(key, default)

    result = {**measured("chat"), "item": {"service": "chat", "base_url": "u"}, "ansible_loop_var": "item", "changed": False}
    variables = Variables(
        inventory_hostname="gpu1",
        untouched=None,
        __load_check_from_host={"results": [result, {"skipped": True, "item": {"service": "x"}}]},
        __load_check_from_controller={"skipped": True},
    )
    assert rows_of(variables) == [{"host": "gpu1", **measured("chat")}]


def test_the_table() -> None:
    assert table(ROWS, None) == [
        "HOST  SERVICE  PARALLEL  REQUESTS/S  TOKENS/S         FIRST TOKEN       INTER-TOKEN               TOTAL  FAILED",
        "gpu1  chat            8       12.34    789.76  40.0 / 80.0 / 1200  1.2 / 2.5 / 37.5  500 / 1000 / 15000  none",
        "gpu1  other           8           -         -                   -                 -                   -  3 of 3",
    ]


def test_what_has_become_of_it() -> None:
    worse = {"host": "gpu1", **measured("chat", rate=6.17)}
    other = {"host": "gpu2", **measured("chat"), "parameters": {"parallel": 4}}
    rows = [worse, ROWS[1], other]
    comparisons = [compare(row, ROWS[0], 10) for row in rows]
    assert [line.split()[-1] for line in table(rows, comparisons)] == ["BASELINE", "worse", "failed", "comparable"]
    assert remarks(rows, comparisons) == [
        "gpu1 chat: requests/s 12.34 → 6.17 (-50 %), worse",
        "gpu1 chat: tokens/s 789.76 → 394.88 (-50 %), worse",
        "gpu1 other: 3 × timeout: not answered within 60 s",
        "gpu2 chat: not comparable with the baseline, parallel was 8 and is 4",
    ]
    assert failure(rows, comparisons, on_worse=False).splitlines() == [
        "gpu1 other (http://127.0.0.1:8080): all 3 requests failed, timeout: not answered within 60 s"
    ]
    assert failure(rows, comparisons, on_worse=True).splitlines()[0] == (
        "gpu1 chat (http://127.0.0.1:8080) is worse than its baseline: "
        "requests/s 12.34 → 6.17 (-50 %), worse; tokens/s 789.76 → 394.88 (-50 %), worse"
    )
    assert failure(rows[:1], comparisons[:1], on_worse=False) == ""
