# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known about the flags of llama.cpp's ``llama-server``, and how a service's options become its argument list.

An option is the engine's own long flag with underscores for dashes. Which flags there are, which values they take and what
their negative form is comes from the ``--help`` of the very binary that will run, so a new flag needs no change here. What
``--help`` does not tell (what was removed, what belongs to the service, what fails or disappoints at run time) is data and
rules below. They were read in, and run against, llama.cpp at commit 0c1e57098.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._listeners import endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flag, Flags
from ansible_collections.baremetal.llm.plugins.module_utils._near_names import suggestion
from ansible_collections.baremetal.llm.plugins.module_utils._option_problems import BadValueError, alternatives, bad_value
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service

# What the service says itself, by option; the remedy is the rest of the sentence "Use …".
_OWNED = {
    "model": "the service's key model.file",
    "mmproj": "the service's key model.mmproj",
    "host": "the service's key host",
    "port": "the service's key port",
    "api_key": "the service's key api_key",
    "api_key_file": "the service's key api_key",
    "model_url": "the service's key model.file; a download is not proven",
    "hf_repo": "the service's key model.file; a download is not proven",
    "hf_file": "the service's key model.file; a download is not proven",
    "docker_repo": "the service's key model.file; a download is not proven",
    "mmproj_url": "the service's key model.mmproj; a download is not proven",
    "hf_token": "no token: the server downloads nothing",
}  # fmt: skip

# With these the server prints something and ends.
_ENDS_THE_SERVER = frozenset({"help", "usage", "version", "cache_list", "completion_bash", "list_devices"})

# Flags that releases of llama.cpp have dropped, and what they do instead (common/arg.cpp of the commit above and its history).
# It is asked only when the binary does not list the flag, so a build that still has it stays usable.
_REMOVED = {
    "mlock": "load_mode: mmap+mlock (or load_mode: mlock, to lock it without mapping the file)",
    "mmap": "load_mode: mmap for true, load_mode: none for false",
    "no_mmap": "load_mode: none",
    "direct_io": "load_mode: dio",
    "no_direct_io": "load_mode: mmap",
    "slots_endpoint_disable": "slots: false",
    "draft": "spec_draft_n_max",
    "draft_n": "spec_draft_n_max",
    "draft_max": "spec_draft_n_max",
    "draft_min": "spec_draft_n_min",
    "draft_n_min": "spec_draft_n_min",
}

# Variables of container images that wrap llama-server, often copied into its environment, where nothing reads them.
_WRAPPER_VARIABLES = {
    "LLAMA_CONTEXT_SIZE": "ctx_size",
    "LLAMA_BATCH_SIZE": "batch_size",
    "LLAMA_THREADS": "threads",
    "LLAMA_GPU_LAYERS": "n_gpu_layers",
    "LLAMA_PARALLEL": "parallel",
    "CONTEXT_SIZE": "ctx_size",
    "N_GPU_LAYERS": "n_gpu_layers",
}

_GPU_LAYERS = ("n_gpu_layers", "gpu_layers")
ALL_LAYERS = "all"

_LOCKING_LOAD_MODES = frozenset({"mlock", "mmap+mlock"})
_UNQUANTISED = frozenset({"f32", "f16", "bf16"})
_AUTOMATIC_SLOTS = 4  # what -1 means; the KV cache is then unified (tools/server/server.cpp)
_CONTEXT_STEP = 256  # a context is padded up to a multiple of it (src/llama-context.cpp)
_DEFAULT_BATCH = 2048
_DEFAULT_UBATCH = 512
_DEFAULT_CACHE_RAM_MIB = 8192

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


# -- options to arguments --------------------------------------------------------------------------------------------


