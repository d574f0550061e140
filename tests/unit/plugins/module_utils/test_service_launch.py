# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import parse_help
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import Device
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import expectation, launch_of
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import RECORDED

FLAGS = parse_help(Path(RECORDED, "llama_server", "help.txt").read_text("utf-8"))
A10 = Device("GPU-5f0c", "GPU-5f0c", "NVIDIA A10", 0)
UNKNOWN = Device(None, None, "NVIDIA GPU", 1)


def service(**more: Any) -> Service:
    parsed, problems = parse({"name": "chat", "model": {"file": "/m.gguf"}, "port": 8080, **more})
    assert parsed is not None and problems == []
    return parsed


@pytest.mark.parametrize(
    ("binary", "release"),
    [
        ("/opt/llama.cpp/releases/0a1b/bin/llama-server", "/opt/llama.cpp/releases/0a1b"),
        ("/usr/local/sbin/llama-server", "/usr/local/sbin"),
    ],
)
def test_what_is_to_be_run(binary: str, release: str) -> None:
    chat = service(options={"load_mode": "mlock"})
    launch = launch_of(chat, binary, [["--host", "0.0.0.0"], ["--port", "8080"]], None, model_version="7@1")
    assert (launch.release, launch.command) == (release, [[binary], ["--host", "0.0.0.0"], ["--port", "8080"]])
    assert (launch.base_url, launch.locks_memory, launch.model_version) == ("http://127.0.0.1:8080", True, "7@1")


@pytest.mark.parametrize(
    ("more", "gpus", "trained", "expected"),
    [
        (
            {"options": {"ctx_size": 1024, "parallel": 2}},
            None,
            4096,
            {"alias": "chat", "n_ctx": 512, "slots": 2, "listen": ["127.0.0.1:8080"], "gpus": [], "gpu_layers": None},
        ),
        (
            {"options": {"alias": "b,a", "n_gpu_layers": 20}, "gpus": [0, 1], "host": "::1"},
            GpuAccess((A10, UNKNOWN)),  # of a GPU without a driver nobody knows the UUID
            None,
            {"alias": "a", "n_ctx": None, "slots": 4, "listen": ["[::1]:8080"], "gpus": ["GPU-5f0c"], "gpu_layers": "20"},
        ),
    ],
)
def test_what_can_be_expected(more: dict[str, Any], gpus: GpuAccess | None, trained: int | None, expected: dict[str, object]) -> None:
    assert expectation(service(**more), FLAGS, trained, gpus) == expected
