# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of vLLM's options beyond its parser: what belongs to the service, what went, what fails or disappoints later.

Files are those of the vllm package 0.33.0, where this was read, or of the release that is named.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._near_names import suggestion
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import show_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_flags import RELEASES, VARIABLES
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_settings import Settings, gpu_memory_utilization
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import NEWEST, known_of, numbers, option

_GIB = 2**30
_DOCKERS_SHM = 64 * 2**20

# What the service says itself, by option; the remedy is the rest of the sentence "Use …".
_MODEL = "the service's key model"
_OWNED = {
    "model": _MODEL,
    "model_tag": _MODEL,
    "revision": "the service's key model.revision",
    "code_revision": "the service's key model.revision",
    "tokenizer_revision": "the service's key model.revision",
    "host": "the service's key host",
    "port": "the service's key port",
    "uds": "the service's keys host and port; with a socket, vLLM listens on neither",
    "api_key": "the service's key api_key",
    "hf_token": "no token: the server downloads nothing",
    "download_dir": "the service's key model; the server downloads nothing",
    "device_ids": "the service's key gpus",
    "config": "options; in a file they would not be checked",
}

# With these there is no HTTP API on the service's port (entrypoints/cli/serve.py).
_WITHOUT_API = frozenset({"headless", "grpc", "help", "version"})

# Options that vLLM has dropped or renamed: the first of the releases in the table that lacks it, and what to do instead.
_REMOVED: dict[str, tuple[str, str]] = {
    "calculate_kv_scales": (
        "0.30.0",
        "Leave it out: scales come from the model's files, or are 1.0; kv_cache_dtype: int8_per_token_head works them out for each token",
    ),
    "swap_space": ("0.20.0", "Leave it out; to keep more of the prefix cache, in the host's memory, use kv_offloading_size"),
    "disable_log_requests": ("0.20.0", "Leave it out: requests are logged only with enable_log_requests: true"),
    "disable_frontend_multiprocessing": (
        "0.20.0",
        "Leave it out; VLLM_ENABLE_V1_MULTIPROCESSING: '0' in environment is what is left of it",
    ),
    "max_num_partial_prefills": ("0.27.0", "Leave it out; long_prefill_token_threshold is what is left of it"),
    "max_long_partial_prefills": ("0.27.0", "Leave it out; long_prefill_token_threshold is what is left of it"),
    "task": ("0.15.0", "Use runner: pooling, with convert: embed, classify or reward"),
    "guided_decoding_backend": ("0.15.0", "Use structured_outputs_config: {backend: …}"),
    "rope_scaling": ("0.15.0", "Use hf_overrides: {rope_parameters: …}"),
    "rope_theta": ("0.15.0", "Use hf_overrides: {rope_parameters: …}"),
    "enable_reasoning": ("0.15.0", "Use reasoning_parser alone"),
    "num_lookahead_slots": ("0.15.0", "Use speculative_config"),
    "speculative_model": ("0.15.0", "Use speculative_config: {model: …, num_speculative_tokens: …}"),
    "num_speculative_tokens": ("0.15.0", "Use speculative_config: {model: …, num_speculative_tokens: …}"),
    "num_scheduler_steps": ("0.15.0", "Leave it out"),
    "use_v2_block_manager": ("0.15.0", "Leave it out"),
    "preemption_mode": ("0.15.0", "Leave it out: a request that was put off is computed anew"),
    "max_seq_len_to_capture": ("0.15.0", "Use cudagraph_capture_sizes or max_cudagraph_capture_size"),
    "cuda_graph_sizes": ("0.15.0", "Use cudagraph_capture_sizes"),
    "device": ("0.15.0", "Leave it out; the service's key gpus says where it computes"),
}

# Variables that releases have dropped, by what is used instead (envs.py of the releases).
_REMOVED_VARIABLES = {
    "VLLM_ATTENTION_BACKEND": "Use options.attention_backend, such as FLASHINFER",
    "VLLM_USE_V1": "Leave it out: there is no other engine any more",
    "VLLM_FLASH_ATTN_VERSION": "Use options.attention_config: {flash_attn_version: …}",
    "VLLM_ALL2ALL_BACKEND": "Use options.all2all_backend",
}

