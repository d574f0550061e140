# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of a llama-server service ask of memory, with llama-server's own defaults (common/arg.cpp)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import (
    Settings,
    Sharing,
    batches,
    prompt_cache_mib,
    sharing,
)
from ansible_collections.baremetal.llm.plugins.module_utils._memory_cache_types import CACHE_TYPES, F16, CacheType
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning

_SPLIT_MODES = ("none", "layer", "row", "tensor")
ALL_LAYERS = 10**6
_FIT_TARGET_MIB = 1024
_FIT_CONTEXT = 4096
_LOCKING = ("mlock", "mmap+mlock")
_DRAFTS = ("spec_type", "spec_draft_model", "model_draft", "spec_draft_hf", "hf_repo_draft", "mtp")


@dataclass(frozen=True)
class Override:
    """Tensors that lie somewhere else than their layer."""

    pattern: re.Pattern[str]
    gpu: int | None
    """None for the host."""


@dataclass(frozen=True)
class Request:
    context: Sharing
    batch: int
    micro_batch: int
    key: CacheType
    value: CacheType
    flash_attention: bool
    whole_windows: bool
    """Whether layers with a sliding window cache the whole context."""
    gpu_layers: int | None
    """None: as many as fit."""
    split_mode: str
    tensor_split: tuple[float, ...]
    main_gpu: int
    devices: tuple[int, ...] | None
    """The GPUs that are used, by their place among those that the service has; None: all."""
    cache_on_gpu: bool
    experts_on_host: int
    """The first so many layers leave their experts there."""
    dense_on_host: int
    """The same for feed-forward networks without experts."""
    overrides: tuple[Override, ...]
    """The first that fits a tensor counts."""
    fit: bool
    """Whether llama-server may lower what is not given until it fits."""
    fit_target_mib: tuple[int, ...]
    fit_context: int
    embedding: bool
    drafts: bool
    encoder_on_gpu: bool
    image_min_tokens: int
    image_max_tokens: int
    prompt_cache_mib: int
    locks: bool
    maps: bool
    """Whether the weights on the host are a mapped file, whose pages the kernel can drop."""
    repacks: bool
    """Whether weights that the CPU computes with may be copied into an order that suits it better."""

    @property
    def moves_tensors(self) -> bool:
        """Whether some lie somewhere else than their layer."""
        return bool(self.overrides or self.experts_on_host or self.dense_on_host)


def request(settings: Settings, gpu_count: int) -> tuple[Request, list[Problem]]:
    problems: list[Problem] = []
    batch, micro_batch = batches(settings)
    embedding = settings.on("embeddings", "embedding") or settings.on("rerank", "reranking")
    load_mode = settings.get("load_mode")
    key = _cache_type(settings, "cache_type_k", problems)
    value = _cache_type(settings, "cache_type_v", problems)
    target = [int(part) for part in _parts(settings.get("fit_target")) if part.isdecimal()]
    asked = Request(
        context=sharing(settings),
        batch=min(batch, micro_batch) if embedding and micro_batch > 0 else batch,
        micro_batch=micro_batch or batch,
        key=key,
        value=value,
        flash_attention=not settings.off("flash_attn"),
        whole_windows=settings.on("swa_full"),
        gpu_layers=_gpu_layers(settings, problems),
        split_mode=_split_mode(settings, problems),
        tensor_split=_tensor_split(settings, gpu_count, problems),
        main_gpu=settings.number("main_gpu", 0),
        devices=_devices(settings.get("device"), gpu_count, problems),
        cache_on_gpu=not settings.off("kv_offload"),
        experts_on_host=ALL_LAYERS if settings.on("cpu_moe") else max(0, settings.number("n_cpu_moe", 0)),
        dense_on_host=max(0, settings.number("n_cpu_ffn", 0)),
        overrides=tuple(_overrides(settings, gpu_count, problems)),
        fit=not settings.off("fit"),
        fit_target_mib=tuple((target * gpu_count if len(target) == 1 else target) or [_FIT_TARGET_MIB] * gpu_count),
        fit_context=settings.number("fit_ctx", _FIT_CONTEXT),
        embedding=embedding,
        drafts=any(settings.get(name) not in (None, False, "none") for name in _DRAFTS),
        encoder_on_gpu=not settings.off("mmproj_offload") and settings.get("mmproj_device") != "none",
        image_min_tokens=max(0, settings.number("image_min_tokens", 0)),
        image_max_tokens=max(0, settings.number("image_max_tokens", 0)),
        prompt_cache_mib=prompt_cache_mib(settings),
        locks=load_mode in _LOCKING or settings.on("mlock"),
        maps=load_mode in (None, "auto", "mmap", "mmap+mlock") and not settings.off("mmap"),
        repacks=not settings.off("repack"),
    )
    if asked.drafts:
        problems.append(
            warning(
                "draft_not_counted",
                "the options ask for speculative decoding, whose own model and cache are not in this plan",
                "Leave room for them: the draft model's file and, for each token of context, its own cache",
            )
        )
    return asked, problems


