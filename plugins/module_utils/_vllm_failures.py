# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why vLLM does not start, as its log tells, and what to do then.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

_LONGEST = 300  # characters of a line that are told


class _Failure(NamedTuple):
    pattern: str
    remedy: str | Callable[[re.Match[str]], str]
    source: str
    """The file of vLLM 0.33.0 that says it, or who else does."""


def _share_that_is_free(match: re.Match[str]) -> str:
    free, total, share = float(match["free"]), float(match["total"]), match["share"]
    fits = int(free / total * 100) / 100 if total else 0
    return (
        f"Another process holds memory of that GPU (`nvidia-smi` names it): end it, start the services one after the other, "
        f"or lower gpu_memory_utilization from {share} to {fits:g}"
    )


# The first that is found counts: what is said of the cause comes before what follows from it.
_KNOWN = (
    _Failure(
        r"error: unrecognized arguments: (?P<which>.+)",
        "This vLLM has no such option: take it out of options, or write its new name, as `vllm serve --help=all` in that image lists them",
        "utils/argparse_utils.py",
    ),
    _Failure(
        r"error: argument (?P<which>.+)",
        "Correct that value in options",
        "argparse of Python",
    ),
    _Failure(
        r"Free memory on device \S+ \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired GPU memory utilization "
        r"\((?P<share>[\d.]+)",
        _share_that_is_free,
        "v1/worker/utils.py",
    ),
    _Failure(
        r"Error in memory profiling\. Initial free memory",
        "Another process gave memory of that GPU back while vLLM measured it: start the services of one GPU one after the other",
        "v1/worker/gpu_worker.py",
    ),
    _Failure(
        r"the estimated maximum model length is (?P<tokens>\d+)",
        lambda match: (
            f"Set max_model_len: {match['tokens']} or less, raise gpu_memory_utilization, or keep the cache in fewer bits (kv_cache_dtype)"
        ),
        "v1/core/kv_cache_planning.py",
    ),
    _Failure(
        r"which is larger than the available KV cache memory|No available memory for the cache blocks",
        "Raise gpu_memory_utilization, or take a smaller quantisation of the model, or more GPUs with tensor_parallel_size",
        "v1/core/kv_cache_planning.py",
    ),
    _Failure(
        r"User-specified max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len \(\w+=(?P<trained>[\d.]+)",
        lambda match: f"Set max_model_len: {match['trained']} or less: the model was not trained for more",
        "config/model.py",
    ),
    _Failure(
        r"requires SM89\+|needs native fp8e4nv \(SM89\+\)",
        "This GPU keeps no fp8 cache without FlashInfer: take kv_cache_dtype out of options, or an image that has FlashInfer",
        "v1/attention/backends/triton_attn.py",
    ),
    _Failure(
        r"Quantization method specified in the model config \([\w-]+\) does not match",
        "Take quantization out of options: vLLM reads it from the model",
        "config/model.py",
    ),
    _Failure(
        r"Invalid repository ID or local directory specified",
        "See whether the model is in the mounted hub cache, all of its files, and readable for the container's user",
        "transformers_utils/config.py",
    ),
    _Failure(
        r"Failed to infer device type|Found no NVIDIA driver on your system|No CUDA GPUs are available",
        "The container sees no GPU: see that gpus names one, and with `nvidia-ctk cdi list` that the CDI specification has it",
        "config/device.py, and torch/cuda",
    ),
    _Failure(
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        "The image's CUDA is newer than the driver: install a newer driver, or take an image for an older CUDA (such as -cu129)",
        "torch/cuda",
    ),
    _Failure(
        r"no kernel image is available for execution on the device",
        "The image was not compiled for this GPU: take another image",
        "CUDA",
    ),
    _Failure(
        r"CUDA out of memory",
        "Lower gpu_memory_utilization, max_num_seqs or max_num_batched_tokens, or free memory of that GPU",
        "torch/cuda",
    ),
    _Failure(
        r"No space left on device",
        "Raise resources.shm_size (at least kv_offloading_size on top of what its processes share), or free the disk of its caches",
        "Linux",
    ),
)


def telling(log: Sequence[str]) -> str:
    """What to do about the trouble that the log tells of, with the line that does; nothing where it tells of none that is known."""
    for known in _KNOWN:
        for line in log:
            match = re.search(known.pattern, line)
            if match:
                remedy = known.remedy if isinstance(known.remedy, str) else known.remedy(match)
                return f"{remedy}. Its log says: {line[match.start() :].strip()[:_LONGEST]}"
    return ""
