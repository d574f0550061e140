# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _vllm_options as engine
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_flags import RELEASES
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_host_rules import cuda_of, host_problems
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_rules import (
    _REMOVED,
    _REMOVED_VARIABLES,
    environment_problems,
    shared_gpu_problems,
)
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import NEWEST, flags_of
from ansible_collections.baremetal.llm.tests.vllm.shim.vllm_shim.parser import accepts

IMAGE = f"vllm/vllm-openai:v{NEWEST}"


def service(options: dict[str, Any] | None = None, **more: Any) -> Service:
    given = {"name": "chat", "engine": "vllm", "manager": "compose", "model": {"file": "/srv/models/chat"}, "gpus": ["0"], "port": 8000}
    parsed, problems = parse({**given, "image": IMAGE, "options": options or {}, **more})
    assert parsed is not None and not problems
    return parsed


def found(of: Service) -> list[tuple[str, str]]:
    return [(problem.severity.value, problem.code) for problem in engine.static_problems(of)]


# -- what a value becomes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("max_model_len", 32768, ["--max-model-len", "32768"]),
        ("max-model-len", "32K", ["--max-model-len", "32K"]),
        ("max_model_len", "auto", ["--max-model-len", "auto"]),
        ("max_model_len", -1, ["--max-model-len", "-1"]),
        ("seed", -1, ["--seed", "-1"]),
        ("gpu_memory_utilization", 0.9, ["--gpu-memory-utilization", "0.9"]),
        ("gpu_memory_utilization", 1, ["--gpu-memory-utilization", "1"]),
        ("kv_offloading_size", 16.0, ["--kv-offloading-size", "16.0"]),
        ("enable_prefix_caching", True, ["--enable-prefix-caching"]),
        ("enable_prefix_caching", False, ["--no-enable-prefix-caching"]),
        ("no_enable_prefix_caching", True, ["--no-enable-prefix-caching"]),
        ("no_enable_prefix_caching", False, ["--enable-prefix-caching"]),
        ("disable_prefix_caching", True, ["--disable-prefix-caching"]),
        ("disable_prefix_caching", False, ["--enable-prefix-caching"]),
        ("enforce_eager", False, ["--no-enforce-eager"]),
        ("disable_log_stats", True, ["--disable-log-stats"]),
        ("served_model_name", "chat", ["--served-model-name", "chat"]),
        ("served_model_name", ["chat", "gpt"], ["--served-model-name", "chat", "gpt"]),
        ("cudagraph_capture_sizes", [1, 2, 4], ["--cudagraph-capture-sizes", "1", "2", "4"]),
        ("middleware", ["a.b", "c.d"], ["--middleware", "a.b", "--middleware", "c.d"]),
        ("allowed_origins", ["https://a.example"], ["--allowed-origins", '["https://a.example"]']),
        ("lora_modules", ["sql=/srv/lora"], ["--lora-modules", "sql=/srv/lora"]),
        ("lora_modules", [{"name": "sql", "path": "/l"}], ["--lora-modules", '{"name":"sql","path":"/l"}']),
        ("limit_mm_per_prompt", {"image": 2}, ["--limit-mm-per-prompt", '{"image":2}']),
        ("compilation_config", {"mode": 3}, ["--compilation-config", '{"mode":3}']),
        ("compilation_config", '{"mode": 3}', ["--compilation-config", '{"mode": 3}']),
        ("compilation_config.mode", 3, ["--compilation-config.mode", "3"]),
        ("compilation_config.pass_config", {"x": True}, ["--compilation-config.pass_config", '{"x":true}']),
        ("hf_overrides", {"a": 1}, ["--hf-overrides", '{"a":1}']),
        ("chat_template", "-{{ messages }}", ["--chat-template=-{{ messages }}"]),
        ("moe_backend", "FLASHINFER-CUTLASS", ["--moe-backend", "FLASHINFER-CUTLASS"]),
        ("max_lora_rank", 16, ["--max-lora-rank", "16"]),
    ],
)
def test_an_option_is_its_flag(option: str, value: Any, expected: list[str]) -> None:
    assert engine.render({option: value}, NEWEST) == ([expected], [])
    assert accepts(["/m", *expected]) is None


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ({"enable_chunked_prefill": "true"}, "option_value", "Use enable_chunked_prefill: true or enable_chunked_prefill: false, without"),
        ({"enforce_eager": 1}, "option_value", "is a switch"),
        ({"enforce_eager": None}, "option_value", "Write true to switch it on"),
        ({"disable_log_stats": False}, "option_value", "Leave it out, it is off"),
        ({"max_num_seqs": None}, "option_value", "has no value"),
        ({"max_num_seqs": True}, "option_value", "a whole number"),
        ({"max_num_seqs": "16k"}, "option_value", "a whole number"),
        ({"max_num_seqs": 16.0}, "option_value", "Use 16"),
        ({"max_num_seqs": [1, 2]}, "option_value", "Give one value"),
        ({"max_num_seqs": {"a": 1}}, "option_value", "is a dict"),
        ({"max_model_len": "32kib"}, "option_value", "32K (32768)"),
        ({"max_model_len": "1.5K"}, "option_value", "32K (32768)"),
        ({"gpu_memory_utilization": "95%"}, "option_value", "Use a plain number"),
        ({"kv_offloading_size": "16GiB"}, "option_value", "Use 16, a number of GiB"),
        ({"dtype": "fp16"}, "option_value", "half"),
        ({"kv_offloading_backend": "cpu"}, "option_value", "lmcache or native"),
        ({"kv_cache_dtype": "q8_0"}, "option_value", "fp8"),
        ({"max_lora_rank": 17}, "option_value", "16"),
        ({"gpu_memory_utilization": 0}, "option_value", "is 0. Use a number from 0.01 to 1"),
        ({"gpu_memory_utilization": 95}, "option_value", "is 95. Use a number from 0.01 to 1"),
        ({"device_memory_utilization": "nan"}, "option_value", "options.device_memory_utilization is nan"),
        ({"max_model_len": 0}, "option_value", "Use a number of at least 1"),
        ({"max_model_len": -2}, "option_value", "Use a number of at least 1"),
        ({"tensor_parallel_size": 0}, "option_value", "Use a number of at least 1"),
        ({"kv_offloading_size": -1.5}, "option_value", "Use a number of at least 0"),
        ({"compilation_config": "{"}, "option_value", "JSON"),
        ({"compilation_config": 3}, "option_value", "JSON"),
        ({"served_model_name": []}, "option_value", "empty list"),
        ({"served_model_name": ["a", "-b"]}, "option_value", "begins with '-'"),
        ({"max_num_seqs.x": 1}, "option_value", "Use max_num_seqs"),
        ({"gpu_memory_utilization": 0.5, "device_memory_utilization": 0.6}, "option_value", "the same as"),
        ({"enable_prefix_caching": True, "no_enable_prefix_caching": False}, "option_value", "the same as"),
        ({"max_seqs": 5}, "option_unknown", "Did you mean max_num_seqs"),
        ({"ctx_size": 5}, "option_unknown", "vLLM 0.33.0 has no --ctx-size"),
        ({"tp": 2}, "option_unknown", "Use tensor_parallel_size"),
        ({"--max-model-len": 2}, "option_unknown", "Write it as max_model_len"),
        ({"calculate_kv_scales": True}, "option_removed", "int8_per_token_head"),
        ({"swap_space": 4}, "option_removed", "kv_offloading_size"),
        ({"task": "embed"}, "option_removed", "runner: pooling"),
        ({"guided_decoding_backend": "xgrammar"}, "option_removed", "structured_outputs_config"),
        ({"override_attention_dtype": "x"}, "option_removed", "0.27.0 still had it"),
    ],
)
def test_a_wrong_option_is_told(options: dict[str, Any], code: str, told: str) -> None:
    problems = engine.render(options, NEWEST)[1]
    assert [problem.code for problem in problems] == [code]
    assert problems[0].severity.value == "error"
    assert told in str(problems[0])


