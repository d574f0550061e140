# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vLLM box of inventories/example, as Ansible reads it: its command line, its choices, and whether they fit on its GPU."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.filter.service_problems import FilterModule
from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_host_rules import host_problems
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_options import arguments
from ansible_collections.baremetal.llm.tests.example_inventory import ROOT, rows
from ansible_collections.baremetal.llm.tests.vllm.shim.vllm_shim.parser import accepts

HOST = "vllm-1"
A10 = {"index": 0, "name": "NVIDIA A10", "uuid": "GPU-1", "compute_capability": "8.6", "memory_mib": 23028}
SNAPSHOT = "/hub/snapshot"
COMPOSE = "community.docker.docker_compose_v2"
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer.model"]
MISTRAL = {
    "config": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "torch_dtype": "float16",
        "vocab_size": 32768,
    },
    "tensor_bytes": 4_150_000_000,
}
"""Its config.json, as far as memory goes, and what its weights take."""

service_problems = FilterModule().filters()["service_problems"]


@pytest.fixture
def entries(example: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    return lambda **extra: example(HOST, "inference_services", vault_mistral_awq_api_key="a" * 32, **extra)


def only(entries: list[dict[str, Any]]) -> Service:
    (entry,) = entries
    service, problems = parse(entry)
    assert service is not None
    assert problems == []
    return service


def words(service: Service) -> list[str]:
    lines, problems = arguments(service, SNAPSHOT, "0.0.0.0")
    assert problems == []
    return [word for line in lines for word in line]


COMMAND = f"{SNAPSHOT} --served-model-name mistral-awq --host 0.0.0.0 --port 8000 --shutdown-timeout 30"
BOTH = {
    "--dtype float16",
    "--enable-chunked-prefill",
    "--enable-prefix-caching",
    "--kv-cache-dtype auto",
    "--max-model-len 32768",
    "--max-num-batched-tokens 16384",
}
CONFIGURATIONS = {
    "basic": {*BOTH, "--gpu-memory-utilization 0.95", "--max-num-seqs 20"},
    "full": {
        *BOTH,
        "--gpu-memory-utilization 0.9",
        "--max-num-seqs 32",
        "--api-server-count 4",
        "--kv-offloading-size 8",
        "--kv-offloading-backend native",
    },
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_command_is_as_promised_and_vllm_takes_it(entries: Callable[..., Any], configuration: str) -> None:
    command = words(only(entries(vllm_configuration=configuration)))
    assert " ".join(command) == " ".join([COMMAND, *sorted(CONFIGURATIONS[configuration])])
    assert accepts(command) is None


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_nothing_is_wrong_with_a_choice(entries: Callable[..., Any], configuration: str, kv_cache_dtype: str) -> None:
    written = entries(vllm_configuration=configuration, vllm_kv_cache_dtype=kv_cache_dtype)
    assert service_problems(written, gpus=[A10]) == []
    found = host_problems(only(written), gpus=[A10], driver_version="580.126.09", model_files=FILES)
    assert [problem.code for problem in found] == (["fp8_cache_stored_only"] if kv_cache_dtype == "fp8" else [])


def planned(service: Service, memory_mib: int = 23028, **options: Any) -> dict[str, Any]:
    memory, gpu = str(service.resources.memory_bytes), {**A10, "memory_mib": memory_mib}
    return plan_for(
        MISTRAL, engine="vllm", options={**service.options, **options}, gpus=[gpu], resources={"memory": memory}
    ).as_dict()  # fmt: skip


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_choice_fits_on_every_gpu_that_the_page_promises(entries: Callable[..., Any], configuration: str, kv_cache_dtype: str) -> None:
    service = only(entries(vllm_configuration=configuration, vllm_kv_cache_dtype=kv_cache_dtype))
    for gib in (21, 24):
        plan = planned(service, gib * 1024)
        # That not all requests can be that long at once is what the page is about.
        assert plan["fits"] and [problem["code"] for problem in plan["problems"]] == ["sequences_exceed_cache"]


def test_the_page_tells_what_the_plan_does_in_its_sentences_too(entries: Callable[..., Any]) -> None:
    page = " ".join((ROOT / "docs/host-classes/vllm.md").read_text("utf-8").split())
    plans = {
        dtype: [planned(only(entries(vllm_configuration=name, vllm_kv_cache_dtype=dtype))) for name in CONFIGURATIONS]
        for dtype in ("auto", "fp8")
    }
    most = {dtype: {int(plan["capacity"]["sequences_of_full_length"]) for plan in each} for dtype, each in plans.items()}
    (of_auto,), (of_fp8,) = most["auto"], most["fp8"]
    assert f"set it to {of_auto}, or to {of_fp8} with fp8" in page
    service = only(entries())
    large, small = planned(service), planned(service, max_num_batched_tokens=2048)
    gib = (large["gpus"][0]["compute_mib"] - small["gpus"][0]["compute_mib"]) / 1024
    tokens = round(small["capacity"]["kv_cache_tokens"] - large["capacity"]["kv_cache_tokens"], -2)
    assert f"Costs about {gib:.1f} GiB against the default of 2048, so {tokens} tokens of the cache" in page
    per_token = large["kv_bytes_per_token"]
    assert f"= {per_token // 1024} KiB of the cache" in page and f"takes {per_token * 32768 // 2**30} GiB, or" in page


def test_the_page_shows_what_fits(entries: Callable[..., Any]) -> None:
    page = (ROOT / "docs/host-classes/vllm.md").read_text("utf-8")
    expected = []
    for configuration in CONFIGURATIONS:
        for dtype, shown in (("auto", "auto` (float16)"), ("fp8", "fp8")):
            service = only(entries(vllm_configuration=configuration, vllm_kv_cache_dtype=dtype))
            plan = planned(service)
            assert plan["fits"], plan["problems"]
            tokens = plan["capacity"]["kv_cache_tokens"]
            limit = service.options["max_num_seqs"]
            shorter = [str(min(limit, tokens // length)) for length in (8192, 2048)]
            expected.append([configuration, shown, str(tokens), f"{tokens / 32768:.1f}", *shorter])
    assert rows(page, "`vllm_configuration` | `vllm_kv_cache_dtype`") == expected


def test_the_page_shows_the_choices_as_they_are(example: Callable[..., Any]) -> None:
    page = (ROOT / "docs/host-classes/vllm.md").read_text("utf-8")
    assert rows(page, "`vllm_configuration` | `gpu_memory_utilization`") == [
        [
            name,
            f"{choice['options']['gpu_memory_utilization']:g}",
            str(choice["options"]["max_num_seqs"]),
            choice["resources"]["memory"],
            choice["verdict"],
        ]
        for name, choice in example(HOST, "vllm_configurations").items()
    ]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_page_names_every_option(entries: Callable[..., Any], configuration: str) -> None:
    page = (ROOT / "docs/host-classes/vllm.md").read_text("utf-8")
    options = only(entries(vllm_configuration=configuration)).options
    assert [option for option in options if option not in page] == []


def test_the_page_names_every_setting_of_the_guide() -> None:
    page = (ROOT / "docs/host-classes/vllm.md").read_text("utf-8")
    commands = (ROOT / "tests/unit/plugins/fixtures/vllm/docker_run.txt").read_text("utf-8")
    settings = set(re.findall(r"(?<= )--?[a-z][a-z-]*|[A-Z_]{5,}(?==)", commands)) - {"-d"}
    assert len(settings) > 30
    assert sorted(setting for setting in settings if not re.search(rf"`(-e )?{setting}\b", page)) == []


def test_services_load_one_after_the_other() -> None:
    """Those that load at the same time on one GPU both take the same memory for free."""
    starting, making = (
        yaml.safe_load((ROOT / "roles/inference/tasks" / name).read_text("utf-8")) for name in ("start_due.yml", "compose.yml")
    )
    (each,) = [task for task in starting if task.get("ansible.builtin.include_tasks") == "compose.yml"]
    assert each["loop"] == "{{ __inference_due_projects }}"
    started, proven = (
        [index for index, task in enumerate(making) if module in task] for module in (COMPOSE, "baremetal.llm.inference_probe")
    )
    assert started[-1] < proven[-1] == len(making) - 1


def test_two_fit_on_the_host_only_if_they_share_its_gpu(entries: Callable[..., Any]) -> None:
    (entry,) = entries()
    other = {**entry, "name": "second", "port": 8001}
    assert [problem["code"] for problem in service_problems([entry, other])] == ["gpu_shares_exceed_one"]
