# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan gathers about hosts of three classes, as the module plan_report takes it."""

from __future__ import annotations

import typing as t

MODELS = "/var/lib/inference/models"


def share(memory: float | None, *figures: float | None, **more: t.Any) -> dict[str, t.Any]:
    """A GPU in the result of memory_plan, less its label."""
    names = ("weights_mib", "mmproj_mib", "kv_cache_mib", "compute_mib", "overhead_mib")
    return {"memory_mib": memory, **dict(zip(names, figures, strict=True)), **more}


def plan(*gpus: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    """What memory_plan returns, as far as it is shown."""
    return {
        "gpus": list(gpus),
        "host": None,
        "kv_bytes_per_token": None,
        "tokens_per_slot": None,
        "slots": None,
        "capacity": None,
        "estimates": [],
        "calibrated": False,
        "problems": [],
        "suggestions": [],
        **more,
    }


def problem(code: str, severity: str, message: str, remedy: str, service: str | None = None) -> dict[str, t.Any]:
    return {"code": code, "severity": severity, "message": message, "remedy": remedy, "service": service}


def a10(number: int = 1, free_bytes: int | None = 412 * 10**9) -> dict[str, t.Any]:
    """Qwen2-VL 7B in 4 bits, eight slots of 4096 tokens, on a fresh host: it fits."""
    return {
        "host": f"a10-{number}",
        "groups": ["a10"],
        "memory_mib": 128 * 1024,
        "gpus": [{"index": 0, "name": "NVIDIA A10", "memory_mib": 23028, "uuid": None, "compute_capability": "8.6", "pci_id": "10de:2236"}],
        "driver": {"installed_version": None, "wanted_version": "580.126.09", "kernel_module": "open", "min": "580.65.06"},
        "toolkit": {"version": "13.0.3", "min": "11.1", "max": "13.4", "architectures": ["86-real"]},
        "models": [
            {
                "repo_id": "ggml-org/Qwen2-VL-7B-Instruct-GGUF",
                "revision": "5b2e5b1ccf7d0c0e6a0f9e1a9dc1b8f2a4c3d6e7",
                "files": [
                    {"path": "Qwen2-VL-7B-Instruct-Q4_K_M.gguf", "size": 4683072672, "present": False},
                    {"path": "mmproj-Qwen2-VL-7B-Instruct-f16.gguf", "size": 1354163040, "present": False},
                ],
                "missing_bytes": 6037235712,
                "directory": MODELS,
                "free_bytes": free_bytes,
            }
        ],
        "services": [
            {
                "name": "qwen2-vl",
                "engine": "llama_server",
                "port": 8008,
                "gpus": ["0"],
                "fits": True,
                "plan": plan(
                    share(23028, 4461, 1668, 1792, 174, 994, gpu="GPU 0 (NVIDIA A10)"),
                    host={"weights_mib": 416, "mmproj_mib": 0, "kv_cache_mib": 0, "compute_mib": 24, "prompt_cache_mib": 8192},
                    kv_bytes_per_token=57344,
                    tokens_per_slot=4096,
                    slots=8,
                    estimates=[
                        {"figure": "gpus[0].compute_mib", "low_mib": 148, "high_mib": 201, "basis": "from the widths of the model"},
                        {"figure": "gpus[0].overhead_mib", "low_mib": 944, "high_mib": 994, "basis": "CUDA contexts as they were seen"},
                    ],
                ),
            }
        ],
        "problems": [],
    }


def rtx5090() -> dict[str, t.Any]:
    """Qwen3-VL 30B-A3B in 4 bits, with its figures measured: it fits, and there is a thing to say."""
    return {
        "host": "rtx5090-1",
        "groups": ["rtx5090"],
        "gpus": [
            {
                "index": 0,
                "name": "NVIDIA GeForce RTX 5090",
                "memory_mib": 32607,
                "uuid": "GPU-8b89b58e-b427-108d-ac50-06138d78fe78",
                "compute_capability": "12.0",
            }
        ],
        "driver": {"installed_version": "580.126.09", "wanted_version": "580.126.09", "kernel_module": "open", "min": "570.26"},
        "toolkit": {"version": "13.0.3", "min": "12.8", "max": "13.4", "architectures": ["120a-real"]},
        "models": [
            {
                "repo_id": "Qwen/Qwen3-VL-30B-A3B-Instruct-GGUF",
                "revision": "0f1d2c3b4a59687786950a1b2c3d4e5f60718293",
                "files": [
                    {"path": "Qwen3VL-30B-A3B-Instruct-Q4_K_M.gguf", "size": 18556686912, "present": True},
                    {"path": "mmproj-Qwen3VL-30B-A3B-Instruct-F16.gguf", "size": 1083499584, "present": True},
                ],
                "missing_bytes": 0,
                "directory": MODELS,
                "free_bytes": 902 * 10**9,
            }
        ],
        "services": [
            {
                "name": "qwen3-vl-30b",
                "engine": "llama_server",
                "port": 8000,
                "gpus": ["GPU-8b89b58e-b427-108d-ac50-06138d78fe78"],
                "fits": True,
                "plan": plan(
                    share(32607, 17528, 1521, 768, 492, 1313),
                    kv_bytes_per_token=98304,
                    tokens_per_slot=8192,
                    slots=4,
                    calibrated=True,
                    problems=[
                        {
                            "code": "image_may_fill_slot",
                            "severity": "warning",
                            "message": "options.image_max_tokens is 4096, half of the 8192 tokens that four slots share",
                            "remedy": "Set ctx_size to 32768, or image_max_tokens to 2048",
                        }
                    ],
                ),
            }
        ],
        "problems": [],
    }


def vllm() -> dict[str, t.Any]:
    """vLLM takes nine tenths of a GPU that another service shares, with a driver that is too old; a second GPU idles."""
    return {
        "host": "vllm-1.example.org",
        "groups": ["vllm", "rtx4090"],
        "gpus": [
            {"index": index, "name": "NVIDIA GeForce RTX 4090", "memory_mib": 24564, "uuid": f"GPU-{index}", "compute_capability": "8.9"}
            for index in (0, 1)
        ],
        "driver": {"installed_version": "535.183.01", "wanted_version": "580.126.09", "kernel_module": "proprietary", "min": "570.26"},
        "toolkit": {"version": None, "min": "11.8", "max": "13.4", "architectures": []},
        "models": [
            {
                "repo_id": "TheBloke/Mistral-7B-Instruct-v0.2-AWQ",
                "revision": "f970a2bb89d5c2f9d217dc4ea4ee4a5a3f1f3ab6",
                "files": [
                    {"path": "model.safetensors", "size": 4150880208, "present": False},
                    {"path": "tokenizer.json", "size": None, "present": False},
                ],
                "missing_bytes": None,
                "directory": "/srv/hub",
                "free_bytes": 2 * 10**9,
            }
        ],
        "services": [
            {
                "name": "mistral-7b",
                "engine": "vllm",
                "port": 8001,
                "gpus": ["0"],
                "fits": True,
                "plan": plan(
                    share(24564, 3959, 0, 16650, 904, 992, driver_mib=496, claim_mib=22111),
                    kv_bytes_per_token=131072,
                    tokens_per_slot=32768,
                    slots=256,
                    capacity={
                        "kv_cache_tokens": 133200,
                        "kv_cache_tokens_low": 124880,
                        "kv_cache_tokens_high": 138640,
                        "sequences_of_full_length": 4.07,
                    },
                ),
            },
            {
                "name": "qwen3-4b",
                "engine": "llama_server",
                "port": 8002,
                "gpus": ["0"],
                "fits": True,
                "plan": plan(
                    share(24564, 2382, 0, 2304, 301, 996, driver_mib=496, claim_mib=0),
                    kv_bytes_per_token=147456,
                    tokens_per_slot=16384,
                    slots=1,
                    suggestions=[
                        {
                            "code": "quantised_cache",
                            "message": "Keep keys and values as q8_0 (hardly worse, all slots as they are)",
                            "options": {"cache_type_k": "q8_0", "cache_type_v": "q8_0"},
                            "file": None,
                            "free_mib": 19661,
                        }
                    ],
                ),
            },
        ],
        "problems": [
            problem(
                "driver_too_old",
                "error",
                "NVIDIA driver 535.183.01 is older than the 570.26 that CUDA 12.8 in the image needs",
                "Set nvidia_driver_version to 580.126.09 and run playbooks/driver_upgrade.yml",
            ),
        ],
    }


def unknown_model() -> dict[str, t.Any]:
    """A model of an architecture that the planner does not know: its weights are, the rest is not."""
    return {
        "host": "lab",
        "groups": ["lab"],
        "gpus": [{"index": 0, "name": "NVIDIA L4", "memory_mib": 23034, "uuid": None, "compute_capability": "8.9"}],
        "driver": {"installed_version": "580.126.09", "wanted_version": None, "kernel_module": "open", "min": None},
        "toolkit": None,
        "models": [{"repo_id": None, "revision": None, "files": [], "missing_bytes": None, "directory": None, "free_bytes": None}],
        "services": [
            {
                "name": "novel",
                "engine": "llama_server",
                "port": 8080,
                "gpus": ["0"],
                "fits": None,
                "plan": plan(share(23034, 9216, 0, None, None, 996)),
            }
        ],
        "problems": [
            problem(
                "architecture_unknown",
                "warning",
                "The architecture 'novelnet' is not known: only the weights are planned",
                "Start it once and look at what it takes with nvidia-smi",
                "novel",
            )
        ],
    }


def hostile(
    text: str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}&lt;\x00\x1b[31m\u202e" + "x" * 300,
) -> dict[str, t.Any]:
    """A host of which every text is this one."""

    def replaced(value: t.Any) -> t.Any:
        if isinstance(value, dict):
            return {key: each if key == "severity" else replaced(each) for key, each in value.items()}
        if isinstance(value, list):
            return [replaced(each) for each in value]
        return text if isinstance(value, str) else value

    entry: dict[str, t.Any] = replaced(vllm())
    return entry


def fleet() -> list[dict[str, t.Any]]:
    """Five hosts of these classes, of which two are alike."""
    return [a10(1), a10(2, 380 * 10**9), rtx5090(), vllm(), unknown_model()]