def render(options: Mapping[str, Any], flags: Flags | None) -> tuple[list[list[str]], list[Problem]]:
    """The options as arguments, one list for each option in the order of their names, and what is wrong with them.

    Without flags, for a binary that is still to come, they are only predicted.
    """
    arguments: list[list[str]] = []
    problems: list[Problem] = []
    used: dict[tuple[str, ...], str] = {}
    for key in sorted(options):
        flag = _assume(key, options[key]) if flags is None else _find(key, flags)
        if isinstance(flag, Problem):
            problems.append(flag)
            continue
        if flag.names in used:
            problems.append(bad_value(key, f"sets the same as options.{used[flag.names]}", "Keep one of the two"))
            continue
        used[flag.names] = key
        if "DEPRECATED" in flag.help:
            problems.append(warning("option_deprecated", f"options.{key} is deprecated in this build", "Leave it out"))
        try:
            arguments.append(_render_one(key, options[key], flag))
        except BadValueError as bad:
            problems.append(bad.problem)
    return arguments, problems


def _assume(key: str, value: Any) -> Flag | Problem:
    """The flag as it would be spelt."""
    word = key.replace("_", "-")
    if isinstance(value, bool):
        return _removed(key) or Flag(names=(f"--{word}", f"--no-{word}"))
    return _removed(key) or Flag(names=(f"--{word}",), value="VALUE", help="comma-separated or JSON")


def _find(key: str, flags: Flags) -> Flag | Problem:
    word = key.replace("_", "-")
    flag = flags.get(f"--{word}")
    if flag is not None and not flag.removed:
        return flag
    if problem := _removed(key):
        return problem
    if flag is not None:
        return error("option_removed", f"options.{key} was removed from llama-server", f"llama-server --help says: {flag.help}")
    if short := flags.get(f"-{word}"):
        names = " or ".join(_option(name) for name in short.names if name not in short.negatives)
        return error("option_unknown", f"options.{key} is the short form of a flag", f"Use {names}")
    known = [_option(name) for name, entry in flags.items() if name.startswith("--") and not entry.removed]
    remedy = suggestion(_option(key), known) or "`llama-server --help` lists those that it has"
    return error("option_unknown", f"options.{key}: this build of llama-server has no --{word}", remedy)


def _render_one(key: str, value: Any, flag: Flag) -> list[str]:
    name = "--" + key.replace("_", "-")
    if value is None:
        raise BadValueError(bad_value(key, "has no value", "Give it one, or leave it out"))
    if not flag.value:
        return [_switch(key, name, value, flag)]
    if isinstance(value, bool):
        return [name, _word_for(key, value, flag)]
    if isinstance(value, Mapping):
        if "json" not in flag.help.lower():
            raise BadValueError(bad_value(key, f"is a dict, but the flag takes {flag.value}", "Write it as a text"))
        return [name, json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)]
    if isinstance(value, (list, tuple)):
        return _list(key, name, [str(item) for item in value], flag)
    text = str(value)
    if flag.allowed and text not in flag.allowed:
        raise BadValueError(bad_value(key, f"is {text!r}, which the flag does not take", f"Use {alternatives(flag.allowed)}"))
    if flag.numeric and not _NUMBER.fullmatch(text) and text not in flag.words:
        raise BadValueError(
            bad_value(key, f"is {text!r}, but the flag takes a number", f"Use {alternatives({'a plain number', *flag.words})}")
        )
    return [name, text]


def _switch(key: str, name: str, value: Any, flag: Flag) -> str:
    if not isinstance(value, bool):
        raise BadValueError(bad_value(key, f"is {value!r}, but the flag is a switch", "Use true or false, without quotes"))
    if value:
        return name
    opposite = [other for other in flag.names if (other in flag.negatives) != (name in flag.negatives)]
    if not opposite:
        raise BadValueError(bad_value(key, f"is false, but llama-server has no flag that turns {name} off", "Leave it out"))
    preferred = f"--{name[5:]}" if name in flag.negatives else f"--no-{name[2:]}"
    return preferred if preferred in opposite else opposite[0]


def _word_for(key: str, value: bool, flag: Flag) -> str:
    """YAML reads an unquoted on or off as true or false, so the flag's own words for them are meant."""
    for on, off in (("on", "off"), ("1", "0")):
        if {on, off} <= flag.allowed:
            return on if value else off
    wanted = alternatives(flag.allowed) if flag.allowed else "a number" if flag.numeric else flag.value
    raise BadValueError(
        bad_value(key, f"is {str(value).lower()}, but the flag takes a value", f"Give it one ({wanted}), in quotes if it is a word")
    )


