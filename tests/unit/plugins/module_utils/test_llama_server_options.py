# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _llama_server_options as engine
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flags, parse_help
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import recorded

OLD_HELP = """
-fa,   --flash-attn                     enable Flash Attention (default: disabled)
--mlock                                 force system to keep model in RAM rather than swapping or compressing
-m,    --model FNAME                    model path
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
-c,    --ctx-size N                     size of the prompt context (default: 4096, 0 = loaded from model)
--lora FNAME                            path to LoRA adapter (can be repeated to use multiple adapters)
"""


@pytest.fixture(scope="module")
def flags() -> Flags:
    return parse_help(recorded("help.txt").decode())


def service(options: dict[str, Any] | None = None, **more: Any) -> Service:
    parsed, problems = parse({"name": "chat", "model": {"file": "/srv/models/chat.gguf"}, "port": 8080, "options": options or {}, **more})
    assert parsed is not None and not problems
    return parsed


# -- what a value becomes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("ctx_size", 32768, ["--ctx-size", "32768"]),
        ("ctx_size", "32768", ["--ctx-size", "32768"]),
        ("ctx-size", 32768, ["--ctx-size", "32768"]),
        ("parallel", -1, ["--parallel", "-1"]),
        ("temp", 0.7, ["--temp", "0.7"]),
        ("rope_freq_scale", 1e-05, ["--rope-freq-scale", "1e-05"]),
        ("n_gpu_layers", "all", ["--n-gpu-layers", "all"]),
        ("metrics", True, ["--metrics"]),
        ("cont_batching", True, ["--cont-batching"]),
        ("cont_batching", False, ["--no-cont-batching"]),
        ("webui", False, ["--no-webui"]),
        ("mmproj_auto", False, ["--no-mmproj-auto"]),
        ("no_warmup", True, ["--no-warmup"]),
        ("no_warmup", False, ["--warmup"]),
        ("no_host", True, ["--no-host"]),
        # YAML reads an unquoted on and off as true and false.
        ("flash_attn", True, ["--flash-attn", "on"]),
        ("flash_attn", False, ["--flash-attn", "off"]),
        ("flash_attn", "auto", ["--flash-attn", "auto"]),
        ("lazy_mode", False, ["--lazy-mode", "off"]),
        ("cpu_strict", True, ["--cpu-strict", "1"]),
        ("load_mode", "mmap+mlock", ["--load-mode", "mmap+mlock"]),
        ("tensor_split", [3, 1], ["--tensor-split", "3,1"]),
        ("cors_origins", ["https://a.example", "https://b.example"], ["--cors-origins", "https://a.example,https://b.example"]),
        ("samplers", ["top_k", "temperature"], ["--samplers", "top_k;temperature"]),
        ("control_vector_layer_range", [1, 9], ["--control-vector-layer-range", "1", "9"]),
        ("chat_template_kwargs", {"enable_thinking": False}, ["--chat-template-kwargs", '{"enable_thinking":false}']),
        ("chat_template", 'it\'s $5; "quoted" \\ and more', ["--chat-template", 'it\'s $5; "quoted" \\ and more']),
    ],
)
def test_an_option_is_its_flag(flags: Flags, option: str, value: Any, expected: list[str]) -> None:
    assert engine.render({option: value}, flags) == ([expected], [])


def test_a_flag_that_may_be_repeated_is_repeated() -> None:
    assert engine.render({"lora": ["/a", "/b"]}, parse_help(OLD_HELP)) == ([["--lora", "/a", "--lora", "/b"]], [])


def test_a_build_that_still_has_the_flag_may_use_it() -> None:
    assert engine.render({"mlock": True, "flash_attn": True}, parse_help(OLD_HELP)) == ([["--flash-attn"], ["--mlock"]], [])


def test_the_order_of_the_inventory_does_not_matter(flags: Flags) -> None:
    one, other = {"parallel": 2, "ctx_size": 1024}, {"ctx_size": 1024, "parallel": 2}
    assert engine.render(one, flags) == engine.render(other, flags) == ([["--ctx-size", "1024"], ["--parallel", "2"]], [])