def test_values_that_only_a_plugin_could_bring_are_a_warning() -> None:
    lines, problems = engine.render({"tokenizer_mode": "own"}, NEWEST)
    assert lines == [["--tokenizer-mode", "own"]]
    assert [(problem.severity.value, problem.code) for problem in problems] == [("warning", "option_value")]


def test_what_is_deprecated_is_told() -> None:
    lines, problems = engine.render({"log_config_file": "/f"}, NEWEST)
    assert lines == [["--log-config-file", "/f"]]
    assert [(problem.severity.value, problem.code) for problem in problems] == [("warning", "option_deprecated")]


@pytest.mark.parametrize(
    ("version", "options", "expected"),
    [
        # An old release has what a newer one dropped, and lacks what came.
        ("0.27.0", {"calculate_kv_scales": True}, []),
        ("0.27.1", {"calculate_kv_scales": True}, []),
        ("0.30.0", {"calculate_kv_scales": True}, ["error option_removed"]),
        ("0.15.0", {"swap_space": 4}, []),
        ("0.15.1", {"shutdown_timeout": 5}, ["error option_release"]),
        ("0.20.0", {"max_num_active_seqs": 4}, ["error option_release"]),
        # A flag was dropped, and came back as the negative form of its opposite.
        ("0.15.0", {"disable_log_requests": True}, ["warning option_deprecated"]),
        ("0.27.0", {"disable_log_requests": True}, ["error option_removed"]),
        ("0.33.0", {"disable_log_requests": True}, []),
        # Between two releases that were looked at, only what both say is certain.
        ("0.28.0", {"calculate_kv_scales": True}, ["warning option_release"]),
        ("0.28.0", {"max_num_seqs": 4}, []),
        ("0.28.0", {"mamba_cache_mode": "all"}, []),
        ("0.32.0", {"mamba_cache_mode": "all"}, ["warning option_release"]),
        ("0.32.0", {"mamba_cache_mode": "some"}, ["error option_value"]),
        ("0.28.0", {"frobnicate": 4}, ["error option_unknown"]),
        # What is newer than the table may have more, and takes what it took.
        ("0.40.0", {"frobnicate": 4}, ["warning option_unknown"]),
        ("0.40.0", {"max_num_seqs": 4}, []),
        ("0.40.0", {"dtype": "fp4"}, ["warning option_value"]),
        ("0.40.0", {"calculate_kv_scales": True}, ["error option_removed"]),
        ("0.8.5", {"swap_space": 4}, []),
        ("0.8.5", {"preemption_mode": "swap"}, ["warning option_unknown"]),
        # Where the release is not known, the newest is meant.
        (None, {"calculate_kv_scales": True}, ["error option_removed"]),
        (None, {"frobnicate": 4}, ["error option_unknown"]),
    ],
)
def test_the_release_of_the_image_counts(version: str | None, options: dict[str, Any], expected: list[str]) -> None:
    problems = engine.render(options, version)[1]
    assert [f"{problem.severity.value} {problem.code}" for problem in problems] == expected