def _list(key: str, name: str, items: Sequence[str], flag: Flag) -> list[str]:
    if not items:
        raise BadValueError(bad_value(key, "is an empty list", "Give it a value, or leave it out"))
    if re.search(r"can be repeated|multiple times", flag.help):
        return [argument for item in items for argument in (name, item)]
    if " " in flag.value and "<" not in flag.value:
        if len(items) != len(flag.value.split()):
            raise BadValueError(bad_value(key, f"has {len(items)} values, but the flag takes {flag.value}", "Give as many as it takes"))
        return [name, *items]
    separator = ";" if "separated by ';'" in flag.help else ","
    if separator == "," and "comma-separated" not in flag.help and ("," not in flag.value or flag.allowed):
        raise BadValueError(bad_value(key, f"is a list, but the flag takes one {flag.value}", "Give one value"))
    for item in items:
        if separator in item:
            raise BadValueError(
                bad_value(key, f"has {item!r}, which llama-server would split at {separator!r}", "Give each value on its own")
            )
    return [name, separator.join(items)]


def _option(name: str) -> str:
    """How an option is written that stands for a flag."""
    return name.lstrip("-").replace("-", "_")


# -- what --help does not tell -----------------------------------------------------------------------------------------


def owned_problems(options: Mapping[str, Any], flags: Flags | None = None) -> Iterator[Problem]:
    """Options that are the service's own affair, under any of their names; known flags tell the names."""
    for key in options:
        word = key.replace("_", "-")
        flag = (flags or {}).get(f"--{word}") or (flags or {}).get(f"-{word}")
        for name in [_option(key), *(_option(name) for name in (flag.names if flag else ()))]:
            if name in _OWNED:
                yield error("option_owned", f"options.{key} is set by the service itself", f"Use {_OWNED[name]}")
                break
            if name in _ENDS_THE_SERVER:
                yield error("option_owned", f"options.{key} makes llama-server print something and end", "Leave it out")
                break


def _removed(key: str) -> Problem | None:
    replacement = _REMOVED.get(_option(key))
    if replacement is None:
        return None
    return error("option_removed", f"options.{key}: llama-server no longer has --{key.replace('_', '-')}", f"Use {replacement}")


def environment_problems(environment: Mapping[str, str], flags: Flags | None = None) -> Iterator[Problem]:
    """Variables that llama-server reads, or that one would think it reads."""
    by_variable = {flag.environment: flag for flag in (flags or {}).values() if flag.environment}
    for variable in environment:
        where = f"environment.{variable}"
        flag = by_variable.get(variable)
        option = (
            _option(flag.names[-1] if flag and not flag.negatives else flag.names[0]) if flag else variable[len("LLAMA_ARG_") :].lower()
        )
        if variable in _WRAPPER_VARIABLES:
            remedy = f"Use options.{_WRAPPER_VARIABLES[variable]}"
            yield warning("environment_ignored", f"{where} belongs to a container image's wrapper; llama-server does not read it", remedy)
        elif variable.startswith("LLAMA_ARG_") and option in _OWNED:
            yield error("option_owned", f"{where} is set by the service itself", f"Use {_OWNED[option]}")
        elif variable.startswith("LLAMA_ARG_") and flags is not None and flag is None:
            yield warning(
                "environment_ignored", f"{where} is not read by this build of llama-server", f"Use options.{option}, which is checked"
            )
        elif variable.startswith("LLAMA_ARG_"):
            yield warning("environment_option", f"{where} hides a setting of llama-server from the checks", f"Use options.{option}")


