# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_failures import telling

ENGINE = "(EngineCore pid=92) ERROR 11-27 06:31:22 [core.py:1193] "


# As vLLM 0.33.0 would say it, by its sources; the first is what its parser printed.
@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("vllm serve: error: unrecognized arguments: --calculate-kv-scales true", "This vLLM has no such option"),
        (
            "vllm serve: error: argument --dtype: invalid choice: 'fp8' (choose from auto, half, float16, bfloat16, float, float32)",
            "Correct that value in options",
        ),
        (
            ENGINE + "ValueError: Free memory on device cuda:0 (9.87/21.99 GiB) on startup is less than desired GPU memory utilization "
            "(0.92, 20.23 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            "lower gpu_memory_utilization from 0.92 to 0.44",
        ),
        (
            ENGINE
            + "AssertionError: Error in memory profiling. Initial free memory 10.1 GiB, current free memory 20.2 GiB. This happens when",
            "start the services of one GPU one after the other",
        ),
        (
            ENGINE
            + "ValueError: To serve at least one request with the model's max seq len (32768), (4.0 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (3.1 GiB). Based on the available memory, the estimated maximum model length is 25376. "
            "Try increasing",
            "Set max_model_len: 25376 or less",
        ),
        (
            ENGINE
            + "ValueError: To serve at least one request with the model's max seq len (32768), (4.0 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (0.0 GiB). Try increasing",
            "Raise gpu_memory_utilization, or take a smaller",
        ),
        (
            ENGINE + "ValueError: No available memory for the cache blocks. Try increasing",
            "Raise gpu_memory_utilization, or take a smaller",
        ),
        (
            (
                "(APIServer pid=1)   Value error, User-specified max_model_len (65536) is greater than the derived max_model_len "
                "(max_position_embeddings=32768 or model_max_length=None in model's config.json)."
            ),
            "Set max_model_len: 32768 or less",
        ),
        (
            ENGINE
            + "ValueError: FP8 KV cache is not supported by the Triton attention backend on NVIDIA A10 (compute capability 8.6); native "
            "FP8 (fp8e4nv) requires SM89+. Re-run with --kv-cache-dtype bfloat16.",
            "take kv_cache_dtype out of options",
        ),
        (
            (
                "(APIServer pid=1)   Value error, Quantization method specified in the model config (compressed-tensors) does not match the "
                "quantization method specified in the `quantization` argument (awq)."
            ),
            "Take quantization out of options",
        ),
        (
            "(APIServer pid=1) OSError: Invalid repository ID or local directory specified: '/srv/models/x'.",
            "See whether the model is in the",
        ),
        ("(APIServer pid=1) RuntimeError: Failed to infer device type, please set", "The container sees no GPU"),
        (ENGINE + "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).", "take an image for an older CUDA"),
        (ENGINE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB.", "Lower gpu_memory_utilization"),
        (ENGINE + "OSError: [Errno 28] No space left on device", "Raise resources.shm_size"),
    ],
)
def test_known_failures(line: str, remedy: str) -> None:
    told = telling(["INFO something else", line, "(APIServer pid=1) RuntimeError: Engine core initialization failed."])
    assert remedy in told
    assert ". Its log says: " in told and "pid=" not in told


def test_the_cause_comes_before_what_follows_from_it() -> None:
    lines = [
        ENGINE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB.",
        ENGINE
        + "ValueError: Free memory on device cuda:0 (1.5/22 GiB) on startup is less than desired GPU memory utilization (0.9, 19.8 GiB).",
    ]
    assert telling(lines).startswith("Another process holds memory")


def test_a_log_that_tells_of_nothing_known() -> None:
    assert telling([]) == telling(["(APIServer pid=1) INFO: Application startup complete."]) == ""


def test_a_long_line_is_cut() -> None:
    assert len(telling([f"vllm serve: error: unrecognized arguments: {'--x ' * 500}"])) < 600