def test_without_a_binary_the_flags_are_predicted() -> None:
    options = {"ctx_size": 1024, "metrics": True, "warmup": False, "tensor_split": [3, 1], "mlock": True}
    arguments, problems = engine.render(options, None)
    assert arguments == [["--ctx-size", "1024"], ["--metrics"], ["--tensor-split", "3,1"], ["--no-warmup"]]
    assert [problem.code for problem in problems] == ["option_removed"]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ({"ctx_sise": 1}, "option_unknown", "Did you mean ctx_size?"),
        ({"frobnicate": True}, "option_unknown", "--help"),
        ({"ngl": 99}, "option_unknown", "Use gpu_layers or n_gpu_layers"),
        ({"c": 1}, "option_unknown", "Use ctx_size"),
        ({"mlock": True}, "option_removed", "load_mode: mmap+mlock"),
        ({"no_mmap": True}, "option_removed", "load_mode: none"),
        ({"mmap": False}, "option_removed", "load_mode: none for false"),
        ({"direct_io": True}, "option_removed", "load_mode: dio"),
        ({"draft_max": 8}, "option_removed", "spec_draft_n_max"),
        ({"spec_ngram_size_n": 8}, "option_removed", "--spec-ngram-*-size-n"),
        ({"ctx_size": None}, "option_value", "has no value"),
        ({"ctx_size": True}, "option_value", "a number"),
        ({"ctx_size": "32k"}, "option_value", "'32k'"),
        ({"ctx_size": [1, 2]}, "option_value", "Give one value"),
        ({"ctx_size": {"a": 1}}, "option_value", "is a dict"),
        ({"n_gpu_layers": "most"}, "option_value", "a plain number or all or auto"),
        ({"metrics": "yes"}, "option_value", "true or false"),
        ({"metrics": 1}, "option_value", "true or false"),
        ({"metrics": False}, "option_value", "no flag that turns --metrics off"),
        ({"flash_attn": "yes"}, "option_value", "auto or off or on"),
        ({"cache_type_k": "fp8"}, "option_value", "'fp8'"),
        ({"load_mode": True}, "option_value", "mmap+mlock"),
        ({"tensor_split": []}, "option_value", "empty list"),
        ({"cors_origins": ["a,b"]}, "option_value", "'a,b'"),
        ({"control_vector_layer_range": [1]}, "option_value", "START END"),
        ({"warmup": True, "no_warmup": True}, "option_value", "sets the same as options.no_warmup"),
        ({"embedding": True, "embeddings": True}, "option_value", "sets the same as options.embedding"),
    ],
)
def test_a_bad_option_is_one_error_that_names_it(flags: Flags, options: dict[str, Any], code: str, told: str) -> None:
    _, problems = engine.render(options, flags)
    assert [(problem.code, problem.severity) for problem in problems] == [(code, "error")]
    assert told in str(problems[0])
    assert any(f"options.{option}" in problems[0].message for option in options)


def test_a_deprecated_flag_is_passed_on_with_a_warning(flags: Flags) -> None:
    arguments, problems = engine.render({"defrag_thold": 0.1}, flags)
    assert arguments == [["--defrag-thold", "0.1"]]
    assert [(problem.code, problem.severity) for problem in problems] == [("option_deprecated", "warning")]


# -- what belongs to the service ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("model", "model.file"),
        ("m", "model.file"),
        ("hf_repo", "model.file"),
        ("hfr", "model.file"),
        ("mm", "model.mmproj"),
        ("host", "key host"),
        ("port", "key port"),
        ("api_key", "key api_key"),
        ("api-key-file", "key api_key"),
        ("hf_token", "downloads nothing"),
        ("version", "Leave it out"),
        ("usage", "Leave it out"),
    ],
)
def test_what_the_service_says_itself_is_refused_under_every_name(flags: Flags, option: str, told: str) -> None:
    problems = list(engine.owned_problems({option: "the value"}, flags))
    assert [problem.code for problem in problems] == ["option_owned"]
    assert told in problems[0].remedy
    assert "the value" not in str(problems[0])  # it may be a secret


def test_the_own_arguments_come_first(flags: Flags) -> None:
    full = service({"ctx_size": 1024}, host="0.0.0.0,::1", api_key="sk-x", model={"file": "/m.gguf", "mmproj": "/p.gguf"})
    arguments, problems = engine.arguments(full, flags, "/run/key")
    assert problems == []
    assert arguments == [
        ["--model", "/m.gguf"],
        ["--mmproj", "/p.gguf"],
        ["--alias", "chat"],
        ["--host", "0.0.0.0,::1"],
        ["--port", "8080"],
        ["--api-key-file", "/run/key"],
        ["--ctx-size", "1024"],
    ]


def test_an_alias_of_ones_own_replaces_the_name(flags: Flags) -> None:
    arguments, _ = engine.arguments(service({"alias": ["zeta", "alpha"]}), flags, "")
    assert [line for line in arguments if line[0] == "--alias"] == [["--alias", "zeta,alpha"]]
    assert engine.alias(service({"alias": ["zeta", "alpha"]}), flags) == "alpha"
    assert engine.alias(service({"alias": "zeta,alpha"}), flags) == "alpha"
    assert engine.alias(service(), flags) == "chat"