class Settings:
    """The options as the engine takes them: an alias is its flag, and a negative flag is its flag with false."""

    def __init__(self, options: Mapping[str, Any], flags: Flags | None = None) -> None:
        self.flags = flags
        self._values: dict[str, Any] = {}
        for key, value in options.items():
            name = "--" + key.replace("_", "-")
            flag = (flags or {}).get(name, Flag(names=(f"--no-{name[5:]}", f"--{name[5:]}") if name[:5] == "--no-" else (name,)))
            negated = name in flag.negatives and isinstance(value, bool)
            for other in set(flag.names) - set(flag.negatives):
                self._values[_option(other)] = not value if negated else value

    def get(self, *names: str) -> Any:
        """The value of the first of these names that is set."""
        return next((self._values[name] for name in names if name in self._values), None)

    def number(self, name: str, default: int) -> int:
        """A whole number; the default also for what is not one, which is told elsewhere."""
        value = self.get(name)
        return int(value) if re.fullmatch(r"-?\d+", str(value)) else default

    def on(self, *names: str) -> bool:
        return self.get(*names) in (True, "on")

    def off(self, *names: str) -> bool:
        return self.get(*names) in (False, "off")


def static_problems(service: Service) -> Iterator[Problem]:
    """What can be told of a service before there is a binary to ask; today's llama-server is meant."""
    yield from owned_problems(service.options)
    yield from (problem for key in service.options if (problem := _removed(key)))
    yield from environment_problems(service.environment)
    yield from rule_problems(service)


def launch_problems(service: Service, flags: Flags | None, trained_context: int | None) -> Iterator[Problem]:
    """What can be told once there are a binary and a model to ask, apart from what :func:`arguments` tells."""
    yield from owned_problems(service.options, flags)
    yield from environment_problems(service.environment, flags)
    yield from rule_problems(service, flags)
    yield from context_problems(service, flags, trained_context)


def rule_problems(service: Service, flags: Flags | None = None) -> Iterator[Problem]:
    """What would fail or disappoint at run time, although the command line is valid."""
    settings = Settings(service.options, flags)
    for rule in _RULES:
        yield from rule(service, settings)


def _slots_must_exist(service: Service, settings: Settings) -> Iterator[Problem]:
    # common/arg.cpp: "invalid value for n_parallel"
    if settings.number("parallel", -1) == 0:
        yield error("parallel_zero", "options.parallel: llama-server does not start with 0 slots", "Use 1 or more, or leave it out")


def _quantised_v_needs_flash_attention(service: Service, settings: Settings) -> Iterator[Problem]:
    # src/llama-context.cpp: "quantized V cache requires flash_attn to be enabled"
    cache_type = settings.get("cache_type_v")
    if cache_type is not None and cache_type not in _UNQUANTISED and settings.off("flash_attn"):
        yield error(
            "quantised_v_needs_flash_attention",
            f"options.cache_type_v: {cache_type} needs flash attention, which options.flash_attn turns off",
            "Use flash_attn: 'on' or leave it out, or cache_type_v: f16",
        )


def batches(settings: Settings) -> tuple[int, int]:
    """The logical and the physical batch, in tokens."""
    return settings.number("batch_size", _DEFAULT_BATCH), settings.number("ubatch_size", _DEFAULT_UBATCH)


def _embeddings_need_one_batch(service: Service, settings: Settings) -> Iterator[Problem]:
    # tools/server/server.cpp lowers the batch to the physical batch; a longer input is then answered with HTTP 500.
    batch, ubatch = batches(settings)
    if settings.on("embeddings", "embedding") and batch > ubatch:
        yield warning(
            "embedding_batch",
            f"options.ubatch_size is {ubatch} tokens: an embedding of a longer text will be refused, whatever batch_size ({batch}) says",
            f"Set ubatch_size: {batch}",
        )


def prompt_cache_mib(settings: Settings) -> int:
    """To what size the cache of prompts grows in the host's memory; negative for no limit."""
    return settings.number("cache_ram", _DEFAULT_CACHE_RAM_MIB)


def _prompt_cache_must_fit(service: Service, settings: Settings) -> Iterator[Problem]:
    # The prompt cache lives in the host's memory and grows up to its limit (--cache-ram).
    memory = service.resources.memory_bytes
    if memory is None or (settings.flags is not None and "--cache-ram" not in settings.flags):
        return
    cache_mib = prompt_cache_mib(settings)
    if cache_mib < 0 or cache_mib * 2**20 >= memory:
        size = "without a limit" if cache_mib < 0 else f"of up to {cache_mib} MiB"
        yield warning(
            "cache_ram_exceeds_memory",
            f"llama-server keeps a prompt cache {size}, but resources.memory stops the service at {memory // 2**20} MiB",
            "Set options.cache_ram to what is left beside the model, in MiB (0 for none)",
        )


