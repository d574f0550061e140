# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with how a llama-server service uses its memory.

What the options alone tell is in _llama_server_options.py; here is what the model, its projector and the GPUs tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.baremetal.llm.plugins.module_utils._memory_cache_types import CacheType
from ansible_collections.baremetal.llm.plugins.module_utils._memory_encoder import ORDINARY_PIXELS
from ansible_collections.baremetal.llm.plugins.module_utils._memory_fitting import Fitted
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layers import Shape
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layout import Case, Layout
from ansible_collections.baremetal.llm.plugins.module_utils._memory_placement import used_gpus
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB, mib
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning

# Beside the largest image, a slot needs room for the question and the answer.
TEXT_TOKENS = 1024


def memory_problems(asked: Layout, fitted: Fitted, memory_bytes: int | None) -> Iterator[Problem]:
    """``asked`` is the layout with all that the options say; ``fitted`` what llama-server makes of it."""
    layout = fitted.layout
    case = layout.case
    yield from _unknown(case)
    yield from _gpu_problems(layout)
    yield from _fitting_problems(asked, fitted)
    yield from _split_problems(layout)
    yield from _host_problems(layout, memory_bytes)
    if case.shape is not None:
        yield from _cache_problems(case, case.shape)
        yield from _option_problems(case, case.shape)


def image_problems(case: Case, slot_tokens: int | None) -> Iterator[Problem]:
    """Whether a slot has room for an image, and for text beside it."""
    images = case.encoder.images if case.encoder else None
    if images is None or slot_tokens is None:
        return
    least, most = case.request.image_min_tokens, case.request.image_max_tokens
    ordinary, largest = images.ordinary(least, most), images.largest(most)
    if ordinary >= slot_tokens:
        yield error(
            "slot_too_small_for_image",
            f"a slot has {slot_tokens} tokens, and an image of {ORDINARY_PIXELS}x{ORDINARY_PIXELS} pixels takes {ordinary} of them, "
            "so that none are left for text: the request is answered with 400",
            f"Give each slot at least {_up(ordinary + TEXT_TOKENS)} tokens (ctx_size, or fewer slots with parallel)",
        )
    elif largest + TEXT_TOKENS > slot_tokens and not images.side:
        room = max(slot_tokens - TEXT_TOKENS, images.smallest(least))
        yield warning(
            "image_may_fill_slot",
            f"one large image takes up to {largest} of the {slot_tokens} tokens of a slot, which leaves less than {TEXT_TOKENS} for text",
            f"Set image_max_tokens: {room}, or give each slot {_up(largest + TEXT_TOKENS)} tokens",
        )


