# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many tokens vLLM can keep beside a model's weights, and so how many sequences of which length at once.

vLLM takes a share of each GPU whatever the model needs, and fills what the weights and one run at full batch leave of it with its cache, in
blocks of some tokens. Read in vLLM 0.33.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._memory_gpus import PlannedGpu
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB, NOTHING, Range, mib
from ansible_collections.baremetal.llm.plugins.module_utils._memory_result import Estimate, GpuPlan, HostPlan, Plan
from ansible_collections.baremetal.llm.plugins.module_utils._memory_suggestions import Suggestion
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, errors, warning
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_options import render
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_settings import Settings, canonical, gpu_memory_utilization

_BLOCK = 16
_GIB = 1024 * MIB
# By the memory of the GPU, as vLLM chooses: sequences, and tokens of a batch.
_SEQUENCES = ((70 * _GIB, 256), (None, 1024))
_BATCH = ((70 * _GIB, 2048), (160 * _GIB, 8192), (None, 16384))
_BYTES_OF_16_BITS = 2
_BYTES = {"float32": 4, "float": 4, **dict.fromkeys(("float16", "half", "bfloat16"), _BYTES_OF_16_BITS)}
_EIGHT_BITS = ("fp8", "int8")  # the scales of each token and head, where there are some, are a few per cent more
_HIGH_UTILISATION = 0.95

# CUDA graphs, workspaces and what the allocator holds; with the CUDA context and a batch of 2048 tokens, 1 to 2 GiB of a GPU in all.
_FIXED = Range(256 * MIB, 640 * MIB, 1024 * MIB)
_CONTEXT_MIB_MORE = 50  # of a CUDA context, at most
# Of the host's memory, roughly and widely: a process that computes (PyTorch, the libraries of CUDA, buffers that are pinned), and one that
# takes requests (the tokenizer, templates).
_ENGINE_PROCESS = Range(1536 * MIB, 3072 * MIB, 5120 * MIB)
_SERVER_PROCESS = Range(512 * MIB, 768 * MIB, 1536 * MIB)
_GRAPHS = Range(64 * MIB, 256 * MIB, 512 * MIB)  # of that, what enforce_eager saves
# The options that a plan depends on.
_READ = frozenset(
    {
        "api_server_count",
        "block_size",
        "data_parallel_size",
        "dtype",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_dtype",
        "kv_cache_memory_bytes",
        "kv_offloading_size",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "pipeline_parallel_size",
        "tensor_parallel_size",
    }
)


