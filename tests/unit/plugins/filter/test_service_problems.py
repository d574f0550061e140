# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.filter.service_problems import FilterModule

service_problems = FilterModule().filters()["service_problems"]
SERVICE = {"name": "chat", "model": {"file": "/srv/models/chat.gguf"}, "port": 8080, "options": {"mlock": True}}


def test_the_entries_are_plain_data() -> None:
    entry = {
        "code": "option_removed",
        "severity": "error",
        "message": "chat: options.mlock: llama-server no longer has --mlock",
        "remedy": "Use load_mode: mmap+mlock (or load_mode: mlock, to lock it without mapping the file)",
    }
    assert service_problems([SERVICE]) == [entry]


def test_codes_can_be_left_out() -> None:
    assert service_problems([SERVICE], ignore=["option_removed"]) == []
    assert len(service_problems([SERVICE], ["no_api_key"])) == 1


@pytest.mark.parametrize("services", [None, SERVICE, "chat"])
def test_what_is_no_list_is_refused(services: object) -> None:
    with pytest.raises(AnsibleFilterError, match="has to be a list"):
        service_problems(services)


VLLM = {
    "name": "mistral",
    "engine": "vllm",
    "manager": "compose",
    "image": "vllm/vllm-openai:v0.33.0",
    "model": {"file": "/srv/models/mistral"},
    "gpus": [0],
    "port": 8000,
}


def test_each_engine_has_its_own_rules() -> None:
    (problem,) = service_problems([{**VLLM, "options": {"calculate_kv_scales": True}}])
    assert problem["severity"] == "error" and problem["message"].startswith("mistral: options.calculate_kv_scales")
    assert service_problems([{**VLLM, "options": {"max_model_len": 8192}}]) == []


def test_engines_that_share_a_gpu_are_weighed_together() -> None:
    greedy = {**VLLM, "options": {"gpu_memory_utilization": 0.9}}
    assert [problem["code"] for problem in service_problems([greedy, {**greedy, "name": "other", "port": 8001}])] == [
        "gpu_shares_exceed_one"
    ]
