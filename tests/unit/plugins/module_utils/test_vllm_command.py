# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the commands that are in use: every option of them is rendered, or refused with what to write instead."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _vllm_options as engine
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, errors
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_command import options_of, service_of
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_host_rules import host_problems
from ansible_collections.baremetal.llm.tests.vllm.shim.vllm_shim.parser import accepts

TEXT = (Path(__file__).parents[1] / "fixtures" / "vllm" / "docker_run.txt").read_text("utf-8")
BLOCKS = [block.partition("\n") for block in TEXT.split("\n\n")[1:]]
COMMANDS = {name.lstrip("# "): shlex.split(command.replace("\\\n", " ")) for name, _line, command in BLOCKS}
A10 = {"index": 0, "uuid": "GPU-a10", "name": "NVIDIA A10", "compute_capability": "8.6"}
# What such a repository holds: quantised by somebody else than Mistral, so without the files of its tokenizer.
FILES = ["config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer.model"]

# Every option of vLLM's in them: what it is rendered as, or the code of what is wrong and the words that say what to write instead.
OPTIONS: dict[str, tuple[list[str], str, str]] = {
    "--served-model-name mistral-awq": (["--served-model-name", "mistral-awq"], "", ""),
    "--quantization awq": (["--quantization", "awq"], "quantization_given", "Leave it out"),
    "--dtype float16": (["--dtype", "float16"], "", ""),
    "--max-model-len 16384": (["--max-model-len", "16384"], "", ""),
    "--max-model-len 32768": (["--max-model-len", "32768"], "", ""),
    "--gpu-memory-utilization 0.90": (["--gpu-memory-utilization", "0.9"], "", ""),
    "--gpu-memory-utilization 0.95": (["--gpu-memory-utilization", "0.95"], "", ""),
    "--max-num-seqs 16": (["--max-num-seqs", "16"], "", ""),
    "--max-num-seqs 20": (["--max-num-seqs", "20"], "", ""),
    "--max-num-seqs 32": (["--max-num-seqs", "32"], "", ""),
    "--max-num-batched-tokens 16384": (["--max-num-batched-tokens", "16384"], "", ""),
    "--enable-chunked-prefill": (["--enable-chunked-prefill"], "", ""),
    "--enable-prefix-caching": (["--enable-prefix-caching"], "", ""),
    "--api-server-count 4": (["--api-server-count", "4"], "", ""),
    "--kv-offloading-size 16.0": (["--kv-offloading-size", "16.0"], "offload_exceeds_shm", "Set resources.shm_size: 17GiB"),
    "--kv-offloading-backend native": (["--kv-offloading-backend", "native"], "", ""),
    "--tokenizer-mode mistral": (
        ["--tokenizer-mode", "mistral"],
        "tokenizer_files_missing",
        "Leave it out: vLLM then takes what the model has",
    ),
    "--block-size 16": (["--block-size", "16"], "", ""),
    "--kv-cache-dtype fp8": (["--kv-cache-dtype", "fp8"], "fp8_cache_stored_only", "for more tokens, not for speed"),
    "--calculate-kv-scales true": ([], "option_removed", "Leave it out: scales come from the model's files"),
    "--disable-log-stats": (["--disable-log-stats"], "metrics_disabled", "Leave it out"),
    "--enforce-eager": (["--enforce-eager"], "enforce_eager", "Leave it out"),
}

# What its text advises beside, where a choice does not suit.
ADVISED: dict[str, tuple[list[str], str, str]] = {
    "--api-server-count 2": (["--api-server-count", "2"], "", ""),
    "--api-server-count 6": (["--api-server-count", "6"], "", ""),
    "--block-size 8": (["--block-size", "8"], "block_size", "Leave it out: it is 16"),
    "--kv-offloading-size 8.0": (["--kv-offloading-size", "8.0"], "", ""),
    "--kv-offloading-size 12.0": (["--kv-offloading-size", "12.0"], "offload_exceeds_shm", "Set resources.shm_size: 13GiB"),
    "--max-num-batched-tokens 8192": (["--max-num-batched-tokens", "8192"], "", ""),
    "--max-num-batched-tokens 24576": (["--max-num-batched-tokens", "24576"], "", ""),
    "--max-num-batched-tokens 32768": (["--max-num-batched-tokens", "32768"], "", ""),
    "--max-num-seqs 12": (["--max-num-seqs", "12"], "", ""),
    "--max-num-seqs 24": (["--max-num-seqs", "24"], "", ""),
}

