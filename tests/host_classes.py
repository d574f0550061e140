# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host classes of inventories/example promise, word for word, for the tests that compute it and those that run it."""

from __future__ import annotations

import dataclasses
import typing as t

TINY = "/var/lib/inference/models/host-class-tiny.gguf"


@dataclasses.dataclass(frozen=True)
class HostClass:
    host: str
    gpu: str
    """As nvidia-smi names it."""
    card: str
    """As `range gpus` names it."""
    architecture: str
    service: str
    repository: str
    """Of the hub; the files in it are the next two."""
    model: str
    projector: str
    port: int
    key: str
    """The vault variable of the API key."""
    flags: t.Mapping[str, str | None]
    """What llama-server runs with besides the model, the key file and the alias; None for a switch."""
    unit: t.Mapping[str, str]
    """Settings of the unit that the class decides."""
    slots: int
    tokens: int
    """What a single request may have."""
    trained_tokens: int
    """The context length of the model."""
    without_gpu: t.Mapping[str, t.Any]
    """All that a CPU host with a tiny model has to override."""


A10 = HostClass(
    host="a10-1",
    gpu="NVIDIA A10",
    card="a10",
    architecture="86-real",
    service="qwen2-vl",
    repository="ggml-org/Qwen2-VL-7B-Instruct-GGUF",
    model="Qwen2-VL-7B-Instruct-Q4_K_M.gguf",
    projector="mmproj-Qwen2-VL-7B-Instruct-f16.gguf",
    port=8008,
    key="vault_qwen2_vl_api_key",
    flags={
        "--host": "0.0.0.0",
        "--port": "8008",
        "--ctx-size": "32768",
        "--parallel": "8",
        "--batch-size": "2048",
        "--ubatch-size": "512",
        "--threads": "24",
        "--n-gpu-layers": "all",
        "--flash-attn": "on",
        "--cache-type-k": "f16",
        "--cache-type-v": "f16",
        "--cont-batching": None,
        "--load-mode": "mmap+mlock",
        "--metrics": None,
        "--image-min-tokens": "1024",
        "--image-max-tokens": "3072",
    },
    unit={"CPUQuota": "3200%", "MemoryMax": str(128 * 2**30), "LimitMEMLOCK": "infinity", "Environment": "CUDA_LAUNCH_BLOCKING=0"},
    slots=8,
    tokens=4096,
    trained_tokens=32768,
    without_gpu={"llama_cpp_backend": "cpu", "a10_gpus": [], "a10_model": {"file": TINY}},
)

RTX5090 = HostClass(
    host="rtx5090-1",
    gpu="NVIDIA GeForce RTX 5090",
    card="rtx5090",
    architecture="120a-real",
    service="qwen3-vl-30b",
    repository="Qwen/Qwen3-VL-30B-A3B-Instruct-GGUF",
    model="Qwen3VL-30B-A3B-Instruct-Q4_K_M.gguf",
    projector="mmproj-Qwen3VL-30B-A3B-Instruct-F16.gguf",
    port=8000,
    key="vault_qwen3_vl_api_key",
    flags={
        "--host": "0.0.0.0",
        "--port": "8000",
        "--ctx-size": "8192",
        "--parallel": "4",
        "--kv-unified": None,
        "--n-gpu-layers": "all",
        "--flash-attn": "on",
        "--cont-batching": None,
        "--jinja": None,
        "--metrics": None,
        "--image-min-tokens": "1024",
        "--image-max-tokens": "4096",
    },
    unit={},
    slots=4,
    tokens=8192,
    trained_tokens=262144,
    without_gpu={"llama_cpp_backend": "cpu", "rtx5090_gpus": [], "rtx5090_model": {"file": TINY}},
)

HOST_CLASSES = (A10, RTX5090)


def read_flags(argv: t.Sequence[str]) -> dict[str, str | None]:
    """The arguments of llama-server by flag; None for a switch."""
    flags: dict[str, str | None] = {}
    for word, following in zip(argv, [*argv[1:], "--"], strict=True):
        if word.startswith("--"):
            assert word not in flags, f"{word} is given twice"
            flags[word] = None if following.startswith("--") else following
    return flags