def test_an_option_of_a_newer_release_is_predicted() -> None:
    options = {"new_switch": True, "new_other": False, "new_number": 4, "new_list": ["a", "b"], "new_dict": {"a": 1}}
    assert engine.render(options, "0.40.0")[0] == [
        ["--new-dict", '{"a":1}'],
        ["--new-list", "a", "b"],
        ["--new-number", "4"],
        ["--no-new-other"],
        ["--new-switch"],
    ]


def test_what_is_said_to_be_gone_is_gone() -> None:
    for name, (since, remedy) in _REMOVED.items():
        flag = "--" + name.replace("_", "-")
        assert flag not in flags_of(since), name
        assert since == RELEASES[0] or flag in flags_of(RELEASES[RELEASES.index(since) - 1]), name
        assert remedy.startswith(("Use ", "Leave it out")), name


@pytest.mark.parametrize("release", RELEASES[1:])
def test_what_is_rendered_is_taken(release: str) -> None:
    """Every flag of every release that takes one word, with a value of its kind."""
    values = {"switch": True, "int": 1, "float": 0.5, "human_readable_int": "8k", "human_readable_int_or_auto": "32K", "json": {"a": 1}}
    values |= {"config": "{}", "json_or_str": {"a": 1}, "str": "text", "lower": "auto", "lora": "a=/b"}
    for flag in dict.fromkeys(flags_of(release).values()):
        if flag.name in ("--model", "--compilation-config") or flag.kind == "config":
            continue
        value = flag.choices[0] if flag.choices and flag.kind != "int" else int(flag.choices[0]) if flag.choices else values[flag.kind]
        lines, problems = engine.render({flag.option: value}, release)
        assert [problem for problem in problems if problem.code != "option_deprecated"] == [], flag.name
        assert accepts(["/m", *lines[0]], release) is None, flag.name