# What the container sets, since its root is read-only, its account has no name in the image, and nothing is downloaded.
_OWNED_VARIABLES = {
    "HF_HUB_OFFLINE": "the server downloads nothing",
    "HF_HOME": "the model comes from the service's key model",
    "HF_HUB_CACHE": "the model comes from the service's key model",
    "TRANSFORMERS_OFFLINE": "the server downloads nothing",
    "XDG_CACHE_HOME": "caches are below the service's state directory",
    "VLLM_CACHE_ROOT": "caches are below the service's state directory",
    "TRITON_CACHE_DIR": "caches are below the service's state directory",
    "TORCHINDUCTOR_CACHE_DIR": "caches are below the service's state directory",
    "USER": "the account is the host's, and has no name in the image",
    "LOGNAME": "the account is the host's, and has no name in the image",
    "NVIDIA_VISIBLE_DEVICES": "use the service's key gpus",
}

_SWITCHED_TOGETHER = (
    # entrypoints/common/cli_args.py, validate_parsed_serve_args
    ("enable_auto_tool_choice", "tool_call_parser", "Set options.tool_call_parser to the parser of the model, such as mistral or hermes"),
    ("enable_log_outputs", "enable_log_requests", "Set options.enable_log_requests: true, or leave it out"),
)

_LONG_STOP_S = 300


# -- names ---------------------------------------------------------------------------------------------------------------


def is_owned(key: str) -> bool:
    return option(key) in _OWNED or option(key) in _WITHOUT_API


def owned_problems(options: Mapping[str, Any]) -> Iterator[Problem]:
    for key in options:
        name = option(key)
        if name in _OWNED:
            yield error("option_owned", f"options.{key} is set by the service itself", f"Use {_OWNED[name]}")
        elif name in _WITHOUT_API:
            yield error("option_owned", f"options.{key} leaves vLLM without the HTTP API of a service", "Leave it out")


def removed_option(key: str, version: str | None) -> Problem | None:
    """The option that this release has dropped, and what it has instead."""
    name = option(key)
    if name not in _REMOVED:
        return None
    since, remedy = _REMOVED[name]
    if version is not None and numbers(version)[:2] < numbers(RELEASES[0])[:2]:
        return None  # it may have been there then
    shown = version or NEWEST
    return error("option_removed", f"options.{key}: vLLM {shown} no longer has --{name.replace('_', '-')} (gone by {since})", remedy)


def environment_problems(service: Service, version: str | None) -> Iterator[Problem]:
    """Variables that vLLM does not read, or that the container sets."""
    known = known_of(version)
    strict = Settings(service.options).on("fail_on_environ_validation")
    for variable in service.environment:
        where = f"environment.{variable}"
        if variable in _OWNED_VARIABLES:
            yield error("environment_owned", f"{where} is set by the service: {_OWNED_VARIABLES[variable]}", "Leave it out")
        elif variable == "VLLM_PORT":
            # envs.py: a port of vLLM's own, between its processes
            yield warning("environment_ignored", f"{where} is not the port of the API", "Use the service's key port, and leave this out")
        elif variable == "PROMETHEUS_MULTIPROC_DIR":
            # v1/metrics/prometheus.py, setup_multiprocess_prometheus
            yield warning("environment_ignored", f"{where}: vLLM would not empty it between two starts, and count wrongly", "Leave it out")
        elif variable.startswith("VLLM_") and known.certain and not _read_by(variable, known.releases):
            # platforms/interface.py, validate_environ: a line in the log, or the end with --fail-on-environ-validation
            near = suggestion(variable, VARIABLES)
            found = f"{where} is not read by vLLM {version or NEWEST}"
            yield (error if strict else warning)("environment_ignored", found, _REMOVED_VARIABLES.get(variable) or near or "Leave it out")


def _read_by(variable: str, releases: Iterable[str]) -> bool:
    if variable not in VARIABLES:
        return False
    since, until = (RELEASES.index(release) for release in VARIABLES[variable].split())
    return any(since <= RELEASES.index(release) <= until for release in releases)


# -- rules ---------------------------------------------------------------------------------------------------------------


def rule_problems(service: Service) -> Iterator[Problem]:
    """What would fail or disappoint at run time, although the command line is valid."""
    settings = Settings(service.options)
    for rule in _RULES:
        yield from rule(service, settings)


def _gpus_are_needed(service: Service, settings: Settings) -> Iterator[Problem]:
    # The image is of the CUDA build; without a device it ends with "Failed to infer device type" (config/device.py).
    if not service.gpus:
        yield error("gpus_needed", "gpus is empty, and vLLM's image computes on GPUs only", "Name the GPUs of the service")