@pytest.mark.parametrize(
    ("variable", "code", "told"),
    [
        ("LLAMA_ARG_CTX_SIZE", "environment_option", "options.ctx_size"),
        ("LLAMA_ARG_ENDPOINT_METRICS", "environment_option", "options.metrics"),
        ("LLAMA_ARG_KV_OFFLOAD", "environment_option", "options.kv_offload"),
        ("LLAMA_ARG_MLOCK", "environment_ignored", "not read"),
        ("LLAMA_ARG_PORT", "option_owned", "key port"),
        ("LLAMA_ARG_API_KEY_FILE", "option_owned", "key api_key"),
        ("LLAMA_CONTEXT_SIZE", "environment_ignored", "options.ctx_size"),
    ],
)
def test_variables_of_the_engine_are_told(flags: Flags, variable: str, code: str, told: str) -> None:
    problems = list(engine.environment_problems({variable: "1", "CUDA_LAUNCH_BLOCKING": "0"}, flags))
    assert [problem.code for problem in problems] == [code]
    assert told in str(problems[0])


# -- rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "more", "expected"),
    [
        ({"parallel": 0}, {}, [("parallel_zero", "error")]),
        ({"parallel": 1}, {}, []),
        ({"cache_type_v": "q8_0", "flash_attn": False}, {}, [("quantised_v_needs_flash_attention", "error")]),
        ({"cache_type_v": "q8_0", "flash_attn": "off"}, {}, [("quantised_v_needs_flash_attention", "error")]),
        ({"cache_type_v": "bf16", "flash_attn": "off"}, {}, []),
        ({"cache_type_k": "q8_0", "flash_attn": "off"}, {}, []),
        ({"cache_type_v": "q8_0"}, {}, []),
        ({"embeddings": True}, {}, [("embedding_batch", "warning")]),
        ({"embedding": True, "ubatch_size": 2048}, {}, []),
        ({"embeddings": True, "batch_size": 4096, "ubatch_size": 2048}, {}, [("embedding_batch", "warning")]),
        ({"embeddings": True, "batch_size": 512}, {}, []),
        ({}, {"resources": {"memory": "8GiB"}}, [("cache_ram_exceeds_memory", "warning")]),
        ({}, {"resources": {"memory": "16GiB"}}, []),
        ({"cache_ram": 0}, {"resources": {"memory": "512MiB"}}, []),
        ({"cache_ram": -1}, {"resources": {"memory": "512GiB"}}, [("cache_ram_exceeds_memory", "warning")]),
        ({"cache_reuse": 256}, {"model": {"file": "/m.gguf", "mmproj": "/p.gguf"}}, [("cache_reuse_without_effect", "warning")]),
        ({"context_shift": True}, {"model": {"file": "/m.gguf", "mmproj": "/p.gguf"}}, [("context_shift_without_effect", "warning")]),
        ({"context_shift": True}, {}, []),
        ({"cache_reuse": 256}, {}, []),
        ({"threads": 24}, {"resources": {"cpus": 8}}, [("threads_exceed_cpus", "warning")]),
        ({"threads": 8}, {"resources": {"cpus": 8}}, []),
        ({"n_gpu_layers": 0}, {"gpus": [0]}, [("gpus_without_layers", "error")]),
        ({"gpu_layers": "0"}, {"gpus": [0]}, [("gpus_without_layers", "error")]),
        ({"device": "none"}, {"gpus": [0]}, [("gpus_without_layers", "error")]),
        ({"n_gpu_layers": 20}, {"gpus": [0]}, []),
        ({"n_gpu_layers": "all", "device": "CUDA0"}, {"gpus": [0]}, []),
        ({"n_gpu_layers": 99}, {"gpus": []}, []),  # a class whose GPUs alone are overridden
        ({"device": "none"}, {}, []),
        ({"device": ["CUDA0", "CUDA1"]}, {}, [("device_without_gpus", "error")]),
    ],
)
@pytest.mark.parametrize("with_binary", [True, False])
def test_rules(flags: Flags, options: dict[str, Any], more: dict[str, Any], expected: list[tuple[str, str]], with_binary: bool) -> None:
    problems = engine.rule_problems(service(options, **more), flags if with_binary else None)
    assert [(problem.code, problem.severity) for problem in problems] == expected