def _cache_reuse_needs_text(service: Service, settings: Settings) -> Iterator[Problem]:
    # tools/server/server-context.cpp: "cache_reuse is not supported by multimodal, it will be disabled"
    if settings.number("cache_reuse", 0) > 0 and service.model.mmproj is not None:
        yield warning("cache_reuse_without_effect", "options.cache_reuse has no effect with model.mmproj", "Leave it out")


def _context_shift_needs_text(service: Service, settings: Settings) -> Iterator[Problem]:
    # tools/server/server-context.cpp: "ctx_shift is not supported by multimodal, it will be disabled"
    if settings.on("context_shift") and service.model.mmproj is not None:
        yield warning("context_shift_without_effect", "options.context_shift has no effect with model.mmproj", "Leave it out")


def _threads_should_fit(service: Service, settings: Settings) -> Iterator[Problem]:
    # llama-server counts the host's cores, not the share of them that the service may use.
    cpus = service.resources.cpus
    threads = settings.number("threads", -1)
    if cpus is not None and threads > cpus:
        yield warning(
            "threads_exceed_cpus",
            f"options.threads: {threads} threads would share resources.cpus: {cpus:g}, and stall each other",
            f"Set threads: {max(1, int(cpus))} or raise resources.cpus",
        )


def _gpus_are_to_be_used(service: Service, settings: Settings) -> Iterator[Problem]:
    # The other way round there is nothing to say: without a GPU, llama-server warns that it ignores n_gpu_layers, and serves.
    device = settings.get("device")
    keeps_away = {"n_gpu_layers: 0": str(settings.get(*_GPU_LAYERS)) == "0", "device: none": device in ("none", ["none"])}
    for option in [option for option, given in keeps_away.items() if given and service.gpus]:
        yield error(
            "gpus_without_layers",
            f"options.{option} keeps the model on the CPU, but gpus names {', '.join(service.gpus)}",
            "Leave the option out, which puts the whole model on the GPUs, or use gpus: [] for a service on the CPU",
        )
    # common/arg.cpp, parse_device_list: "invalid device"
    if not service.gpus and "CUDA" in str(device):
        yield error(
            "device_without_gpus",
            f"options.device: {device} is a GPU, but the service has none, and llama-server would not start",
            "Name the GPU in gpus and leave options.device out; the process sees the GPUs of its service and no others",
        )


_RULES = (
    _slots_must_exist,
    _quantised_v_needs_flash_attention,
    _embeddings_need_one_batch,
    _prompt_cache_must_fit,
    _cache_reuse_needs_text,
    _context_shift_needs_text,
    _threads_should_fit,
    _gpus_are_to_be_used,
)


def gpu_layers(service: Service, flags: Flags | None) -> str | None:
    """How many of the model's layers are to be on the GPUs: a number, or all of them, which `auto` aims at; None without a GPU."""
    if not service.gpus:
        return None
    asked = str(Settings(service.options, flags).get(*_GPU_LAYERS))
    return asked if asked.isdecimal() else ALL_LAYERS


