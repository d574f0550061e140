# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._memory_snapshot import read_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

GIB = 2**30

# Mistral 7B Instruct v0.3, quantised with AWQ
CONFIG = {
    "architectures": ["MistralForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "float16",
    "vocab_size": 32768,
    "quantization_config": {"bits": 4, "quant_method": "awq"},
}
MISTRAL_AWQ = {"config": CONFIG, "index": {"metadata": {"total_size": int(3.9 * GIB)}}}


def plan(gib: float, model: Any = MISTRAL_AWQ, cards: int = 1, resources: Any = None, **options: Any) -> dict[str, Any]:
    gpus = [{"memory_mib": int(gib * 1024)}] * cards
    found = plan_for(model, engine="vllm", options=options, gpus=gpus, resources=resources).as_dict()
    assert json.loads(json.dumps(found)) == found
    return found


def codes(found: dict[str, Any]) -> list[str]:
    return [problem["code"] for problem in found["problems"]]


@pytest.mark.parametrize(
    ("cache", "per_token", "low", "high"),
    [("auto", 131072, 3.6, 4.1), ("fp8", 65536, 7.2, 8.3)],
)
@pytest.mark.parametrize("utilisation", [0.90, 0.95])
def test_how_many_requests_of_32768_tokens_an_a10_holds(cache: str, per_token: int, low: float, high: float, utilisation: float) -> None:
    found = plan(22.5, max_model_len=32768, kv_cache_dtype=cache, gpu_memory_utilization=utilisation, max_num_seqs=3)
    assert found["kv_bytes_per_token"] == per_token
    assert low <= found["capacity"]["sequences_of_full_length"] <= high
    assert found["fits"] and codes(found) == []


@pytest.mark.parametrize(
    ("gib", "fp16", "fp8"),
    [(21, (3.2, 3.7), (6.4, 7.4)), (22.5, (3.6, 4.1), (7.2, 8.3)), (24, (3.9, 4.5), (7.8, 9.0))],
)
def test_how_the_memory_decides(gib: float, fp16: tuple[float, float], fp8: tuple[float, float]) -> None:
    for cache, (low, high) in (("auto", fp16), ("fp8", fp8)):
        capacity = plan(gib, max_model_len=32768, kv_cache_dtype=cache, gpu_memory_utilization=0.90)["capacity"]
        assert low <= capacity["sequences_of_full_length"] <= high
        assert capacity["kv_cache_tokens_low"] < capacity["kv_cache_tokens"] < capacity["kv_cache_tokens_high"]
        assert capacity["kv_cache_tokens"] % 16 == 0


def test_the_guide_has_the_same_figures() -> None:
    guide = (Path(__file__).resolve().parents[4] / "docs/memory.md").read_text("utf-8")
    for gib, name in ((21, "21 GiB"), (22.5, "22.5 GiB (A10)"), (24, "24 GiB")):
        figures = [
            plan(gib, max_model_len=32768, kv_cache_dtype=cache, gpu_memory_utilization=0.90)["capacity"]["sequences_of_full_length"]
            for cache in ("auto", "fp8")
        ]
        assert f"| {name} | {' | '.join(f'{figure:.1f}' for figure in figures)} |" in guide


def test_thirty_five_requests_of_full_length_are_not_to_be_had() -> None:
    found = plan(21, max_model_len=32768, max_num_seqs=32, gpu_memory_utilization=0.90, kv_cache_dtype="fp8")
    assert found["fits"] and codes(found) == ["sequences_exceed_cache"]
    assert "not max_num_seqs: 32" in found["problems"][0]["message"] and "max_num_seqs: 6" in found["problems"][0]["remedy"]


def test_what_is_left_is_what_vllm_may_not_use() -> None:
    found = plan(22.5, gpu_memory_utilization=0.9)
    gpu = found["gpus"][0]
    assert gpu["weights_mib"] == 3994 and gpu["mmproj_mib"] == 0
    assert gpu["free_mib"] == pytest.approx(0.1 * (gpu["memory_mib"] - 495), abs=3)


def test_defaults() -> None:
    found = plan(22.5)
    assert found["tokens_per_slot"] == 32768 and found["slots"] == 256
    assert plan(80)["slots"] == 1024
    assert plan(22.5, max_model_len="auto")["fits"]
    assert plan(8, max_model_len="auto")["tokens_per_slot"] < 32768


@pytest.mark.parametrize(("given", "tokens"), [("32k", 32000), ("16K", 16384), (4096, 4096), ("1.5k", 1500)])
def test_lengths(given: Any, tokens: int) -> None:
    assert plan(22.5, max_model_len=given)["tokens_per_slot"] == tokens


@pytest.mark.parametrize(
    ("gib", "options", "expected", "suggested"),
    [
        (10, {}, ["cache_below_length"], ["quantised_cache", "less_context"]),
        (11, {"gpu_memory_utilization": 0.85}, ["cache_below_length"], ["quantised_cache", "higher_utilisation", "less_context"]),
        (4, {"gpu_memory_utilization": 0.8}, ["gpu_memory"], []),
        (22.5, {"gpu_memory_utilization": 0.99, "max_num_seqs": 2}, ["utilisation_too_high"], []),
        (22.5, {"gpu_memory_utilization": 1.5, "max_num_seqs": 2}, ["option_value"], []),
        (22.5, {"max_model_len": "long", "max_num_seqs": 2}, ["option_value"], []),
        (22.5, {"kv_cache_dtype": "q8_0", "max_num_seqs": 2}, ["option_value"], []),
        (22.5, {"tensor_parallel_size": 2, "max_num_seqs": 2}, ["too_few_gpus"], []),
        (22.5, {"data_parallel_size": 2, "max_num_seqs": 2}, ["too_few_gpus"], []),
        (22.5, {"max_num_seqs": 0}, ["option_value", "sequences_exceed_cache"], []),
    ],
)
def test_what_does_not_go(gib: float, options: dict[str, Any], expected: list[str], suggested: list[str]) -> None:
    found = plan(gib, **options)
    assert codes(found) == expected
    assert [suggestion["code"] for suggestion in found["suggestions"]] == suggested
    for suggestion in found["suggestions"]:
        assert plan(gib, **{**options, **suggestion["options"]})["fits"], suggestion


@pytest.mark.parametrize(
    ("memory", "options", "expected"),
    [
        ("8GiB", {"kv_offloading_size": 16}, ["host_memory"]),
        ("16GiB", {"kv_offloading_size": 16}, ["host_memory"]),  # which leaves nothing for the processes
        ("19GiB", {"kv_offloading_size": 16}, ["host_memory_tight"]),
        ("32GiB", {"kv_offloading_size": 16}, []),
        ("32GiB", {"kv_offloading_size": 16, "api_server_count": 4}, []),
        ("1GiB", {}, ["host_memory"]),
        ("3GiB", {}, ["host_memory_tight"]),
        ("4GiB", {}, []),
        ("4GiB", {"api_server_count": 4}, ["host_memory_tight"]),
        (None, {"kv_offloading_size": 16}, []),
    ],
)
def test_what_vllm_takes_of_the_host(memory: str | None, options: dict[str, Any], expected: list[str]) -> None:
    found = plan(22.5, max_num_seqs=3, resources={"memory": memory} if memory else None, **options)
    assert found["host"]["kv_cache_mib"] == options.get("kv_offloading_size", 0) * 1024
    assert codes(found) == expected and found["fits"] == ("host_memory" not in expected)
    for problem in found["problems"]:
        remedy = re.match(r"Set resources.memory: (\d+GiB) or more(, or lower kv_offloading_size)?$", problem["remedy"])
        assert remedy and bool(remedy[2]) == ("kv_offloading_size" in options)
        assert codes(plan(22.5, max_num_seqs=3, resources={"memory": remedy[1]}, **options)) == []


def test_what_has_to_be_free_before_vllm_starts() -> None:
    (gpu,) = plan(22.5, gpu_memory_utilization=0.45, max_num_seqs=1)["gpus"]
    assert gpu["claim_mib"] == int((23040 - 495) * 0.45) + 450


def test_an_option_may_hold_what_systemd_would_not_take() -> None:
    assert codes(plan(22.5, max_num_seqs=3, chat_template="{% if x %}")) == []


@pytest.mark.parametrize(
    ("options", "per_token", "expected"),
    [
        ({"kv_cache_dtype": "int8_per_token_head"}, 65536, []),  # what is told to be used where fp8 is not possible
        ({"kv_cache_dtype": "bfloat16"}, 131072, []),
        ({"dtype": "float32"}, 262144, []),
        ({"kv_cache_dtype": "nvfp4"}, 131072, ["cache_type_unknown"]),
    ],
)
def test_what_a_type_of_the_cache_takes(options: dict[str, Any], per_token: int, expected: list[str]) -> None:
    found = plan(24, max_num_seqs=1, **options)
    assert found["fits"] and found["kv_bytes_per_token"] == per_token and codes(found) == expected


def test_numbers_may_be_written_as_vllm_reads_them() -> None:
    assert plan(22.5, max_num_batched_tokens="8k") == plan(22.5, max_num_batched_tokens=8000)
    assert plan(22.5, **{"max-model-len": "8K", "no_enforce_eager": False}) == plan(22.5, max_model_len=8192, enforce_eager=True)


def test_a_cache_of_a_given_size() -> None:
    found = plan(22.5, max_num_seqs=1, kv_cache_memory_bytes="5G", gpu_memory_utilization=0.45)
    assert found["fits"] and codes(found) == []
    assert found["capacity"]["kv_cache_tokens"] == found["capacity"]["kv_cache_tokens_low"] == 5 * GIB // 131072
    (gpu,) = found["gpus"]
    assert gpu["kv_cache_mib"] == 5120 and gpu["claim_mib"] == int((23040 - 495) * 0.45) + 450, "that much has to be free all the same"
    large = plan(22.5, max_num_seqs=1, kv_cache_memory_bytes="20G")
    assert not large["fits"] and codes(large) == ["gpu_memory"]
    most = re.match(r"Lower it to (\d+) or less", large["problems"][0]["remedy"])
    assert most and plan(22.5, max_num_seqs=1, kv_cache_memory_bytes=int(most[1]))["fits"]


def test_two_gpus_share_weights_and_heads() -> None:
    one, two = plan(22.5, max_num_seqs=2), plan(22.5, cards=2, tensor_parallel_size=2, max_num_seqs=2)
    assert [gpu["weights_mib"] for gpu in two["gpus"]] == [1997, 1997]
    assert two["capacity"]["kv_cache_tokens"] > 2 * one["capacity"]["kv_cache_tokens"]


def test_each_copy_of_the_model_has_gpus_and_a_cache_of_its_own() -> None:
    one, two = plan(22.5, max_num_seqs=2), plan(22.5, cards=2, data_parallel_size=2, max_num_seqs=2)
    assert [{**gpu, "gpu": "gpus[0]"} for gpu in two["gpus"]] == one["gpus"] * 2
    assert two["capacity"] == one["capacity"]
    assert two["host"]["compute_mib"] == one["host"]["compute_mib"] + 3072


@pytest.mark.parametrize(
    ("changes", "per_token"),
    [
        ({}, 131072),
        ({"head_dim": 256}, 262144),
        ({"num_key_value_heads": None}, 524288),
        ({"torch_dtype": "float32"}, 131072),  # computed in 16 bits
        ({"torch_dtype": None, "dtype": "bfloat16"}, 131072),
        ({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, 32 * 576 * 2),
        ({"text_config": {"num_hidden_layers": 16}}, 65536),
        ({"layer_types": ["linear_attention", "full_attention"] * 16}, 65536),
    ],
)
def test_what_a_token_takes(changes: dict[str, Any], per_token: int) -> None:
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    found = plan(22.5, {"config": config, "tensor_bytes": GIB})
    assert found["kv_bytes_per_token"] == per_token
    assert (found["fits"] is None) == ("architecture_unknown" in codes(found)) == ("layer_types" in changes)


@settings(max_examples=50, deadline=None)
@given(memory=st.integers(8, 90), more=st.integers(0, 20), batch=st.integers(256, 32768), utilisation=st.floats(0.5, 0.95))
def test_more_memory_holds_more_and_a_larger_batch_less(memory: int, more: int, batch: int, utilisation: float) -> None:
    def tokens(gib: int, tokens_of_batch: int) -> int:
        found = plan(gib, max_num_batched_tokens=tokens_of_batch, gpu_memory_utilization=utilisation, max_num_seqs=8)
        held: int = found["capacity"]["kv_cache_tokens"]
        return held

    assert tokens(memory, batch) <= tokens(memory + more, batch)
    assert tokens(memory, 2 * batch) <= tokens(memory, batch)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/srv/model", "model has no config"),
        ({"tensor_bytes": 5}, "model has no config"),
        ({"config": CONFIG}, "model does not tell how large its weights are"),
        ({"config": CONFIG, "files": [{"path": "tokenizer.json", "size": 5}]}, "model does not tell how large its weights are"),
        ({"config": {**CONFIG, "hidden_size": "4096"}, "tensor_bytes": 5}, "model.config.hidden_size is '4096', which is no size"),
        ({"config": {}, "tensor_bytes": 5}, "model.config.num_attention_heads is None"),
    ],
)
def test_what_cannot_be_understood_is_one_clear_error(model: Any, message: str) -> None:
    with pytest.raises(UserError) as raised:
        plan(22.5, model)
    assert message in raised.value.msg


