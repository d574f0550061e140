# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a service of vLLM suits its host: the image's CUDA and the driver, the GPUs and the options, the model's files and the options.

Files are those of the vllm package 0.33.0, where this was read.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import find as find_toolkit
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version, show
from ansible_collections.baremetal.llm.plugins.module_utils._image import parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import devices, find
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import MISTRAL_TOKENIZERS
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_settings import Settings
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import numbers, release_of

_FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2")
_FP8_PER_TOKEN = "fp8_per_token_head"
_OTHER_CACHE = "Leave it out, or try int8_per_token_head, which Triton does not refuse there"

# Of GPUs, as (major, minor): what the image's kernels are compiled for at least, FlashInfer's floor, the first with bfloat16, with fp8.
_OLDEST_GPU = (7, 5)
_FLASHINFER = (8, 0)
_BFLOAT16 = (8, 0)
_NATIVE_FP8 = (8, 9)

# From this release on, the tag without a suffix is CUDA 13; the suffix of another is that of its CUDA, -cu129.
_CUDA_13_SINCE = (0, 20)
_CUDA = re.compile(r"-cu(\d{2})(\d+)(?:-|$)")


def host_problems(
    service: Service,
    *,
    gpus: Iterable[Mapping[str, Any]],
    driver_version: str | None,
    model_files: Iterable[str] | None,
) -> Iterator[Problem]:
    """What can be told once the host is known, as gpu_info describes its GPUs and its driver, and the names of the model's files.

    None is for what is not known.
    """
    settings = Settings(service.options)
    yield from _driver_problems(service.image, driver_version)
    there = devices(gpus := list(gpus))
    names = {device.gpu: gpu for device, gpu in zip((device for device in there if not device.is_mig), gpus, strict=True)}
    chosen = [device for wanted in service.gpus if (device := find(wanted, there))]
    for device in dict.fromkeys(chosen):
        capability = _capability(names.get(device.gpu, {}).get("compute_capability"))
        if capability is not None:
            yield from _gpu_problems(device.name, capability, settings)
    if model_files is not None:
        yield from _tokenizer_problems(settings, list(model_files))


def cuda_of(image: str | None) -> Version | None:
    """The CUDA of vLLM's own image, as far as its tag tells; the minor version is that of the suffix, else 0."""
    release = release_of(image)
    parsed = parse_image(image or "")
    if release is None or parsed is None or parsed.tag is None:
        return None
    if match := _CUDA.search(parsed.tag):
        return (int(match[1]), int(match[2]))
    return (13, 0) if numbers(release)[:2] >= _CUDA_13_SINCE else (12, 0)


def _driver_problems(image: str | None, driver_version: str | None) -> Iterator[Problem]:
    cuda, driver = cuda_of(image), _version(driver_version)
    if cuda is None or driver is None:
        return
    wanted = _oldest_driver(cuda[0])
    if wanted is None or driver >= wanted:
        return
    old = _oldest_driver(12)
    other = cuda[0] >= 13 and old is not None and driver >= old
    yield error(
        "image_needs_driver",
        f"image: {image} is built with CUDA {cuda[0]}, which needs the driver {show(wanted)} or newer; the host's is {driver_version}",
        f"Take the tag with -cu129 behind it, or install the driver {show(wanted)}" if other else f"Install the driver {show(wanted)}",
    )


def _oldest_driver(cuda: int) -> Version | None:
    """Of a major version of CUDA."""
    toolkit = find_toolkit((cuda, 0))
    return toolkit.min_driver if toolkit else None


def _gpu_problems(name: str, capability: Version, settings: Settings) -> Iterator[Problem]:
    shown = f"{name} (compute capability {show(capability)})"
    if capability < _OLDEST_GPU:
        # vLLM's installation guide: compute capability 7.5 or higher
        yield error(
            "gpu_too_old", f"vLLM's image has no kernels for {shown}", "Use a GPU of 7.5 (Turing) or newer, or engine: llama_server"
        )
        return
    yield from _cache_problems(shown, capability, settings)
    if settings.get("dtype") == "bfloat16" and capability < _BFLOAT16:
        # platforms/cuda.py, check_if_supports_dtype
        yield error("dtype_unsupported", f"options.dtype: bfloat16 is not possible on {shown}", "Use dtype: half")


def _cache_problems(shown: str, capability: Version, settings: Settings) -> Iterator[Problem]:
    kv_cache, backend = settings.get("kv_cache_dtype"), settings.get("attention_backend")
    if kv_cache not in (*_FP8, _FP8_PER_TOKEN) or capability >= _NATIVE_FP8:
        return
    where = f"options.kv_cache_dtype: {kv_cache}"
    # v1/attention/backends/triton_attn.py: "requires SM89+"; fa_utils.py, flash_attn_supports_kv_cache_dtype: 9.0 and 10.x only;
    # flashinfer.py, supports_compute_capability; platforms/cuda.py takes the first that can
    if kv_cache == _FP8_PER_TOKEN or capability < _FLASHINFER:
        yield error("fp8_cache_unsupported", f"{where} has no attention backend on {shown}", _OTHER_CACHE)
    elif str(backend or "FLASHINFER").upper() != "FLASHINFER":
        message = f"{where} is read by FlashInfer alone on {shown}, and options.attention_backend is {backend}"
        yield error("fp8_cache_unsupported", message, "Use attention_backend: FLASHINFER, or leave both out")
    else:
        yield warning(
            "fp8_cache_stored_only",
            f"{where} is only stored in 8 bits on {shown}, which computes in 16: it holds twice the tokens, and FlashInfer alone reads it",
            "Keep it for more tokens, not for speed; where vLLM ends with 'requires SM89+', leave it out",
        )


def _tokenizer_problems(settings: Settings, model_files: list[str]) -> Iterator[Problem]:
    if settings.get("tokenizer_mode") != "mistral" or settings.get("tokenizer") is not None:
        return
    if not any(fnmatch.fnmatchcase(file, pattern) for file in model_files for pattern in MISTRAL_TOKENIZERS):
        yield error(
            "tokenizer_files_missing",
            "options.tokenizer_mode: mistral needs tekken.json or tokenizer.model.v*, and the model has neither, as many quantised ones",
            "Leave it out: vLLM then takes what the model has",
        )


def _capability(text: object) -> Version | None:
    return _version(str(text)) if text is not None else None


def _version(text: str | None) -> Version | None:
    return tuple(int(number) for number in text.split(".")) if text and re.fullmatch(r"\d+(?:\.\d+)*", text) else None