def _gpus_are_used(service: Service, settings: Settings) -> Iterator[Problem]:
    # config/parallel.py: the world has tensor × pipeline × data processes with a GPU each. Too few is told by the memory plan.
    sizes = [settings.whole(name) or 1 for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")]
    wanted = sizes[0] * sizes[1] * sizes[2]
    if len(service.gpus) > wanted:
        yield warning(
            "gpus_unused",
            f"gpus names {len(service.gpus)} GPUs, and vLLM uses {wanted} of them",
            f"Set options.tensor_parallel_size: {len(service.gpus)}, or name fewer",
        )


def _blocks_are_of_sixteen(service: Service, settings: Settings) -> Iterator[Problem]:
    # v1/attention/backends/{flash_attn,flashinfer,triton_attn}.py, get_supported_kernel_block_sizes: no backend for CUDA takes less
    size = settings.whole("block_size")
    if size is not None and (size == 0 or size % 16):
        yield error(
            "block_size",
            f"options.block_size is {size} tokens, and no attention backend for NVIDIA GPUs takes other than multiples of 16",
            "Leave it out: it is 16, and smaller blocks save nothing that counts",
        )


def _metrics_are_needed(service: Service, settings: Settings) -> Iterator[Problem]:
    # v1/engine/async_llm.py: without log_stats there is no StatLoggerManager, and so no vllm:… in /metrics
    if settings.on("disable_log_stats"):
        yield error(
            "metrics_disabled",
            "options.disable_log_stats takes all of vLLM's metrics away, which the proof after a start, the load check and monitoring read",
            "Leave it out; what is logged is one line in ten seconds, and none while nothing is served",
        )


def _offload_must_fit(service: Service, settings: Settings) -> Iterator[Problem]:
    # v1/kv_offload/cpu/shared_offload_region.py maps the whole of it in /dev/shm at the start, and check_shm_free_space refuses
    size = settings.number("kv_offloading_size")
    backend = settings.get("kv_offloading_backend")
    if size is None:
        if backend is not None:
            remedy = "Set options.kv_offloading_size, in GiB, or leave both out"
            yield warning("offload_without_size", "options.kv_offloading_backend has no effect without kv_offloading_size", remedy)
        return
    if backend == "lmcache":
        # config/vllm.py: LMCacheMPConnector, which asks a server at tcp://localhost:5555
        yield warning(
            "offload_needs_server",
            "options.kv_offloading_backend: lmcache asks a server of its own, which is not in the service's container",
            "Use native, or tell where it is with kv_transfer_config",
        )
        return
    wanted, shm = int(size * _GIB), service.resources.shm_bytes
    if wanted > (_DOCKERS_SHM if shm is None else shm):
        there = f"resources.shm_size is {show_bytes(shm)}" if shm is not None else "without resources.shm_size it has 64 MiB"
        yield error(
            "offload_exceeds_shm",
            f"options.kv_offloading_size takes {show_bytes(wanted)} of /dev/shm at the start, but {there}",
            f"Set resources.shm_size: {int(size) + 1}GiB and as much more of resources.memory, or lower it",
        )


def _shm_is_memory(service: Service, settings: Settings) -> Iterator[Problem]:
    # What is in /dev/shm counts against the container's memory.
    shm, memory = service.resources.shm_bytes, service.resources.memory_bytes
    if shm is not None and memory is not None and shm >= memory:
        yield warning(
            "shm_exceeds_memory",
            f"resources.shm_size is {show_bytes(shm)}, and what is in it counts against resources.memory: {show_bytes(memory)}",
            "Raise resources.memory, or lower resources.shm_size to what is left beside the processes",
        )


def _batch_must_fit(service: Service, settings: Settings) -> Iterator[Problem]:
    # config/scheduler.py, verify_max_model_len
    batch, length, sequences = (settings.whole(name) for name in ("max_num_batched_tokens", "max_model_len", "max_num_seqs"))
    if batch is None:
        return
    if length is not None and batch < length and settings.off("enable_chunked_prefill"):
        yield error(
            "batch_below_length",
            f"options.max_num_batched_tokens is {batch}, less than max_model_len: {length}: without chunked prefill, vLLM does not start",
            "Leave enable_chunked_prefill out, which cuts long prompts into batches, or raise it",
        )
    if sequences is not None and batch < sequences:
        yield error(
            "batch_below_sequences",
            f"options.max_num_batched_tokens is {batch}, less than max_num_seqs: {sequences}, and vLLM does not start",
            "Raise it, or leave it out",
        )


def _quantisation_is_told_by_the_model(service: Service, settings: Settings) -> Iterator[Problem]:
    # config/model.py: "Quantization method specified in the model config (…) does not match", where the two differ
    method = settings.get("quantization")
    if method is not None:
        yield warning(
            "quantization_given",
            f"options.quantization: {method} says what the model's own configuration says, and keeps vLLM from starting where they differ",
            "Leave it out; vLLM then takes the fastest kernels for what it finds, for AWQ those of Marlin",
        )


def _graphs_are_wanted(service: Service, settings: Settings) -> Iterator[Problem]:
    # config/vllm.py: no torch.compile and no CUDA graphs
    if settings.on("enforce_eager"):
        yield warning(
            "enforce_eager",
            "options.enforce_eager turns CUDA graphs and torch.compile off: every token takes longer, above all for few requests",
            "Leave it out; it saves a minute at the start and less than 1 GiB of the GPU",
        )


def _processes_should_fit(service: Service, settings: Settings) -> Iterator[Problem]:
    # entrypoints/cli/serve.py, run_multi_api_server: so many processes beside one engine for each data-parallel rank
    cpus = service.resources.cpus
    servers = settings.whole("api_server_count") or 1
    if cpus is None:
        return
    if servers > 1 and servers + 1 > cpus:
        yield warning(
            "servers_exceed_cpus",
            f"options.api_server_count: {servers} API servers and the engine share resources.cpus: {cpus:g}, and the engine waits for them",
            f"Use {max(1, int(cpus) - 2)} or fewer, or raise resources.cpus",
        )
    threads = service.environment.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads) * servers > cpus:
        yield warning(
            "threads_exceed_cpus",
            f"environment.OMP_NUM_THREADS: {threads} threads in each of {servers} API servers are more than resources.cpus: {cpus:g}",
            "Leave it out: vLLM chooses it for the processes that it starts",
        )