# -- the whole command line --------------------------------------------------------------------------------------------


def test_the_services_own_keys_come_first() -> None:
    lines, problems = engine.arguments(service({"max_model_len": 8192}), "/models/chat", "0.0.0.0")
    assert problems == []
    assert lines == [
        ["/models/chat"],
        ["--served-model-name", "chat"],
        ["--host", "0.0.0.0"],
        ["--port", "8000"],
        ["--shutdown-timeout", "30"],
        ["--max-model-len", "8192"],
    ]
    assert accepts([word for line in lines for word in line]) is None


def test_a_name_in_the_options_is_the_name() -> None:
    named = service({"served_model_name": ["gpt", "other"], "shutdown_timeout": 5})
    lines = engine.arguments(named, "/m", "0.0.0.0")[0]
    assert ["--served-model-name", "gpt", "other"] in lines
    assert [line[0] for line in lines].count("--served-model-name") == 1
    assert [line[0] for line in lines].count("--shutdown-timeout") == 1
    assert engine.alias(named) == "gpt"
    assert engine.alias(service({"served_model_name": "one two"})) == "one two"
    assert engine.alias(service()) == "chat"


def test_requests_may_end_before_a_stop() -> None:
    old = service(image="vllm/vllm-openai:v0.15.0")
    assert engine.shutdown_timeout(service()) == 30
    assert engine.shutdown_timeout(service({"shutdown_timeout": 120})) == 120
    assert engine.shutdown_timeout(old) == 0
    assert not [line for line in engine.arguments(old, "/m", "0.0.0.0")[0] if line[0] == "--shutdown-timeout"]


@pytest.mark.parametrize(
    ("value", "tokens"), [(None, None), (32768, 32768), ("32K", 32768), ("32k", 32000), ("auto", None), (-1, None), ("many", None)]
)
def test_tokens_of_a_request(value: Any, tokens: int | None) -> None:
    assert engine.max_model_len(service({} if value is None else {"max_model_len": value})) == tokens


# -- rules -------------------------------------------------------------------------------------------------------------

FULL = {"cpus": 8, "memory": "32GiB", "shm_size": "8GiB"}


