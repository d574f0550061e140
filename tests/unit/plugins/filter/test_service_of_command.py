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


@pytest.mark.parametrize("command", [["docker"], None, "docker run 'x", "docker run --cpus many vllm/vllm-openai /m"])
def test_what_is_no_command_is_refused(command: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="service_of_command: "):
        service_of_command(command)