def _options_that_need_another(service: Service, settings: Settings) -> Iterator[Problem]:
    for name, other, remedy in _SWITCHED_TOGETHER:
        if settings.on(name) and settings.get(other) in (None, False):
            yield error("option_incomplete", f"options.{name} needs {other}, and vLLM does not start without it", remedy)


def _a_tokenizer_is_a_path(service: Service, settings: Settings) -> Iterator[Problem]:
    tokenizer = settings.get("tokenizer")
    if isinstance(tokenizer, str) and not tokenizer.startswith("/"):
        yield error(
            "needs_download",
            f"options.tokenizer: {tokenizer} is to come from the hub, and the server downloads nothing",
            "Leave it out for the one that comes with the model",
        )


def _a_stop_should_end(service: Service, settings: Settings) -> Iterator[Problem]:
    # entrypoints/launchers/launcher.py: running requests have so many seconds
    seconds = settings.whole("shutdown_timeout")
    if seconds is not None and seconds > _LONG_STOP_S:
        yield warning(
            "shutdown_takes_long",
            f"options.shutdown_timeout: {seconds} lets each stop, and so each change, wait up to {seconds} s for requests that run",
            f"Use {_LONG_STOP_S} or less",
        )


def shared_gpu_problems(service: Service, earlier: Iterable[Service]) -> Iterator[Problem]:
    """Services of vLLM on one host that want more of a GPU together than it has; told of the one that is one too many."""
    earlier = list(earlier)
    taken = {gpu: [(share, other.name) for other in earlier if gpu in other.gpus and (share := _share(other))] for gpu in service.gpus}
    gpu, others = max(taken.items(), key=lambda item: sum(share for share, _name in item[1]), default=("", []))
    own, total = _share(service), sum(share for share, _name in others)
    if own and others and own + total > 1:
        names = " and ".join(name for _share, name in others)
        yield error(
            "gpu_shares_exceed_one",
            f"options.gpu_memory_utilization: {own:g} of GPU {gpu} is more than {names} {'leave' if len(others) > 1 else 'leaves'} of it, "
            f"{max(0.0, 1 - total):.2g}",
            "Set gpu_memory_utilization for each of them so that all are at most 0.95 together, or give this one another GPU",
        )


def _share(service: Service) -> float | None:
    """Of each of its GPUs (config/cache.py); None where it says how many bytes the cache has."""
    settings = Settings(service.options)
    return None if settings.get("kv_cache_memory_bytes") is not None else gpu_memory_utilization(settings)


_RULES = (
    _gpus_are_needed,
    _gpus_are_used,
    _blocks_are_of_sixteen,
    _metrics_are_needed,
    _offload_must_fit,
    _shm_is_memory,
    _batch_must_fit,
    _quantisation_is_told_by_the_model,
    _graphs_are_wanted,
    _processes_should_fit,
    _options_that_need_another,
    _a_tokenizer_is_a_path,
    _a_stop_should_end,
)