@pytest.mark.parametrize(
    ("options", "more", "expected"),
    [
        ({}, {}, []),
        ({}, {"gpus": []}, [("error", "gpus_needed")]),
        ({}, {"gpus": [0, 1]}, [("warning", "gpus_unused")]),
        ({"tensor_parallel_size": 2}, {"gpus": [0, 1]}, []),
        ({"block_size": 8}, {}, [("error", "block_size")]),
        ({"block_size": 32}, {}, []),
        ({"disable_log_stats": True}, {}, [("error", "metrics_disabled")]),
        ({"kv_offloading_size": 4.0}, {"resources": FULL}, []),
        ({"kv_offloading_size": 8}, {"resources": FULL}, []),
        ({"kv_offloading_size": 16.0}, {"resources": FULL}, [("error", "offload_exceeds_shm")]),
        ({"kv_offloading_size": 1}, {}, [("error", "offload_exceeds_shm")]),
        ({"kv_offloading_backend": "native"}, {}, [("warning", "offload_without_size")]),
        ({"kv_offloading_backend": "lmcache", "kv_offloading_size": 16}, {}, [("warning", "offload_needs_server")]),
        ({}, {"resources": {"memory": "8GiB", "shm_size": "8GiB"}}, [("warning", "shm_exceeds_memory")]),
        ({"max_num_batched_tokens": 2048, "max_model_len": "32k"}, {}, []),
        (
            {"max_num_batched_tokens": 2048, "max_model_len": "32k", "enable_chunked_prefill": False},
            {},
            [("error", "batch_below_length")],
        ),
        (
            {"max_num_batched_tokens": 2048, "max_model_len": "32k", "disable_chunked_prefill": True},
            {},
            [("error", "batch_below_length")],
        ),
        ({"max_num_batched_tokens": 64, "max_num_seqs": 128}, {}, [("error", "batch_below_sequences")]),
        ({"quantization": "awq"}, {}, [("warning", "quantization_given")]),
        ({"enforce_eager": True}, {}, [("warning", "enforce_eager")]),
        ({"no_enforce_eager": False}, {}, [("warning", "enforce_eager")]),
        ({"api_server_count": 4}, {"resources": FULL}, []),
        ({"api_server_count": 8}, {"resources": FULL}, [("warning", "servers_exceed_cpus")]),
        ({"api_server_count": 4}, {"resources": FULL, "environment": {"OMP_NUM_THREADS": 2}}, []),
        ({"api_server_count": 4}, {"resources": FULL, "environment": {"OMP_NUM_THREADS": 4}}, [("warning", "threads_exceed_cpus")]),
        ({"enable_auto_tool_choice": True}, {}, [("error", "option_incomplete")]),
        ({"enable_auto_tool_choice": True, "tool_call_parser": "mistral"}, {}, []),
        ({"enable_log_outputs": True}, {}, [("error", "option_incomplete")]),
        ({"tokenizer": "mistralai/Mistral-7B-v0.3"}, {}, [("error", "needs_download")]),
        ({"shutdown_timeout": 900}, {}, [("warning", "shutdown_takes_long")]),
        ({}, {"image": "vllm/vllm-openai:latest"}, [("warning", "image_release_unknown")]),
        *(
            ({key: "x"}, {}, [("error", "option_owned")])
            for key in ("model", "host", "port", "api_key", "uds", "revision", "config", "download_dir", "device_ids", "headless", "grpc")
        ),
        ({"hf-token": "x"}, {}, [("error", "option_owned")]),
        ({}, {"environment": {"HF_HOME": "/x"}}, [("error", "environment_owned")]),
        ({}, {"environment": {"VLLM_PORT": "8000"}}, [("warning", "environment_ignored")]),
        ({}, {"environment": {"PROMETHEUS_MULTIPROC_DIR": "/x"}}, [("warning", "environment_ignored")]),
        ({}, {"environment": {"VLLM_MEDIA_LOADING_THREAD_COUNT": "2", "OMP_NUM_THREADS": "2", "NCCL_DEBUG": "INFO"}}, []),
        ({}, {"environment": {"VLLM_LOGING_LEVEL": "DEBUG"}}, [("warning", "environment_ignored")]),
        ({"fail_on_environ_validation": True}, {"environment": {"VLLM_NO": "1"}}, [("error", "environment_ignored")]),
        ({}, {"environment": {"VLLM_ATTENTION_BACKEND": "FLASHINFER"}}, [("warning", "environment_ignored")]),
        ({}, {"environment": {"VLLM_NEW": "1"}, "image": "vllm/vllm-openai:v0.99.0"}, []),
    ],
)
def test_what_fails_or_disappoints_later_is_told(options: dict[str, Any], more: dict[str, Any], expected: list[Any]) -> None:
    assert found(service(options, **more)) == expected