def test_vllm_is_planned_for_gpus() -> None:
    with pytest.raises(UserError, match="gpus is empty"):
        plan_for(MISTRAL_AWQ, engine="vllm")


def test_a_directory_tells_its_configuration_and_its_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x" * 1000)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"x" * 500)
    by_size = read_snapshot(str(tmp_path))
    assert sum(file["size"] for file in by_size["files"]) == 1500
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(MISTRAL_AWQ["index"]), "utf-8")
    assert plan(22.5, read_snapshot(str(tmp_path)))["gpus"][0]["weights_mib"] == 3994
    # The same weights once more, in Mistral's own format, count where they are asked for.
    (tmp_path / "consolidated.safetensors").write_bytes(b"x" * 1400)
    (tmp_path / "params.json").write_text(json.dumps({"dim": 8, "n_layers": 1}), "utf-8")
    assert read_snapshot(str(tmp_path))["config"] == CONFIG and len(read_snapshot(str(tmp_path))["files"]) == 2
    own = read_snapshot(str(tmp_path), mistral=True)
    assert own["files"] == [{"path": "consolidated.safetensors", "size": 1400}] and "index" not in own
    assert own["config"]["hidden_size"] == 8 and own["config"]["num_hidden_layers"] == 1


@pytest.mark.parametrize("content", [None, "{"])
def test_a_directory_without_a_configuration_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, "utf-8")
    with pytest.raises(UserError, match=r"config\.json can't be read"):
        read_snapshot(str(tmp_path))