@pytest.mark.parametrize(
    ("options", "gpus", "layers"),
    [
        ({}, [], None),
        ({"n_gpu_layers": 99}, [], None),
        ({}, [0], "all"),
        ({"n_gpu_layers": "auto"}, [0], "all"),
        ({"n_gpu_layers": -1}, [0], "all"),
        ({"gpu_layers": "all"}, [0], "all"),
        ({"gpu_layers": 20}, [0], "20"),
    ],
)
@pytest.mark.parametrize("with_binary", [True, False])
def test_how_many_layers_are_to_be_on_the_gpus(
    flags: Flags, options: dict[str, Any], gpus: list[int], layers: str | None, with_binary: bool
) -> None:
    assert engine.gpu_layers(service(options, gpus=gpus), flags if with_binary else None) == layers


def test_a_build_without_a_prompt_cache_needs_no_room_for_it() -> None:
    assert list(engine.rule_problems(service(resources={"memory": "1GiB"}), parse_help(OLD_HELP))) == []


@pytest.mark.parametrize(
    ("options", "trained", "expected"),
    [
        # Run against llama-server: -c 1024 -np 3 gives slots of 512.
        ({"ctx_size": 1024, "parallel": 3}, 4096, (3, 512)),
        ({"ctx_size": 32768, "parallel": 8}, 32768, (8, 4096)),
        ({"ctx_size": 1000, "parallel": 1}, 4096, (1, 1024)),
        ({"ctx_size": 1024, "parallel": 2, "kv_unified": True}, 4096, (2, 1024)),
        ({"ctx_size": 1024}, 4096, (4, 1024)),
        ({"ctx_size": 1024, "parallel": -1, "no_kv_unified": True}, 4096, (4, 1024)),
        ({"ctx_size": 8192, "parallel": 1}, 4096, (1, 4096)),
        ({"kv_unified": True, "kv_unified_per_slot": 512, "parallel": 2}, 4096, (2, 512)),
        # Only the running server can tell.
        ({}, 4096, (4, None)),
        ({"ctx_size": 0, "parallel": 2}, 4096, (2, None)),
        ({"ctx_size": 1024, "parallel": 2}, None, (2, None)),
        ({"ctx_size": 1024, "parallel": 2, "override_kv": "llama.context_length=int:512"}, 4096, (2, None)),
    ],
)
def test_slots(flags: Flags, options: dict[str, Any], trained: int | None, expected: tuple[int, int | None]) -> None:
    assert engine.slots(service(options), flags, trained) == engine.Slots(*expected)


def test_slots_of_a_build_that_has_one_by_default() -> None:
    assert engine.slots(service({"ctx_size": 1024}), parse_help(OLD_HELP), 4096) == engine.Slots(1, 1024)


def test_a_context_beyond_the_training_is_told(flags: Flags) -> None:
    too_long, fits = service({"ctx_size": 16384, "parallel": 2}), service({"ctx_size": 8192, "parallel": 2})
    assert [problem.code for problem in engine.context_problems(too_long, flags, 4096)] == ["context_beyond_training"]
    assert list(engine.context_problems(fits, flags, 4096)) == []
    assert list(engine.context_problems(too_long, flags, None)) == []


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ({"ctx_size": 2048, "parallel": 1, "batch_size": 512}, ["embedding_batch_below_context"]),
        ({"ctx_size": 2048, "parallel": 1, "batch_size": 2048, "ubatch_size": 2048}, []),
        ({"ctx_size": 2048, "parallel": 4, "batch_size": 512}, []),  # 512 tokens a slot
        ({"ctx_size": 8192, "parallel": 1, "batch_size": 512}, ["embedding_batch_below_context", "context_beyond_training"]),
    ],
)
def test_an_embedding_is_computed_in_one_batch(flags: Flags, options: dict[str, Any], codes: list[str]) -> None:
    found = engine.context_problems(service({"embeddings": True, **options}), flags, 2048)
    assert sorted(problem.code for problem in found) == sorted(codes)
    assert list(engine.context_problems(service(options), flags, 2**20)) == []


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--host", "127.0.0.1", "--port", "8080"], "http://127.0.0.1:8080"),
        (["--host", "0.0.0.0", "--port", "80"], "http://127.0.0.1:80"),
        (["--host", "::", "--port", "8080"], "http://[::1]:8080"),
        (["--host", "10.0.0.7,127.0.0.1", "--port", "8080"], "http://10.0.0.7:8080"),
        (["--host", "::1", "--port", "1", "--ssl-cert-file", "/c", "--api-prefix", "/llm"], "https://[::1]:1/llm"),
    ],
)
def test_base_url(argv: list[str], expected: str) -> None:
    assert engine.base_url(argv) == expected


@pytest.mark.parametrize(
    ("options", "expected"), [({"load_mode": "mmap+mlock"}, True), ({"mlock": True}, True), ({"load_mode": "mmap"}, False), ({}, False)]
)
def test_locking_is_seen(options: dict[str, Any], expected: bool) -> None:
    assert engine.locks_memory(service(options)) is expected