def test_variables_that_went_are_replaced() -> None:
    for variable, remedy in _REMOVED_VARIABLES.items():
        (problem,) = environment_problems(service(environment={variable: "1"}), NEWEST)
        assert problem.remedy == remedy


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([{"gpu_memory_utilization": 0.5}, {"gpu_memory_utilization": 0.5}], [[], []]),
        ([{"gpu_memory_utilization": 0.5}, {"device_memory_utilization": 0.6}], [[], ["gpu_shares_exceed_one"]]),
        ([{}, {}], [[], ["gpu_shares_exceed_one"]]),  # each takes 0.92
        ([{}, {"kv_cache_memory_bytes": "1G"}], [[], []]),
        ([{"gpu_memory_utilization": 0.9}, {"gpu_memory_utilization": 0.1}], [[], []]),
        ([{"gpu_memory_utilization": 0.4}] * 3, [[], [], ["gpu_shares_exceed_one"]]),
    ],
)
def test_services_share_a_gpu(shares: list[dict[str, Any]], expected: list[list[str]]) -> None:
    services = [service(options, name=f"s{index}", port=8000 + index) for index, options in enumerate(shares)]
    told = [[problem.code for problem in shared_gpu_problems(each, services[:index])] for index, each in enumerate(services)]
    assert told == expected


def test_services_on_other_gpus_share_nothing() -> None:
    assert not list(shared_gpu_problems(service(), [service(gpus=["1"])]))


def test_services_that_share_several_gpus_are_told_of_the_fullest() -> None:
    half = {"gpu_memory_utilization": 0.5}
    earlier = [service(half, name="a", gpus=["0", "1"]), service({"gpu_memory_utilization": 0.3}, name="b", gpus=["1"])]
    (problem,) = shared_gpu_problems(service({**half, "gpu_memory_utilization": 0.6}, name="c", gpus=["0", "1"]), earlier)
    assert problem.message == "options.gpu_memory_utilization: 0.6 of GPU 1 is more than a and b leave of it, 0.2"


# -- the host ----------------------------------------------------------------------------------------------------------

A10 = {"index": 0, "uuid": "GPU-a10", "name": "NVIDIA A10", "compute_capability": "8.6"}


def of_host(of: Service, **host: Any) -> list[tuple[str, str]]:
    given = {"gpus": [A10], "driver_version": "580.126.09", "model_files": None, **host}
    return [(problem.severity.value, problem.code) for problem in host_problems(of, **given)]


@pytest.mark.parametrize(
    ("tag", "driver", "expected"),
    [
        ("v0.33.0", "580.126.09", []),
        ("v0.33.0", "570.195.03", ["image_needs_driver"]),
        ("v0.33.0-cu129", "570.195.03", []),
        ("v0.33.0-cu129", "470.256.02", ["image_needs_driver"]),
        ("v0.20.0", "570.195.03", ["image_needs_driver"]),
        ("v0.19.1", "570.195.03", []),
        ("latest", "470.256.02", []),
        ("v0.33.0", None, []),
    ],
)
def test_the_images_cuda_needs_a_driver(tag: str, driver: str | None, expected: list[str]) -> None:
    assert [code for _severity, code in of_host(service(image=f"vllm/vllm-openai:{tag}"), driver_version=driver)] == expected


def test_an_image_for_the_driver_is_named_where_there_is_one() -> None:
    def remedy(driver: str) -> str:
        (problem,) = host_problems(service(), gpus=[], driver_version=driver, model_files=None)
        return problem.remedy

    assert "-cu129" in remedy("570.195.03")
    assert "-cu129" not in remedy("470.256.02")


@pytest.mark.parametrize(
    ("image", "cuda"),
    [
        (IMAGE, (13, 0)),
        ("vllm/vllm-openai:v0.33.0-cu129-ubuntu2404", (12, 9)),
        ("vllm/vllm-openai:v0.33.0-ubuntu2404", (13, 0)),
        ("vllm/vllm-openai:v0.19.0", (12, 0)),
        ("example/vllm:v0.33.0", None),
        (None, None),
    ],
)
def test_the_tag_tells_the_cuda(image: str | None, cuda: tuple[int, int] | None) -> None:
    assert cuda_of(image) == cuda