# Those of Docker's: the keys of the service, or the words that say why there is none.
DOCKER: dict[str, tuple[dict[str, Any], str]] = {
    "-d": ({}, ""),
    "--name solidrust-mistral-awq": ({"name": "solidrust-mistral-awq"}, ""),
    "--gpus all": ({"gpus": ["0"]}, "Name each in gpus"),
    "--ipc=host": ({}, "a service has its own /dev/shm, of resources.shm_size"),
    "--shm-size=8g": ({"resources": {"shm_size": "8GiB"}}, ""),
    "-p 8000:8000": ({"host": "0.0.0.0", "port": 8000}, ""),
    "-v /opt/models:/models": ({}, ""),
    "--restart unless-stopped": ({}, "is the manager's"),
    "--cpus=8": ({"resources": {"cpus": 8.0}}, ""),
    "--memory=32g": ({"resources": {"memory": "32GiB"}}, ""),
    "--ulimit memlock=-1": ({"resources": {"ulimits": {"memlock": -1}}}, ""),
    "--ulimit stack=67108864": ({"resources": {"ulimits": {"stack": 67108864}}}, ""),
    "-e VLLM_MEDIA_LOADING_THREAD_COUNT=2": ({"environment": {"VLLM_MEDIA_LOADING_THREAD_COUNT": "2"}}, ""),
    "-e OMP_NUM_THREADS=2": ({"environment": {"OMP_NUM_THREADS": "2"}}, ""),
}


def read(service: dict[str, Any]) -> Service:
    parsed, problems = parse({"name": "chat", "gpus": ["0"], "port": 8000, "model": {"file": "/opt/models/m"}, **service})
    assert parsed is not None and not errors(problems)
    return parsed


def problems_of(service: Service) -> list[Problem]:
    on_the_host = host_problems(service, gpus=[A10], driver_version="580.126.09", model_files=FILES)
    return [*engine.static_problems(service), *on_the_host]


def split(words: list[str]) -> list[str]:
    """The words of a command, an option and its value in one."""
    pairs: list[str] = []
    for word in words:
        if not word.startswith("-") and pairs and re.match(r"-[^= ]+$", pairs[-1]) and pairs[-1] != "-d":
            pairs[-1] += f" {word}"
        else:
            pairs.append(word)
    return pairs


def parts(command: list[str]) -> tuple[list[str], list[str]]:
    """The options of Docker's, and those of vLLM's."""
    image = command.index("vllm/vllm-openai:latest")
    return split(command[2:image]), split(command[image + 2 :])


def test_the_tables_have_every_option_of_the_commands() -> None:
    assert len(COMMANDS) == 5
    docker, vllm = zip(*(parts(command) for command in COMMANDS.values()), strict=True)
    assert {option for options in docker for option in options} == set(DOCKER)
    assert {option for options in vllm for option in options} == set(OPTIONS)


@pytest.mark.parametrize("literal", [*OPTIONS, *ADVISED])
def test_an_option_is_rendered_or_refused_with_what_to_write_instead(literal: str) -> None:
    words, code, told = {**OPTIONS, **ADVISED}[literal]
    _model, options, problems = options_of(["/m", *shlex.split(literal)])
    service = read(
        {"engine": "vllm", "manager": "compose", "image": "vllm/vllm-openai:v0.33.0", "options": options, "resources": {"shm_size": "8GiB"}}
    )
    rendered = [line for line in engine.arguments(service, "/m", "0.0.0.0")[0] if line == words]
    assert rendered == ([words] if words else [])
    found = [problem for problem in [*problems, *problems_of(service)] if problem.code != "offload_without_size"]
    assert [problem.code for problem in found] == ([code] if code else [])
    assert all(told in str(problem) for problem in found)
    # What is rendered is what vLLM takes; what is refused for its spelling, vLLM would refuse.
    assert (accepts(["/m", *shlex.split(literal)]) is None) == bool(words)


