# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.plugin_utils._summary import rows_of, table

WRITTEN = {
    "item": "chat",
    "unit": "inference-chat.service",
    "changed": True,
    "enabled": True,
    "restart_required": True,
    "daemon_reload_required": True,
    "base_url": "http://127.0.0.1:8080",
    "expect": {"alias": "chat", "n_ctx": 1024, "slots": 2, "listen": ["0.0.0.0:8080"]},
}
PROVEN = {"item": WRITTEN, "server": {"alias": "chat"}, "timings": {"tokens_per_second": 93.4}}


def host(**changes: Any) -> dict[str, Any]:
    return {
        "inventory_hostname": "gpu1",
        "ansible_host": "10.1.2.3",
        "__llama_cpp_build": {"changed": True, "build_key": "4be1c04d5e3c7f6a9b21"},
        "__inference_written": {"results": [WRITTEN]},
        "__inference_started": {"enabled": [], "started": [], "restarted": ["inference-chat.service"]},
        "__inference_probed": {"results": [PROVEN]},
        **changes,
    }


def test_a_row_tells_what_was_done() -> None:
    assert rows_of(host()) == [
        {
            "host": "gpu1",
            "service": "chat",
            "url": "http://10.1.2.3:8080",
            "model": "chat",
            "release": "4be1c04d5e3c",
            "tokens_per_second": 93.4,
            "changed": ["release", "configuration", "restarted"],
        }
    ]


@pytest.mark.parametrize(
    ("written", "release", "changed"),
    [
        ({"release": "/opt/llama.cpp/releases/4be1c04d5e3c7f6a9b21", "restart_required": True}, "4be1c04d5e3c", ["release", "container"]),
        ({"release": "vllm/vllm-openai:v0.33.0", "restart_required": True, "changed": True}, "v0.33.0", ["configuration", "container"]),
        ({"release": "vllm/vllm-openai:v0.33.0", "restart_required": False}, "v0.33.0", []),
        ({"release": "vllm/vllm-openai@sha256:" + "0d" * 32, "restart_required": False}, "0d0d0d0d0d0d", []),
        ({"release": "vllm/vllm-openai", "restart_required": False}, "latest", []),
    ],
)
def test_a_row_of_a_container(written: dict[str, Any], release: str, changed: list[str]) -> None:
    container = {**WRITTEN, "changed": False, "project": "inference-chat", **written}
    del container["unit"]
    proven = {**PROVEN, "item": container}
    (row,) = rows_of(host(__inference_written={"results": [container]}, __inference_probed={"results": [proven]}))
    assert (row["release"], row["changed"], row["tokens_per_second"]) == (release, changed, 93.4)


def test_in_check_mode_nothing_is_proven_and_the_release_may_be_unknown() -> None:
    skipped = {"item": WRITTEN, "skipped": True, "changed": False}
    (row,) = rows_of(host(__llama_cpp_build={"changed": True, "build_key": None}, __inference_probed={"results": [skipped]}))
    assert (row["model"], row["release"], row["tokens_per_second"]) == ("chat", "", None)


def test_the_result_of_an_earlier_build_is_not_this_runs() -> None:
    (row,) = rows_of(host(__llama_cpp_plan={"due": False, "build_key": "9f0c2b7714de5a3388b0"}))
    assert (row["release"], row["changed"]) == ("9f0c2b7714de", ["configuration", "restarted"])
    (row,) = rows_of(host(__llama_cpp_plan={"due": True, "build_key": None}))
    assert (row["release"], row["changed"][0]) == ("4be1c04d5e3c", "release")


@pytest.mark.parametrize("variables", [{"inventory_hostname": "gpu1"}, host(__inference_written={"skipped": True, "changed": False})])
def test_a_host_where_the_roles_did_not_run_has_no_row(variables: dict[str, Any]) -> None:
    assert rows_of(variables) == []


@pytest.mark.parametrize(
    ("changes", "expect", "url"),
    [
        ({}, {"listen": ["127.0.0.1:8080"]}, "http://127.0.0.1:8080"),
        ({}, {"listen": ["[::]:8080"]}, "http://10.1.2.3:8080"),
        ({}, {}, "http://127.0.0.1:8080"),
        ({"ansible_host": "fd00::1"}, {"listen": ["0.0.0.0:8080"]}, "http://[fd00::1]:8080"),
        ({}, {"listen": ["gpu1.lan:8080"]}, "http://gpu1.lan:8080"),
    ],
)
def test_the_url_is_the_one_that_others_use(changes: dict[str, Any], expect: dict[str, Any], url: str) -> None:
    (row,) = rows_of(host(**changes, __inference_written={"results": [{**WRITTEN, "expect": expect}]}, __inference_probed={"results": []}))
    assert row["url"] == url


def test_the_url_holds_the_prefix_of_the_service() -> None:
    written = {**WRITTEN, "base_url": "https://127.0.0.1:8080/llm"}
    assert rows_of(host(__inference_written={"results": [written]}))[0]["url"] == "https://10.1.2.3:8080/llm"


def test_a_host_without_an_address_of_its_own_is_reached_by_its_name() -> None:
    variables = host()
    del variables["ansible_host"]
    assert rows_of(variables)[0]["url"] == "http://gpu1:8080"


def test_the_table() -> None:
    quiet = {**rows_of(host())[0], "host": "a-longer-name", "model": "", "release": "", "tokens_per_second": None, "changed": []}
    assert table([*rows_of(host()), quiet], check_mode=False) == [
        "HOST           SERVICE  URL                   MODEL  RELEASE       TOKENS/S  CHANGED",
        "gpu1           chat     http://10.1.2.3:8080  chat   4be1c04d5e3c      93.4  release, configuration, restarted",
        "a-longer-name  chat     http://10.1.2.3:8080  -      -                    -  nothing",
    ]
    assert table([], check_mode=True)[0].endswith("WOULD CHANGE")