@dataclass(frozen=True)
class VllmModel:
    weights: int
    layers: int
    kv_heads: int
    head: int
    latent: int
    """Elements of the compressed latent that is kept instead of keys and values; 0 for none."""
    hidden: int
    intermediate: int
    vocabulary: int
    dtype: str
    trained_context: int
    known: bool
    """False where some layers keep something else."""

    def token_elements(self, parallel: int) -> int:
        """Elements that one layer keeps on each GPU for one token."""
        if self.latent:
            return self.latent
        return 2 * max(1, -(-self.kv_heads // parallel)) * self.head


@dataclass(frozen=True)
class _Asked:
    utilisation: float
    length: int | None
    """None: what fits."""
    sequences: int
    batch: int
    block: int
    cache: int | None
    """Bytes of the cache on each GPU; None: what is left of the share."""
    cache_bytes: int
    """Of one element."""
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    """Copies of the model. Tokens and sequences are those of one."""
    eager: bool
    offload: int
    """Bytes of the host's memory that the cache may spill to."""
    servers: int
    """Processes that take requests."""

    @property
    def parts(self) -> int:
        """GPUs that share the weights."""
        return self.tensor_parallel * self.pipeline_parallel


def plan_vllm(model: object, options: Mapping[str, Any], gpus: Sequence[PlannedGpu], memory_bytes: int | None) -> Plan:
    read = vllm_model(model)
    if not gpus:
        raise UserError("gpus is empty, and vLLM is planned for GPUs only. Give the GPUs of the service with their memory_mib.")
    asked, problems = _asked(read, options, gpus)
    wanted = asked.parts * asked.data_parallel
    used = gpus[:wanted]
    if len(used) < wanted:
        problems.append(
            error(
                "too_few_gpus",
                f"options.tensor_parallel_size, pipeline_parallel_size and data_parallel_size need {wanted} GPUs, but the service has "
                f"{len(gpus)}",
                "Give the service as many GPUs as their product",
            )
        )
    weights, compute = -(-read.weights // asked.parts), _compute(read, asked)
    rooms = [_room(gpu, asked, weights, compute) for gpu in used]
    # The GPU with the least room decides.
    low, tokens, high = (_tokens(min(sizes), _token_bytes(read, asked), asked.block) for sizes in zip(*rooms, strict=True))
    length = asked.length or max(asked.block, min(tokens, read.trained_context))
    problems += _problems(read, asked, length, tokens, used, rooms)
    processes = _processes(asked)
    problems += _host_problems(asked, processes, memory_bytes)
    fits = tokens >= length and not errors(problems)
    return Plan(
        fits=fits if read.known or not fits else None,
        gpus=[_gpu_plan(gpu, asked, weights, compute, max(0, room.expected)) for gpu, room in zip(used, rooms, strict=True)],
        host=HostPlan(0, NOTHING, asked.offload, processes, 0),
        kv_bytes_per_token=_whole_token_bytes(read, asked),
        tokens_per_slot=length,
        slots=asked.sequences,
        context=tokens,
        capacity={
            "kv_cache_tokens": tokens,
            "kv_cache_tokens_low": low,
            "kv_cache_tokens_high": high,
            "sequences_of_full_length": round(tokens / length, 2),
        },
        estimates=[
            Estimate.of(f"gpus[{index}].compute_mib", compute, "a run at full batch and CUDA graphs, from the widths of the model")
            for index in range(len(used))
        ]
        + [Estimate.of("host.compute_mib", processes, "the number of vLLM's processes")],
        problems=problems,
        suggestions=list(_suggestions(read, asked, length, used)) if tokens < length else [],
    )


# -- what is read ------------------------------------------------------------------------------------------------------


def vllm_model(given: object) -> VllmModel:
    if not isinstance(given, Mapping) or not isinstance(given.get("config"), Mapping):
        raise UserError("model has no config. Give the directory of the model, or a dict with its config.json as config.")
    config: Mapping[str, Any] = given["config"]
    text = config.get("text_config")
    config = {**config, **text} if isinstance(text, Mapping) else config
    heads = _number(config, "num_attention_heads")
    hidden = _number(config, "hidden_size")
    head = config.get("head_dim") or (hidden // heads if heads else 0)
    latent = config.get("kv_lora_rank")
    kinds = config.get("layer_types")
    kept = [kind for kind in kinds if "linear" not in str(kind)] if isinstance(kinds, Sequence) and not isinstance(kinds, str) else None
    layers = _number(config, "num_hidden_layers")
    return VllmModel(
        weights=_weights(given),
        layers=layers if kept is None else len(kept),
        kv_heads=_number(config, "num_key_value_heads", heads),
        head=_number({"head_dim": head}, "head_dim"),
        latent=_number(config, "kv_lora_rank") + _number(config, "qk_rope_head_dim", 0) if latent else 0,
        hidden=hidden,
        intermediate=max(
            _number(config, "intermediate_size", 4 * hidden),
            _number(config, "moe_intermediate_size", 0) * _number(config, "num_experts_per_tok", 0),
        ),
        vocabulary=_number(config, "vocab_size", 0),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "bfloat16").removeprefix("torch."),
        trained_context=_number(config, "max_position_embeddings"),
        known=kept is None or len(kept) == layers,
    )


def _number(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
        raise UserError(f"model.config.{key} is {value!r}, which is no size. Give the config.json of the model as it is on the hub.")
    return value


def _weights(given: Mapping[str, Any]) -> int:
    """Bytes of the weights: what the index says, or else the sizes of the files."""
    index = given.get("index")
    total = index.get("metadata", {}).get("total_size") if isinstance(index, Mapping) else given.get("tensor_bytes")
    if total is None and isinstance(given.get("files"), Sequence):
        sizes = [file.get("size", 0) for file in given["files"] if str(file.get("path", "")).endswith(".safetensors")]
        total = sum(sizes) or None
    if isinstance(total, bool) or not isinstance(total, int) or total <= 0:
        raise UserError(
            "model does not tell how large its weights are. Give the directory of the model, or beside config its "
            "model.safetensors.index.json as index, its files with their sizes, or the bytes as tensor_bytes."
        )
    return total


def _sound(options: Mapping[str, Any]) -> tuple[Settings, list[Problem]]:
    """The options that a plan depends on, without those that vLLM does not take, and what is wrong with these."""
    sound: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in options.items():
        if canonical(key) in _READ:
            wrong = errors(render({key: value}, None)[1])
            problems += wrong
            sound |= {} if wrong else {key: value}
    return Settings(sound), problems


def _asked(model: VllmModel, options: Mapping[str, Any], gpus: Sequence[PlannedGpu]) -> tuple[_Asked, list[Problem]]:
    settings, problems = _sound(options)
    memory = min(gpu.memory_mib for gpu in gpus) * MIB
    length = settings.whole("max_model_len")
    cache_bytes = _element_bytes(settings, model)
    if cache_bytes is None:
        problems.append(
            warning(
                "cache_type_unknown",
                f"how much kv_cache_dtype: {settings.get('kv_cache_dtype')} takes is not known here, and it is planned with 16 bits",
                "Take the number of tokens as the least that will be",
            )
        )
    asked = _Asked(
        utilisation=gpu_memory_utilization(settings),
        length=model.trained_context if settings.get("max_model_len") is None else length,
        sequences=settings.whole("max_num_seqs") or _by_memory(_SEQUENCES, memory),
        batch=settings.whole("max_num_batched_tokens") or _by_memory(_BATCH, memory),
        block=settings.whole("block_size") or _BLOCK,
        cache=settings.whole("kv_cache_memory_bytes"),
        cache_bytes=cache_bytes or _BYTES_OF_16_BITS,
        tensor_parallel=settings.whole("tensor_parallel_size") or 1,
        pipeline_parallel=settings.whole("pipeline_parallel_size") or 1,
        data_parallel=settings.whole("data_parallel_size") or 1,
        eager=settings.on("enforce_eager"),
        offload=int((settings.number("kv_offloading_size") or 0) * _GIB),
        servers=settings.whole("api_server_count") or 1,
    )
    return asked, problems


def _element_bytes(settings: Settings, model: VllmModel) -> int | None:
    """Of an element of the cache; None where that is not known."""
    wanted = settings.get("kv_cache_dtype")
    if wanted in (None, "auto"):
        wanted = settings.get("dtype")
    if wanted in (None, "auto"):
        wanted = "float16" if model.dtype in ("float32", "float") else model.dtype  # vLLM computes those in 16 bits
        return _BYTES.get(str(wanted), _BYTES_OF_16_BITS)
    return 1 if str(wanted).startswith(_EIGHT_BITS) else _BYTES.get(str(wanted))


def _by_memory(table: Sequence[tuple[int | None, int]], memory: int) -> int:
    return next(value for limit, value in table if limit is None or memory < limit)


# -- what follows ------------------------------------------------------------------------------------------------------


def _compute(model: VllmModel, asked: _Asked) -> Range:
    """What one run at full batch takes beside the weights."""
    width = 3 * -(-model.intermediate // asked.tensor_parallel) + 6 * model.hidden
    activations = 2 * asked.batch * width + 8 * asked.sequences * model.vocabulary
    fixed = Range(*(size - (saved if asked.eager else 0) for size, saved in zip(_FIXED, _GRAPHS, strict=True)))
    return fixed.plus(Range(activations * 6 // 10, activations, activations * 3 // 2))


def _processes(asked: _Asked) -> Range:
    """What vLLM's processes take of the host's memory: one for each GPU, and those that take requests."""
    workers = asked.parts * asked.data_parallel
    return Range(*(workers * engine + asked.servers * server for engine, server in zip(_ENGINE_PROCESS, _SERVER_PROCESS, strict=True)))


def _host_problems(asked: _Asked, processes: Range, memory_bytes: int | None) -> Iterator[Problem]:
    """Against the limit of the service, which counts its shared memory as well."""
    if memory_bytes is None or memory_bytes >= asked.offload + processes.expected:
        return
    parts = f"about {processes.expected // MIB} MiB for its processes"
    parts += f", {asked.offload // MIB} MiB that options.kv_offloading_size takes of shared memory" if asked.offload else ""
    have = f"but resources.memory is {memory_bytes // MIB} MiB"
    remedy = f"Set resources.memory: {-(-(asked.offload + processes.expected) // _GIB)}GiB or more"
    remedy += ", or lower kv_offloading_size" if asked.offload else ""
    if memory_bytes < asked.offload + processes.low:
        yield error(
            "host_memory", f"vLLM needs {mib(asked.offload + processes.low)} MiB of the host's memory at least ({parts}), {have}", remedy
        )
    else:
        yield warning(
            "host_memory_tight",
            f"vLLM may need {mib(asked.offload + processes.expected)} MiB of the host's memory ({parts}), {have}",
            remedy,
        )


def _room(gpu: PlannedGpu, asked: _Asked, weights: int, compute: Range) -> Range:
    """Bytes that the cache can have: with all else at its most, as expected, at its least. Negative for what is missing."""
    left = (_total(gpu) if asked.cache is not None else _budget(gpu, asked)) - weights
    least, most = gpu.context_mib * MIB, (gpu.context_mib + _CONTEXT_MIB_MORE) * MIB
    room = Range(left - compute.high - most, left - compute.expected - most, left - compute.low - least)
    return room if asked.cache is None else Range(*(min(size, asked.cache) for size in room))


def _total(gpu: PlannedGpu) -> int:
    """Bytes that CUDA has."""
    return (gpu.memory_mib - gpu.driver_mib) * MIB


def _budget(gpu: PlannedGpu, asked: _Asked) -> int:
    """Bytes that vLLM wants to find free, and takes for itself unless it is told the size of its cache (v1/worker/utils.py)."""
    return int(_total(gpu) * asked.utilisation)


def _starts_too_full(gpu: PlannedGpu, utilisation: float) -> bool:
    """Whether the CUDA context alone leaves less free than vLLM wants to use."""
    return _total(gpu) * (1 - utilisation) < gpu.context_mib * MIB


def _token_bytes(model: VllmModel, asked: _Asked) -> int:
    """What a token takes on one GPU."""
    layers = -(-model.layers // asked.pipeline_parallel)
    return layers * model.token_elements(asked.tensor_parallel) * asked.cache_bytes


def _whole_token_bytes(model: VllmModel, asked: _Asked) -> int:
    return model.layers * model.token_elements(1) * asked.cache_bytes


def _tokens(room: int, token_bytes: int, block: int) -> int:
    return max(0, room) // (token_bytes * block) * block


def _gpu_plan(gpu: PlannedGpu, asked: _Asked, weights: int, compute: Range, cache: int) -> GpuPlan:
    overhead = gpu.driver_mib + gpu.context_mib + _CONTEXT_MIB_MORE
    # Its own CUDA context is there before it looks.
    claim = _budget(gpu, asked) // MIB + gpu.context_mib
    return GpuPlan(gpu.label, gpu.memory_mib, weights, NOTHING, cache // MIB * MIB, compute, overhead, gpu.driver_mib, claim)


def _problems(
    model: VllmModel, asked: _Asked, length: int, tokens: int, used: Sequence[PlannedGpu], rooms: Sequence[Range]
) -> Iterator[Problem]:
    if not model.known:
        yield warning(
            "architecture_unknown",
            "some layers of the model keep a state of fixed size, which is not in the plan",
            "Take the number of tokens as the most that can be",
        )
    for gpu, room in zip(used, rooms, strict=True):
        total = _total(gpu)
        if _starts_too_full(gpu, asked.utilisation):
            yield error(
                "utilisation_too_high",
                f"options.gpu_memory_utilization: {asked.utilisation:g} of {gpu.label} is more than is free once CUDA is started, "
                "and vLLM does not start",
                f"Use {math.floor((1 - (gpu.context_mib + _CONTEXT_MIB_MORE) * MIB / total) * 100) / 100:g} or less",
            )
        if asked.cache is None and room.expected <= 0:
            yield error(
                "gpu_memory",
                f"{gpu.label} lacks {-room.expected // MIB + 1} MiB for weights and computing alone, of {_budget(gpu, asked) // MIB} MiB "
                "that vLLM may use",
                "Take a smaller quantisation, more GPUs with tensor_parallel_size, or a GPU with more memory",
            )
            return
        if asked.cache is not None and room.expected < asked.cache:
            yield error(
                "gpu_memory",
                f"{gpu.label} lacks {mib(asked.cache - room.expected)} MiB for weights, computing and "
                f"options.kv_cache_memory_bytes: {asked.cache}",
                f"Lower it to {max(0, room.expected)} or less, or leave it out for what there is room for",
            )
            return
    if tokens < length:
        yield error(
            "cache_below_length",
            f"the cache holds about {tokens} tokens, fewer than options.max_model_len: {length}, and vLLM does not start",
            "Take one of the suggestions",
        )
    elif tokens < length * asked.sequences:
        yield warning(
            "sequences_exceed_cache",
            f"the cache holds about {tokens} tokens: {tokens / length:.1f} requests of max_model_len: {length}, not max_num_seqs: "
            f"{asked.sequences}; the others are put off, or started over",
            f"Set max_num_seqs: {max(1, tokens // length)} if requests are that long, else leave it",
        )


def _suggestions(model: VllmModel, asked: _Asked, length: int, used: Sequence[PlannedGpu]) -> Iterator[Suggestion]:
    """The changes after which one request of full length fits."""

    def after(change: _Asked) -> tuple[int, int]:
        weights = -(-model.weights // change.parts)
        room = min(_room(gpu, change, weights, _compute(model, change)).expected for gpu in used)
        return _tokens(room, _token_bytes(model, change), change.block), room

    def suggest(code: str, message: str, change: _Asked, wanted: int, **options: object) -> Iterator[Suggestion]:
        tokens, room = after(change)
        if tokens >= wanted:
            yield Suggestion(code, message.format(tokens=tokens), max(0, room - wanted * _token_bytes(model, change)), options)

    if asked.cache_bytes > 1:
        text = "Keep keys and values in 8 bits: the cache then holds {tokens} tokens"
        yield from suggest("quantised_cache", text, replace(asked, cache_bytes=1), length, kv_cache_dtype="fp8")
    if asked.utilisation < _HIGH_UTILISATION and not any(_starts_too_full(gpu, _HIGH_UTILISATION) for gpu in used):
        text = f"Let vLLM use {_HIGH_UTILISATION:.0%} of the GPU: the cache then holds {{tokens}} tokens"
        change = replace(asked, utilisation=_HIGH_UTILISATION)
        yield from suggest("higher_utilisation", text, change, length, gpu_memory_utilization=_HIGH_UTILISATION)
    if tokens := after(asked)[0]:
        shorter = tokens // asked.block * asked.block
        yield from suggest("less_context", f"Lower the length of a request to {shorter} tokens", asked, shorter, max_model_len=shorter)
