# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._service import parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_url import base_url

LLAMA = {"engine": "llama_server", "model": {"file": "/m.gguf"}}
VLLM = {"engine": "vllm", "manager": "compose", "image": "vllm/vllm-openai:v0.33.0", "model": {"repo_id": "o/n"}}


@pytest.mark.parametrize(
    ("service", "on_the_host", "from_elsewhere"),
    [
        ({**LLAMA}, "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ({**LLAMA, "host": "0.0.0.0"}, "http://127.0.0.1:8080", "http://gpu1:8080"),
        ({**LLAMA, "host": "::"}, "http://[::1]:8080", "http://gpu1:8080"),
        ({**LLAMA, "host": "10.0.0.5,127.0.0.1"}, "http://10.0.0.5:8080", "http://10.0.0.5:8080"),
        ({**LLAMA, "host": "0.0.0.0", "options": {"api_prefix": "/llm/"}}, "http://127.0.0.1:8080/llm", "http://gpu1:8080/llm"),
        ({**LLAMA, "options": {"ssl_cert_file": "/c", "ssl_key_file": "/k"}}, "https://127.0.0.1:8080", "https://127.0.0.1:8080"),
        ({**VLLM, "host": "0.0.0.0", "options": {"root_path": "/x"}}, "http://127.0.0.1:8080", "http://gpu1:8080"),
        ({**VLLM, "host": "0.0.0.0", "options": {"ssl_certfile": "/c"}}, "https://127.0.0.1:8080", "https://gpu1:8080"),
    ],
)
def test_where_a_service_is_reached(service: dict[str, Any], on_the_host: str, from_elsewhere: str) -> None:
    parsed, _problems = parse({"name": "chat", "port": 8080, **service})
    assert parsed is not None
    assert (base_url(parsed), base_url(parsed, "gpu1")) == (on_the_host, from_elsewhere)
    assert parsed.only_local == ("gpu1" not in from_elsewhere and "10." not in from_elsewhere)