@pytest.mark.parametrize(
    ("capability", "options", "expected"),
    [
        ("7.0", {}, [("error", "gpu_too_old")]),
        ("7.5", {}, []),
        ("7.5", {"dtype": "bfloat16"}, [("error", "dtype_unsupported")]),
        ("7.5", {"kv_cache_dtype": "fp8"}, [("error", "fp8_cache_unsupported")]),
        ("8.6", {"kv_cache_dtype": "fp8"}, [("warning", "fp8_cache_stored_only")]),
        ("8.6", {"kv_cache_dtype": "fp8_e5m2"}, [("warning", "fp8_cache_stored_only")]),
        ("8.6", {"kv_cache_dtype": "fp8_per_token_head"}, [("error", "fp8_cache_unsupported")]),
        ("8.6", {"kv_cache_dtype": "int8_per_token_head", "dtype": "bfloat16"}, []),
        ("8.6", {"kv_cache_dtype": "fp8", "attention_backend": "TRITON_ATTN"}, [("error", "fp8_cache_unsupported")]),
        ("8.6", {"kv_cache_dtype": "fp8", "attention_backend": "FLASHINFER"}, [("warning", "fp8_cache_stored_only")]),
        ("8.9", {"kv_cache_dtype": "fp8"}, []),
        ("12.0", {"kv_cache_dtype": "fp8"}, []),
        (None, {"kv_cache_dtype": "fp8"}, []),
    ],
)
def test_the_gpu_decides_what_is_possible(capability: str | None, options: dict[str, Any], expected: list[Any]) -> None:
    assert of_host(service(options), gpus=[{**A10, "compute_capability": capability}]) == expected


def test_only_the_services_own_gpus_count() -> None:
    old = {"index": 0, "uuid": "GPU-old", "name": "Tesla V100", "compute_capability": "7.0"}
    mig = {"uuid": "MIG-1", "profile": "1g.10gb"}
    there = [old, {**A10, "index": 1, "mig_devices": [mig]}]
    assert of_host(service({"kv_cache_dtype": "fp8"}, gpus=["MIG-1"]), gpus=there) == [("warning", "fp8_cache_stored_only")]
    assert of_host(service(gpus=["GPU-old"]), gpus=there) == [("error", "gpu_too_old")]
    assert of_host(service(gpus=["7"]), gpus=there) == []


@pytest.mark.parametrize(
    ("options", "files", "expected"),
    [
        ({"tokenizer_mode": "mistral"}, ["config.json", "tokenizer.json", "tokenizer.model"], ["tokenizer_files_missing"]),
        ({"tokenizer_mode": "mistral"}, ["tekken.json"], []),
        ({"tokenizer_mode": "mistral"}, ["tokenizer.model.v3"], []),
        ({"tokenizer_mode": "mistral"}, None, []),
        ({"tokenizer_mode": "mistral", "tokenizer": "/srv/other"}, ["tokenizer.json"], []),
        ({"tokenizer_mode": "auto"}, ["tokenizer.json"], []),
    ],
)
def test_the_tokenizer_of_mistral_needs_its_files(options: dict[str, Any], files: list[str] | None, expected: list[str]) -> None:
    assert [code for _severity, code in of_host(service(options), model_files=files)] == expected


def test_every_code_is_on_the_page_of_the_options() -> None:
    root = Path(__file__).parents[4]
    sources = [root / "plugins" / "module_utils" / f"_vllm_{name}.py" for name in ("options", "rules", "host_rules")]
    made = {code for source in sources for code in re.findall(r'\b(?:error|warning)\(\s*"(\w+)"', source.read_text("utf-8"))}
    rows = re.findall(r"^\| (`.*?) \|", (root / "docs" / "vllm-options.md").read_text("utf-8"), re.MULTILINE)
    told = {code for row in rows for code in re.findall(r"`(\w+)`", row) if not code.startswith("latest")}
    assert told == made - {"image_release_unknown"}