@dataclass(frozen=True)
class Sharing:
    """How the requests share the context (tools/server/server.cpp, src/llama-context.cpp)."""

    slots: int
    unified: bool
    """One pool for all, of which each slot may use all; otherwise each has its own part."""
    asked: int
    """Tokens of context in all, 0 where the model decides."""
    limit: int
    """The most that one slot may have, 0 for no such limit."""

    def tokens_of(self, context: int) -> int:
        """What one slot can use of a context of so many tokens; each part is padded, so that all together may be more."""
        return _padded(context) if self.unified else _padded(_padded(context) // self.slots)


def sharing(settings: Settings) -> Sharing:
    flags = settings.flags
    automatic = _AUTOMATIC_SLOTS if flags is None or ("--parallel" in flags and "-1 = auto" in flags["--parallel"].help) else 1
    given = settings.number("parallel", -1)
    count = given if given > 0 else automatic
    limit = settings.number("kv_unified_per_slot", 0)
    return Sharing(
        slots=count,
        unified=(given < 0 and automatic > 1) or settings.on("kv_unified"),
        asked=max(0, settings.number("ctx_size", 0) or limit * count),
        limit=max(0, limit),
    )


def _padded(tokens: int) -> int:
    return -(-tokens // _CONTEXT_STEP) * _CONTEXT_STEP


@dataclass(frozen=True)
class Slots:
    count: int
    tokens: int | None
    """The context of each, None where only the running server can tell."""


def slots(service: Service, flags: Flags | None, trained_context: int | None) -> Slots:
    """How many requests are served at once, and how many tokens each may have."""
    settings = Settings(service.options, flags)
    shared = sharing(settings)
    if shared.asked <= 0 or trained_context is None or settings.get("override_kv") is not None:
        return Slots(shared.slots, None)
    tokens = shared.tokens_of(shared.asked)
    return Slots(shared.slots, min(tokens, trained_context, shared.limit or tokens))


def context_problems(service: Service, flags: Flags | None, trained_context: int | None) -> Iterator[Problem]:
    """A slot longer than the model was trained for costs memory and is cut off."""
    untrained = slots(service, flags, 2**62).tokens
    if trained_context is not None and untrained is not None and untrained > trained_context:
        yield warning(
            "context_beyond_training",
            f"options.ctx_size gives each slot {untrained} tokens, but the model has {trained_context}: the rest only costs memory",
            f"Lower ctx_size so that a slot has at most {trained_context}",
        )
    yield from _embeddings_need_whole_inputs(service, flags, trained_context)


def _embeddings_need_whole_inputs(service: Service, flags: Flags | None, trained_context: int | None) -> Iterator[Problem]:
    # An embedding is computed in one physical batch (tools/server/server.cpp); a longer input is answered with HTTP 500.
    settings = Settings(service.options, flags)
    tokens = slots(service, flags, trained_context).tokens
    batch, ubatch = batches(settings)
    if settings.on("embeddings", "embedding") and tokens is not None and batch <= ubatch and batch < tokens:
        yield warning(
            "embedding_batch_below_context",
            f"options.batch_size is {batch} tokens: an embedding of a longer text will be refused, although a slot has {tokens}",
            f"Set batch_size and ubatch_size to {tokens}",
        )


def alias(service: Service, flags: Flags | None) -> str:
    """The model's name in the API; of several, llama-server presents the first in the order of the alphabet."""
    value = Settings(service.options, flags).get("alias")
    names = value if isinstance(value, list) else str(service.name if value is None else value).split(",")
    return min(str(name) for name in names)


def base_url(argv: Sequence[str]) -> str:
    """Where the host itself reaches the API of a server that runs with these arguments."""
    address = (value_of("--host", argv) or "127.0.0.1").split(",")[0]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    scheme = "https" if value_of("--ssl-cert-file", argv) else "http"
    return f"{scheme}://{endpoint(local, int(value_of('--port', argv) or 8080))}{value_of('--api-prefix', argv) or ''}"


def value_of(flag: str, argv: Sequence[str]) -> str | None:
    return argv[argv.index(flag) + 1] if flag in argv[:-1] else None


def locks_memory(service: Service) -> bool:
    """Whether the engine will ask the kernel to keep the model in memory, which needs a limit that allows it."""
    settings = Settings(service.options)
    return settings.get("load_mode") in _LOCKING_LOAD_MODES or settings.on("mlock")


def arguments(service: Service, flags: Flags | None, key_file: str) -> tuple[list[list[str]], list[Problem]]:
    """All arguments of the service, those of the service's own keys first; ``key_file`` is where the process finds the API key."""
    lines = [["--model", service.model.file]]
    if service.model.mmproj is not None:
        lines.append(["--mmproj", service.model.mmproj])
    if Settings(service.options, flags).get("alias") is None:
        lines.append(["--alias", service.name])
    lines += [["--host", ",".join(service.addresses)], ["--port", str(service.port)]]
    if service.api_key is not None:
        lines.append(["--api-key-file", key_file])
    chosen, problems = render(service.options, flags)
    return lines + chosen, problems
