# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.filter.service_of_command import service_of_command

COMMAND = """\
docker run -d --name chat --gpus '"device=0"' -p 127.0.0.1:8000:8000 -v /opt/models:/models \\
  vllm/vllm-openai:v0.33.0 \\
  /models/mistral --max-model-len 32k --calculate-kv-scales true
"""


def test_a_command_becomes_a_service_and_what_is_wrong_with_it() -> None:
    answer = service_of_command(COMMAND)
    assert answer["service"] == {
        "name": "chat",
        "engine": "vllm",
        "manager": "compose",
        "model": {"file": "/opt/models/mistral"},
        "gpus": ["0"],
        "host": "127.0.0.1",
        "port": 8000,
        "image": "vllm/vllm-openai:v0.33.0",
        "resources": {},
        "options": {"max_model_len": "32k", "calculate_kv_scales": True},
    }
    assert [problem["code"] for problem in answer["problems"]] == ["option_removed"]


def test_what_the_command_does_not_say_is_told() -> None:
    codes = [problem["code"] for problem in service_of_command("vllm/vllm-openai:v0.33.0 /m")["problems"]]
    assert codes == ["name_invalid", "missing_key", "gpus_needed"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--cpus many", "resources.cpus"),
        ("--ulimit memlock=much", "resources.ulimits.memlock"),
        ("--memory 32x", "docker's --memory 32x is no size"),
        ("-p 8000", "docker's -p 8000 publishes another port than the server's own; here both are 8000"),
        ("-p web:8000", "port"),
        ("-p [::1]:8000:8000/tcp", ""),
    ],
)
def test_a_value_that_is_none_is_told_like_everything_else(option: str, said: str) -> None:
    rest = "--name chat --gpus '\"device=0\"'" + ("" if option.startswith("-p") else " -p 127.0.0.1:8000:8000")
    answer = service_of_command(f"docker run {rest} {option} vllm/vllm-openai:v0.33.0 /m")
    messages = [problem["message"] for problem in answer["problems"] if problem["code"] != "no_api_key"]
    assert said in messages[0] if said else not messages, messages
    assert answer["service"]["port"] in (8000, "web")


@pytest.mark.parametrize(
    ("command", "said"), [(["docker"], "has to be a text"), (None, "has to be a text"), ("docker run 'x", "a shell could not read")]
)
def test_what_is_no_command_is_refused(command: Any, said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"service_of_command: .*{said}"):
        service_of_command(command)