def _bad(key: str, message: str, remedy: str) -> Problem:
    return error("option_value", f"options.{key} {message}", remedy)


def _cache_type(settings: Settings, key: str, problems: list[Problem]) -> CacheType:
    name = settings.get(key)
    if name is None:
        return F16
    if str(name) not in CACHE_TYPES:
        problems.append(_bad(key, f"is {name!r}, which is no type of llama.cpp's cache", f"Use {', '.join(CACHE_TYPES)}"))
        return F16
    return CACHE_TYPES[str(name)]


def _gpu_layers(settings: Settings, problems: list[Problem]) -> int | None:
    given = settings.get("n_gpu_layers", "gpu_layers")
    if given is None or str(given) in ("auto", "-1"):
        return None
    if str(given) in ("all", "-2"):
        return ALL_LAYERS
    if isinstance(given, bool) or not re.fullmatch(r"\d{1,6}", str(given)):
        problems.append(_bad("n_gpu_layers", f"is {given!r}", "Use a number of layers, all or auto"))
        return None
    return int(given)


def _split_mode(settings: Settings, problems: list[Problem]) -> str:
    mode = settings.get("split_mode")
    if mode is None or str(mode) in _SPLIT_MODES:
        return str(mode or "layer")
    problems.append(_bad("split_mode", f"is {mode!r}", f"Use {', '.join(_SPLIT_MODES)}"))
    return "layer"


def _tensor_split(settings: Settings, gpu_count: int, problems: list[Problem]) -> tuple[float, ...]:
    parts = _parts(settings.get("tensor_split"))
    try:
        shares = tuple(float(part) for part in parts)
    except ValueError:
        shares = (-1.0,)
    if any(not 0 <= share < float("inf") for share in shares):
        problems.append(_bad("tensor_split", f"is {','.join(parts)!r}", "Use a number for each GPU, such as 3,1"))
        return ()
    used = shares[:gpu_count]
    return used if any(used) else ()


def _devices(given: Any, gpu_count: int, problems: list[Problem]) -> tuple[int, ...] | None:
    """GPUs by the numbers at the end of their names, which count those that the process sees."""
    names = _parts(given)
    if not names:
        return None
    if names == ["none"]:
        return ()
    found = []
    for name in names:
        number = re.fullmatch(r"[A-Za-z]+(\d{1,3})", name)
        if number is None or int(number[1]) >= gpu_count:
            problems.append(_bad("device", f"names {name}, but the plan has {gpu_count} GPUs", "Use CUDA0 for the first, and so on"))
        else:
            found.append(int(number[1]))
    return tuple(found)


def _overrides(settings: Settings, gpu_count: int, problems: list[Problem]) -> Iterator[Override]:
    for part in _parts(settings.get("override_tensor")):
        pattern, target = part.rsplit("=", 1) if "=" in part else ("", part)
        gpu = re.fullmatch(r"[A-Za-z]+(\d{1,3})", target)
        try:
            compiled = re.compile(pattern)
        except re.error as reason:
            problems.append(_bad("override_tensor", f"has the pattern {pattern!r}, which cannot be read ({reason})", "Correct the pattern"))
            continue
        if not pattern or (gpu is not None and int(gpu[1]) >= gpu_count):
            problems.append(_bad("override_tensor", f"has {part!r}", "Use PATTERN=CPU, or PATTERN=CUDA0 for the first of gpus"))
            continue
        yield Override(compiled, int(gpu[1]) if gpu else None)


def _parts(value: Any) -> Sequence[str]:
    """The parts of a list, or of a text that llama-server would take apart."""
    if value is None:
        return []
    items = value if isinstance(value, (list, tuple)) else [value]
    return [part.strip() for item in items for part in re.split(r"[,/]" if "=" not in str(item) else ",", str(item)) if part.strip()]