@pytest.mark.parametrize("literal", DOCKER)
def test_an_option_of_dockers_is_a_key_of_the_service_or_told(literal: str) -> None:
    keys, told = DOCKER[literal]
    service, problems = service_of(["docker", "run", *shlex.split(literal), "vllm/vllm-openai:v0.33.0", "/m"])
    rest = {key: value for key, value in service.items() if key not in ("engine", "manager", "image", "model", "options") and value}
    assert rest == keys
    assert [told in str(problem) for problem in problems] == ([True] if told else [])


@pytest.mark.parametrize(
    ("name", "errors_of_it"),
    [
        ("as it runs", ["metrics_disabled", "tokenizer_files_missing"]),
        ("recommended", ["metrics_disabled", "tokenizer_files_missing"]),
        ("with more API servers", ["option_removed", "metrics_disabled", "tokenizer_files_missing"]),
        ("with offload of the cache", ["option_removed", "metrics_disabled", "offload_exceeds_shm", "tokenizer_files_missing"]),
        ("all together", ["option_removed", "metrics_disabled", "offload_exceeds_shm", "tokenizer_files_missing"]),
    ],
)
def test_a_command_is_refused_for_exactly_what_is_wrong(name: str, errors_of_it: list[str]) -> None:
    raw, _problems = service_of(COMMANDS[name])
    assert raw["model"] == {"file": "/opt/models/solidrust-mistral-7b-instruct-v0.3-awq"}
    assert [problem.code for problem in errors(problems_of(read(raw)))] == errors_of_it


def test_what_is_told_to_be_written_instead_is_accepted() -> None:
    raw, _problems = service_of(COMMANDS["all together"])
    for option in ("calculate_kv_scales", "disable_log_stats", "tokenizer_mode", "quantization"):
        del raw["options"][option]
    raw["resources"]["shm_size"] = "17GiB"
    raw["image"] = "vllm/vllm-openai:v0.33.0"
    service = read(raw)
    assert [problem.code for problem in problems_of(service)] == ["fp8_cache_stored_only"]
    lines, problems = engine.arguments(service, "/models/m", "0.0.0.0")
    assert problems == []
    assert accepts([word for line in lines for word in line]) is None


# -- careless forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "options", "told"),
    [
        ("--enable-chunked-prefill true", {"enable_chunked_prefill": True}, "Write it as enable_chunked_prefill: true"),
        ("--enforce-eager=false", {"enforce_eager": False}, "Write it as enforce_eager: false"),
        ("--max_model_len=32k", {"max_model_len": "32k"}, ""),
        ("--max-model-len 32768 -tp 2", {"max_model_len": 32768, "tensor_parallel_size": 2}, ""),
        ("--served-model-name a b --seed -1", {"served_model_name": ["a", "b"], "seed": -1}, ""),
    ],
)
def test_words_become_options(words: str, options: dict[str, Any], told: str) -> None:
    model, found, problems = options_of(["/m", *shlex.split(words)])
    assert model == "/m"
    assert found == options
    assert [told in str(problem) for problem in problems] == ([True] if told else [])


def test_a_command_may_be_less_or_more_than_usual() -> None:
    raw, problems = service_of(
        shlex.split(
            "docker run --rm --network host --gpus '\"device=0,1\"' -p 127.0.0.1:9000:8000 -m 512x vllm/vllm-openai:v0.33.0 "
            "vllm serve mistralai/Mistral-7B-v0.3 --host 1 stray"
        )
    )
    assert (raw["gpus"], raw["host"], raw["port"]) == (["0", "1"], "127.0.0.1", 9000)
    assert raw["model"] == {"repo_id": "mistralai/Mistral-7B-v0.3"}
    assert raw["options"] == {"host": [1, "stray"]}
    assert [problem.message.split()[1] for problem in problems] == ["--rm", "--network", "-p", "-m"]
    assert service_of(["-e", "A=1"])[0]["environment"] == {"A": "1"}
    assert [problem.code for problem in options_of(["--x=1", "/m"])[2]] == ["command_word"]