def _up(tokens: int) -> int:
    return -(-tokens // 256) * 256


def _unknown(case: Case) -> Iterator[Problem]:
    if case.shape is None:
        name = case.header.architecture or "none at all"
        yield warning(
            "architecture_unknown",
            f"the architecture of {case.header.where} is {name}, of which is not known what llama.cpp keeps beside the weights",
            "Take the plan as the least that is needed: the cache and the compute buffers come on top of it",
        )
    if case.encoder is not None and case.encoder.images is None:
        yield warning(
            "projector_unknown",
            "it is not known how the projector (mmproj) cuts images, so what encoding one takes is not in the plan",
            "Leave room for it: the first image is where memory would run out",
        )


def _gpu_problems(layout: Layout) -> Iterator[Problem]:
    for index in layout.in_use:
        gpu, free = layout.case.gpus[index], layout.free(index)
        if free.expected < 0:
            yield error(
                "gpu_memory",
                f"{gpu.label} lacks {mib(-free.expected)} MiB: {_parts(layout, index)} of {gpu.memory_mib} MiB",
                "Take one of the suggestions, or a GPU with more memory",
            )
        elif free.high < 0:
            yield warning(
                "gpu_memory_tight",
                f"{gpu.label} has {free.expected // MIB} MiB left, less than the estimates are wide: {_parts(layout, index)} "
                f"of {gpu.memory_mib} MiB",
                "Leave more room, or calibrate the plan with the binary",
            )


def _parts(layout: Layout, index: int) -> str:
    usage, gpu = layout.gpus[index], layout.case.gpus[index]
    parts = [
        (usage.weights, "for weights"),
        (usage.encoder.work.expected, "for the projector"),
        (usage.cache or 0, "for the cache"),
        (usage.compute.expected if usage.compute else 0, "to compute in"),
    ]
    return ", ".join([f"{mib(size)} {what}" for size, what in parts if size] + [f"{gpu.overhead_mib} for driver and CUDA"])


def _fitting_problems(asked: Layout, fitted: Fitted) -> Iterator[Problem]:
    case, layout = asked.case, fitted.layout
    shared = case.request.context
    if fitted.context_reduced:
        each = shared.tokens_of(layout.context)
        yield warning(
            "context_reduced",
            f"options.ctx_size is not given, and the {asked.context} tokens that the model could use do not fit: llama-server will take "
            f"about {layout.context}, {each} for a slot",
            "Set ctx_size, so that it is the same at each start",
        )
    if fitted.experts_on_host or fitted.layers_on_host:
        what = [f"the experts of {fitted.experts_on_host} layers"] if fitted.experts_on_host else []
        what += [f"{fitted.layers_on_host} of {case.layer_count + 1} layers"] if fitted.layers_on_host else []
        yield warning(
            "left_on_host",
            f"the model does not fit on the GPUs as a whole: llama-server will leave about {' and '.join(what)} on the CPU",
            "Take one of the suggestions, or set n_gpu_layers or n_cpu_moe to say that this is meant",
        )


def _split_problems(layout: Layout) -> Iterator[Problem]:
    # src/llama-model.cpp: "device CUDA0 does not support split buffers"
    asked = layout.case.request
    if asked.split_mode == "row" and used_gpus(asked, len(layout.gpus)):
        yield warning(
            "split_mode_row",
            "options.split_mode: row is what llama.cpp no longer has for NVIDIA GPUs: recent versions of it refuse to load the model",
            "Use split_mode: layer, or tensor",
        )


def _host_problems(layout: Layout, memory_bytes: int | None) -> Iterator[Problem]:
    """Against the limit of the service. The prompt cache alone beyond it is told from the options."""
    if memory_bytes is None:
        return
    host, asked = layout.host, layout.case.request
    needed = (host.cache or 0) + (host.compute.expected if host.compute else 0) + host.encoder.work.expected
    # Pages of a mapped file are dropped when memory is short, unless they are locked.
    if asked.locks or not asked.maps:
        needed += host.weights
    repacked = layout.computed_on_host if asked.repacks else 0
    cache = max(0, asked.prompt_cache_mib) * MIB
    if needed > memory_bytes:
        yield error(
            "host_memory",
            f"the service needs {mib(needed)} MiB of the host's memory, but resources.memory is {memory_bytes // MIB} MiB",
            "Raise resources.memory" + (", or use load_mode: mmap, which locks nothing" if asked.locks else ""),
        )
    elif cache < memory_bytes < needed + repacked + cache:
        parts = [f"{mib(needed)} MiB"]
        parts += [f"copies of up to {mib(repacked)} MiB of its weights, repacked for the CPU"] if repacked else []
        parts += [f"a prompt cache of up to {cache // MIB} MiB"] if cache else []
        left = memory_bytes - needed - repacked
        remedies = [f"cache_ram: {max(0, left) // MIB}"] if cache else []
        remedies += ["repack: false"] if left < 0 else []
        yield warning(
            "host_memory_tight",
            f"the service grows to {mib(needed + repacked + cache)} MiB ({', '.join(parts)}), but resources.memory is "
            f"{memory_bytes // MIB} MiB",
            f"Set {' and '.join(remedies)}, or raise resources.memory",
        )


def _cache_problems(case: Case, shape: Shape) -> Iterator[Problem]:
    asked = case.request
    quantised = [(key, kind) for key, kind in (("cache_type_k", asked.key), ("cache_type_v", asked.value)) if kind.quantised]
    if not shape.caches:
        for key, kind in quantised:
            yield warning(
                "cache_type_without_cache",
                f"options.{key}: {kind.name} saves nothing, because {shape.architecture} keeps no keys and values",
                "Leave it out",
            )
        return
    if shape.latent and asked.key != asked.value:
        # src/llama-context.cpp: "model does not support different K and V cache types"
        yield error(
            "cache_types_differ",
            f"options.cache_type_k and cache_type_v are {asked.key.name} and {asked.value.name}, but {shape.architecture} "
            "keeps both as one",
            f"Set both to {asked.key.name}",
        )
    for key, kind in quantised:
        if head := _unfit_head(shape, kind, values=key == "cache_type_v"):
            # src/llama-context.cpp: "cache type … with block size … does not divide …"
            yield error(
                "cache_type_unfit",
                f"options.{key}: {kind.name} stores blocks of {kind.block}, and a head of this model has {head} elements",
                f"Set {key}: f16, or leave it out",
            )


def _unfit_head(shape: Shape, kind: CacheType, *, values: bool) -> int | None:
    heads = [layer.value_head if values else layer.key_head for layer in shape.layers if layer.attends]
    return next((head for head in heads if head % kind.block), None)


def _option_problems(case: Case, shape: Shape) -> Iterator[Problem]:
    """Options that the model makes pointless."""
    asked = case.request
    if asked.whole_windows and not shape.window:
        yield warning("swa_full_without_effect", f"options.swa_full: {shape.architecture} has no sliding window", "Leave it out")
    if asked.experts_on_host and not shape.experts_used:
        yield warning("experts_without_effect", "options.n_cpu_moe or cpu_moe: the model has no experts", "Leave it out")
