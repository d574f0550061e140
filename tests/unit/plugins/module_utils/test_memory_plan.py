# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import bisect
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for
from ansible_collections.baremetal.llm.tests import model_blueprints as models
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[4]

# As published: Q4_K_M is Q4_K with a part in Q6_K, so a little larger than this.
QWEN2VL = models.qwen2vl(models.Sizes(feed_forward=18944, vocabulary=152064, weights=models.Q4_K, head=models.Q6_K)).info()
QWEN2VL_PROJECTOR = models.qwen2vl_projector().info()
QWEN3VL = models.qwen3vlmoe(
    models.Sizes(vocabulary=151936, weights=models.Q4_K, head=models.Q6_K), experts=128, expert_feed_forward=768
).info()
MISTRAL = models.mistral(models.Sizes(feed_forward=14336, vocabulary=32768, weights=models.Q4_K, head=models.Q6_K)).info()
NOMIC = models.nomic_bert(models.Sizes(feed_forward=3072, vocabulary=30528)).info()

A10 = {"index": 0, "name": "NVIDIA A10", "memory_mib": 23028}
RTX5090 = {"index": 0, "name": "NVIDIA GeForce RTX 5090", "memory_mib": 32607}
SMALL = {"index": 0, "name": "NVIDIA GeForce RTX 3060", "memory_mib": 12288}


def plan(model: Any, gpus: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    found = plan_for(model, gpus=gpus or [], **more).as_dict()
    assert json.loads(json.dumps(found)) == found  # nothing that Ansible could not carry
    return found


def codes(found: dict[str, Any], severity: str | None = None) -> list[str]:
    return [problem["code"] for problem in found["problems"] if severity in (None, problem["severity"])]


# -- the configurations in use ---------------------------------------------------------------------------------------


def a10() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "inventories/example/group_vars/a10.yml").read_text("utf-8"))
    return found


def of_profile(name: str) -> dict[str, Any]:
    profile = a10()["a10_contexts"][name]
    return {
        "ctx_size": profile["ctx_size"],
        "parallel": profile["parallel"],
        "image_min_tokens": 1024,
        "image_max_tokens": profile["image_max_tokens"],
        "n_gpu_layers": "all",
        "flash_attn": "on",
        "cache_type_k": "f16",
        "cache_type_v": "f16",
        "batch_size": 2048,
        "ubatch_size": 512,
        "load_mode": "mmap+mlock",
    }


@pytest.mark.parametrize(
    ("profile", "tokens", "cache_mib", "errors"),
    [
        ("minimal", 1024, 448, ["slot_too_small_for_image"]),
        ("basic", 2048, 896, []),
        ("recommended", 4096, 1792, []),
        ("low_latency", 4096, 896, []),
        ("high_throughput", 2048, 1792, []),
    ],
)
def test_the_profiles_of_the_a10(profile: str, tokens: int, cache_mib: int, errors: list[str]) -> None:
    found = plan(QWEN2VL, [A10], mmproj=QWEN2VL_PROJECTOR, options=of_profile(profile), resources={"memory": "128GiB"})
    assert found["tokens_per_slot"] == tokens
    assert found["gpus"][0]["kv_cache_mib"] == cache_mib
    assert codes(found) == errors
    assert found["fits"] and found["gpus"][0]["free_mib"] > 10000
    assert found["kv_bytes_per_token"] == 57344
    assert (found["layers"], found["layers_on_gpus"]) == (29, 29)


def test_the_profiles_are_those_of_the_inventory() -> None:
    assert list(a10()["a10_contexts"]) == ["minimal", "basic", "recommended", "low_latency", "high_throughput"]


def test_the_guide_has_the_same_figures() -> None:
    guide = (ROOT / "docs/memory.md").read_text("utf-8")
    for profile in a10()["a10_contexts"]:
        found = plan(QWEN2VL, [A10], mmproj=QWEN2VL_PROJECTOR, options=of_profile(profile))
        gpu = found["gpus"][0]
        figures = (found["tokens_per_slot"], *(gpu[f"{part}_mib"] for part in ("weights", "mmproj", "kv_cache", "compute")))
        refused = " and ".join(f"`{code}`" for code in codes(found, "error"))
        left = f"refused: {refused}" if refused else gpu["free_mib"]
        assert f"| `{profile}` | {' | '.join(map(str, figures))} | {left} |" in guide


def test_what_the_minimal_profile_is_told() -> None:
    found = plan(QWEN2VL, [A10], mmproj=QWEN2VL_PROJECTOR, options=of_profile("minimal"))
    (problem,) = found["problems"]
    assert problem["message"].startswith("a slot has 1024 tokens, and an image of 1024x1024 pixels takes 1024 of them")
    assert problem["remedy"].startswith("Give each slot at least 2048 tokens")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # As it was written before there was a limit for images: each takes up to 4096 tokens, one of 1024x1024 pixels 1369.
        ({"ctx_size": 8192, "parallel": 8}, ["slot_too_small_for_image"]),
        ({"ctx_size": 16384, "parallel": 8}, ["image_may_fill_slot"]),
        ({"ctx_size": 32768, "parallel": 8}, ["image_may_fill_slot"]),
        ({"ctx_size": 40960, "parallel": 8}, []),
        ({"ctx_size": 8192, "parallel": 8, "kv_unified": True}, []),  # each slot may use all of it
        ({"ctx_size": 8192}, []),  # and so may the four that there are by default
        ({"ctx_size": 16384, "parallel": 8, "image_max_tokens": 1025}, ["image_may_fill_slot"]),
        ({"ctx_size": 16384, "parallel": 8, "image_max_tokens": 1024}, []),
        ({"ctx_size": 10240, "parallel": 8, "image_max_tokens": 256}, []),
        ({"ctx_size": 16384, "parallel": 8, "image_min_tokens": 2048}, ["slot_too_small_for_image"]),
    ],
)
def test_a_slot_needs_room_for_an_image_and_for_text(options: dict[str, Any], expected: list[str]) -> None:
    assert codes(plan(QWEN2VL, [A10], mmproj=QWEN2VL_PROJECTOR, options=options)) == expected
    assert codes(plan(QWEN2VL, [A10], options=options)) == []


@pytest.mark.parametrize(("options", "cache_mib", "tokens"), [({"ctx_size": 8192}, 768, 8192), ({"ctx_size": 32768}, 3072, 32768)])
def test_qwen3_vl_on_the_rtx_5090(options: dict[str, Any], cache_mib: int, tokens: int) -> None:
    found = plan(QWEN3VL, [RTX5090], options={"parallel": 4, "kv_unified": True, "n_gpu_layers": "all", **options})
    assert found["gpus"][0]["kv_cache_mib"] == cache_mib
    assert found["tokens_per_slot"] == tokens
    assert found["fits"] and codes(found) == []
    assert 15000 < found["gpus"][0]["weights_mib"] < 18000


def test_forty_layers_of_qwen3_vl() -> None:
    found = plan(QWEN3VL, [RTX5090], options={"ctx_size": 4096, "parallel": 4, "kv_unified": True, "n_gpu_layers": 40})
    assert (found["layers"], found["layers_on_gpus"]) == (49, 40)
    assert found["gpus"][0]["kv_cache_mib"] == 39 * 8 and found["host"]["kv_cache_mib"] == 9 * 8


@pytest.mark.parametrize(
    ("cache_type", "mib"),
    [("f16", 1792), ("q8_0", 952), ("q4_0", 504)],
)
def test_the_types_of_the_cache(cache_type: str, mib: int) -> None:
    options = {**of_profile("recommended"), "cache_type_k": cache_type, "cache_type_v": cache_type}
    assert plan(QWEN2VL, [A10], options=options)["gpus"][0]["kv_cache_mib"] == mib


# -- what does not fit -----------------------------------------------------------------------------------------------

TOO_MUCH = {"ctx_size": 262144, "parallel": 8, "n_gpu_layers": "all", "flash_attn": "on"}


def test_a_cache_that_is_too_large_is_refused_with_the_smallest_changes() -> None:
    found = plan(QWEN2VL, [SMALL], options=TOO_MUCH)
    assert found["fits"] is False and codes(found) == ["gpu_memory"]
    assert found["gpus"][0]["free_mib"] < 0
    assert [suggestion["code"] for suggestion in found["suggestions"]] == [
        "quantised_cache",
        "fewer_slots",
        "less_context",
        "fewer_gpu_layers",
    ]
    cache, slots, context, _layers = found["suggestions"]
    assert cache["options"] == {"cache_type_k": "q4_0", "cache_type_v": "q4_0"}
    assert slots["options"]["ctx_size"] == 32768 * slots["options"]["parallel"]
    assert context["options"]["ctx_size"] % (8 * 256) == 0


def test_a_smaller_quantisation_is_suggested_where_one_is_there() -> None:
    big = models.qwen2vl(models.Sizes(feed_forward=18944, vocabulary=152064, weights=models.F16)).info()
    sizes = {"q8.gguf": 8100 * 2**20, "q6.gguf": 6300 * 2**20, "q4.gguf": 4700 * 2**20, "f16.gguf": 15300 * 2**20}
    found = plan(
        big, [SMALL], options={"ctx_size": 32768, "n_gpu_layers": "all"}, quantisations=[{"path": path, "size": size} for path, size in sizes.items()]
    )  # fmt: skip
    suggested = {suggestion["code"]: suggestion for suggestion in found["suggestions"]}
    assert suggested["smaller_quantisation"]["file"] == "q8.gguf"
    assert "quantised_cache" not in suggested  # the weights alone are too much


def test_experts_can_stay_on_the_host() -> None:
    found = plan(QWEN3VL, [SMALL], options={"ctx_size": 8192, "n_gpu_layers": "all"})
    suggested = {suggestion["code"]: suggestion for suggestion in found["suggestions"]}
    moved = suggested["experts_on_host"]["options"]["n_cpu_moe"]
    assert 0 < moved < 48
    assert plan(QWEN3VL, [SMALL], options={"ctx_size": 8192, "n_gpu_layers": "all", "n_cpu_moe": moved})["fits"]
    assert not plan(QWEN3VL, [SMALL], options={"ctx_size": 8192, "n_gpu_layers": "all", "n_cpu_moe": moved - 1})["fits"]


def test_where_nothing_alone_is_enough_several_changes_are_suggested_together() -> None:
    found = plan(QWEN2VL, [{"memory_mib": 6500}], options={"ctx_size": 1048576, "parallel": 1, "n_gpu_layers": 29})
    assert found["suggestions"]


@pytest.mark.parametrize("model", [QWEN2VL, QWEN3VL, MISTRAL], ids=["qwen2vl", "qwen3vl", "mistral"])
@settings(max_examples=25, deadline=None)
@given(
    context=st.integers(1, 64).map(lambda count: count * 8192),
    slots=st.sampled_from([None, 1, 3, 8]),
    unified=st.booleans(),
    memory=st.integers(5000, 25000),
    cards=st.integers(1, 3),
    layers=st.sampled_from([None, "all", 20]),
    flash=st.sampled_from(["on", "on", "off"]),
)
def test_each_suggestion_makes_it_fit(
    model: dict[str, Any], context: int, slots: int | None, unified: bool, memory: int, cards: int, layers: Any, flash: str
) -> None:
    options: dict[str, Any] = {"ctx_size": context, "kv_unified": unified, "flash_attn": flash}
    options.update({key: value for key, value in (("parallel", slots), ("n_gpu_layers", layers)) if value is not None})
    gpus = [{"memory_mib": memory} for _ in range(cards)]
    projector = QWEN2VL_PROJECTOR if model is QWEN2VL else None
    found = plan(model, gpus, mmproj=projector, options=options)
    assert found["fits"] == ("gpu_memory" not in codes(found))
    for suggestion in found["suggestions"]:
        after = plan(model, gpus, mmproj=projector, options={**options, **suggestion["options"]})
        assert after["fits"] and "left_on_host" not in codes(after), suggestion
        assert min(gpu["free_mib"] for gpu in after["gpus"]) >= suggestion["free_mib"] - 8, suggestion  # parts are rounded up


# -- what llama-server decides itself --------------------------------------------------------------------------------


def test_without_a_context_it_is_what_the_model_was_trained_for() -> None:
    found = plan(QWEN2VL, [A10])
    assert found["context_tokens"] == 32768 and found["tokens_per_slot"] == 32768 and codes(found) == []
    assert plan(QWEN2VL, [A10], options={"parallel": 8})["context_tokens"] == 8 * 32768
    assert plan(QWEN2VL, [A10], options={"parallel": 8, "fit": "off"})["context_tokens"] == 32768


def test_a_context_that_is_left_open_is_lowered_until_it_fits() -> None:
    found = plan(MISTRAL, [SMALL], options={"parallel": 8})
    assert codes(found) == ["context_reduced"]
    assert found["fits"] and found["gpus"][0]["free_mib"] >= 1024 - 4
    assert found["context_tokens"] % (8 * 256) == 0 and found["context_tokens"] < 8 * 32768
    assert codes(plan(MISTRAL, [SMALL], options={"parallel": 8, "fit": False, "ctx_size": 262144})) == ["gpu_memory"]


def test_layers_that_do_not_fit_stay_on_the_host_unless_all_were_asked_for() -> None:
    found = plan(QWEN2VL, [{"memory_mib": 5000}], options={"ctx_size": 8192})
    assert found["fits"] and codes(found) == ["left_on_host"]
    assert 0 < found["layers_on_gpus"] < 29 and found["host"]["kv_cache_mib"] > 0
    assert found["suggestions"]
    assert codes(plan(QWEN2VL, [{"memory_mib": 5000}], options={"ctx_size": 8192, "n_gpu_layers": "all"})) == ["gpu_memory"]


def test_experts_are_left_before_layers_are() -> None:
    found = plan(QWEN3VL, [SMALL], options={"ctx_size": 8192})
    assert found["fits"] and codes(found) == ["left_on_host"] and found["layers_on_gpus"] == 49


def test_an_image_that_llama_server_does_not_foresee_is_planned() -> None:
    """It makes room for 46x46 tokens at its start. Without flash attention, 4096 take several times that."""
    options = {"ctx_size": 32768, "parallel": 8, "flash_attn": "off"}
    found = plan(QWEN2VL, [A10], mmproj=QWEN2VL_PROJECTOR, options=options)
    assert found["fits"] is False and "gpu_memory" in codes(found) and found["layers_on_gpus"] == 29
    suggested = {suggestion["code"]: suggestion["options"] for suggestion in found["suggestions"]}
    assert suggested["flash_attention"] == {"flash_attn": "on"}
    most = suggested["smaller_images"]["image_max_tokens"]
    assert 46 * 46 < most < 4096
    sizes = [
        plan(QWEN2VL, [A10], mmproj=QWEN2VL_PROJECTOR, options={**options, "image_max_tokens": tokens})["gpus"][0]["mmproj_mib"]
        for tokens in (256, 46 * 46, most, 4096)
    ]
    assert sizes[1] - 100 < sizes[0] < sizes[1] < sizes[2] < sizes[3] > 15000


# -- properties ------------------------------------------------------------------------------------------------------

TYPES = ["q4_0", "q5_1", "q8_0", "f16", "f32"]


def cache_of(**options: Any) -> int:
    found = plan(QWEN2VL, [{"memory_mib": 10**6}], options={"fit": "off", **options})
    size: int = found["gpus"][0]["kv_cache_mib"]
    return size


@settings(max_examples=60, deadline=None)
@given(context=st.integers(256, 200000), more=st.integers(0, 100000), slots=st.integers(1, 16), unified=st.booleans())
def test_more_context_never_takes_less(context: int, more: int, slots: int, unified: bool) -> None:
    options = {"parallel": slots, "kv_unified": unified}
    assert cache_of(ctx_size=context, **options) <= cache_of(ctx_size=context + more, **options)


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(1, 20000), slots=st.integers(1, 16), more=st.integers(0, 16))
def test_more_slots_of_the_same_length_never_take_less(tokens: int, slots: int, more: int) -> None:
    assert cache_of(ctx_size=tokens * slots, parallel=slots) <= cache_of(ctx_size=tokens * (slots + more), parallel=slots + more)


@settings(max_examples=60, deadline=None)
@given(context=st.integers(256, 100000), kinds=st.lists(st.sampled_from(range(len(TYPES))), min_size=2, max_size=2))
def test_a_smaller_type_never_takes_more(context: int, kinds: list[int]) -> None:
    small, large = sorted(kinds)
    sizes = [cache_of(ctx_size=context, parallel=1, cache_type_k=TYPES[kind], cache_type_v=TYPES[kind]) for kind in (small, large)]
    assert sizes[0] <= sizes[1]


@settings(max_examples=40, deadline=None)
@given(cards=st.integers(1, 4), layers=st.integers(0, 40), split=st.sampled_from(["layer", "row", "tensor", "none"]))
def test_nothing_is_lost_between_gpus_and_host(cards: int, layers: int, split: str) -> None:
    options = {"ctx_size": 8192, "n_gpu_layers": layers, "split_mode": split, "parallel": 2}
    found = plan(QWEN2VL, [{"memory_mib": 40000}] * cards, options=options)
    places = [*found["gpus"], found["host"]]
    assert sum(place["kv_cache_mib"] for place in places) == pytest.approx(448, abs=cards + 1)
    assert sum(place["weights_mib"] for place in places) == pytest.approx(QWEN2VL["tensor_bytes"] / 2**20, abs=cards + 2)


def test_unequal_gpus_share_by_what_is_free_on_them() -> None:
    found = plan(MISTRAL, [SMALL, {"memory_mib": 24564}], options={"ctx_size": 8192, "parallel": 1})
    # By what they have it would be 12 and 20 layers, each with 32 MiB.
    assert [gpu["kv_cache_mib"] for gpu in found["gpus"]] == [11 * 32, 21 * 32]


# -- what is known, and what is not ----------------------------------------------------------------------------------


def test_an_unknown_architecture_is_planned_as_far_as_it_goes() -> None:
    model = copy.deepcopy(MISTRAL)
    model["architecture"] = "frontier"
    model["metadata"] = {"general.architecture": "frontier", "frontier.context_length": 32768}
    found = plan(model, [A10], options={"ctx_size": 8192, "parallel": 2})
    assert codes(found) == ["architecture_unknown"]
    assert found["fits"] is None and found["kv_bytes_per_token"] is None and found["context_tokens"] is None
    gpu = found["gpus"][0]
    assert gpu["kv_cache_mib"] is None and gpu["compute_mib"] is None and 3500 < gpu["weights_mib"] < 4500
    assert found["tokens_per_slot"] == 4096
    assert found["layers_on_gpus"] == 33
    assert "frontier" in found["problems"][0]["message"]
    assert plan(model, [{"memory_mib": 3000}], options={"n_gpu_layers": "all"})["fits"] is False


def test_each_figure_that_is_not_exact_says_how_wide_it_is() -> None:
    found = plan(QWEN2VL, [A10], mmproj=QWEN2VL_PROJECTOR, options=of_profile("recommended"))
    estimates = {estimate["figure"]: estimate for estimate in found["estimates"]}
    assert set(estimates) == {"gpus[0].compute_mib", "gpus[0].mmproj_mib", "gpus[0].overhead_mib", "host.compute_mib"}
    for figure, estimate in estimates.items():
        place = found["host"] if figure.startswith("host") else found["gpus"][0]
        assert estimate["low_mib"] <= place[figure.split(".")[1]] <= estimate["high_mib"] and estimate["basis"], figure
    assert found["calibrated"] is False


def test_a_gpu_that_is_nearly_full_is_told() -> None:
    def at(memory: int) -> dict[str, Any]:
        return plan(MISTRAL, [{"memory_mib": memory}], options={"ctx_size": 8192, "n_gpu_layers": "all"})

    fitting = 4000 + bisect.bisect_left(range(4000, 12000), True, key=lambda memory: at(memory)["fits"])
    assert codes(at(fitting)) == ["gpu_memory_tight"] and codes(at(fitting - 1)) == ["gpu_memory"]
    assert codes(at(fitting + 1000)) == []


def test_a_service_on_the_cpu() -> None:
    found = plan(MISTRAL, options={"ctx_size": 8192, "parallel": 2}, resources={"memory": "16GiB"})
    assert found["gpus"] == [] and found["layers_on_gpus"] == 0
    assert found["host"]["kv_cache_mib"] == 1024 and found["host"]["weights_mib"] > 3500
    assert found["fits"] and codes(found) == []


@pytest.mark.parametrize(
    ("options", "memory", "expected"),
    [
        ({"cache_ram": 0}, "1GiB", ["host_memory"]),  # the cache alone is 1 GiB
        ({"cache_ram": 0}, "4GiB", ["host_memory_tight"]),  # the CPU may want a copy
        ({"cache_ram": 0, "repack": False}, "4GiB", []),  # a mapped file can be dropped
        ({"cache_ram": 0, "load_mode": "none"}, "4GiB", ["host_memory"]),
        ({"cache_ram": 0, "load_mode": "mmap+mlock"}, "4GiB", ["host_memory"]),
        ({"cache_ram": 0, "load_mode": "mmap+mlock"}, "8GiB", ["host_memory_tight"]),
        ({"cache_ram": 0, "load_mode": "mmap+mlock"}, "10GiB", []),
        ({}, "512MiB", ["cache_ram_exceeds_memory", "host_memory"]),
        ({}, "8GiB", ["cache_ram_exceeds_memory"]),
        ({}, "9GiB", ["host_memory_tight"]),
        ({"cache_ram": 2048, "repack": False}, "4GiB", []),
        ({"cache_ram": 2048}, "8GiB", []),
        ({}, None, []),
    ],
)
def test_the_memory_of_the_host(options: dict[str, Any], memory: str | None, expected: list[str]) -> None:
    resources = {"memory": memory} if memory else {}
    found = plan(MISTRAL, options={"ctx_size": 8192, "parallel": 1, **options}, resources=resources)
    assert codes(found) == expected
    assert found["fits"] == ("host_memory" not in expected)


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        (NOMIC, {"ctx_size": 2048, "parallel": 1, "embeddings": True, "batch_size": 2048, "ubatch_size": 2048}, []),
        (NOMIC, {"ctx_size": 2048, "parallel": 1, "embeddings": True, "batch_size": 512}, ["embedding_batch_below_context"]),
        (NOMIC, {"ctx_size": 2048, "parallel": 1, "embeddings": True}, ["embedding_batch"]),
        (NOMIC, {"ctx_size": 2048, "cache_type_k": "q8_0"}, ["cache_type_without_cache"]),
        (MISTRAL, {"ctx_size": 4096, "cache_type_v": "q8_0", "flash_attn": "off"}, ["quantised_v_needs_flash_attention"]),
        (MISTRAL, {"ctx_size": 4096, "swa_full": True}, ["swa_full_without_effect"]),
        (MISTRAL, {"ctx_size": 4096, "n_cpu_moe": 3}, ["experts_without_effect"]),
        (MISTRAL, {"ctx_size": 4096, "split_mode": "row"}, ["split_mode_row"]),
        (MISTRAL, {"ctx_size": 65536, "parallel": 1}, ["context_beyond_training"]),
        (MISTRAL, {"ctx_size": 4096, "spec_draft_model": "/m.gguf"}, ["draft_not_counted"]),
        (models.deepseek2().info(), {"ctx_size": 4096, "cache_type_k": "q8_0"}, ["cache_types_differ"]),
        (models.deepseek2().info(), {"ctx_size": 4096, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}, []),
        (models.transformer("llama", 2, 160, 2, 2, 80, 4096).info(), {"ctx_size": 4096, "cache_type_k": "q8_0"}, ["cache_type_unfit"]),
        (MISTRAL, {"ctx_size": 4096, "parallel": 0}, ["parallel_zero"]),
        (MISTRAL, {"ctx_size": 4096, "model": "/m.gguf"}, ["option_owned"]),
        (MISTRAL, {"ctx_size": 4096, "cache_type_k": "fp8"}, ["option_value"]),
    ],
)  # fmt: skip
def test_options_that_do_not_go_with_the_model(model: dict[str, Any], options: dict[str, Any], expected: list[str]) -> None:
    assert codes(plan(model, [A10], options=options)) == expected


def test_what_the_service_may_use_is_checked_as_everywhere() -> None:
    assert codes(plan(MISTRAL, [A10], options={"ctx_size": 4096}, resources={"memory": "much", "cores": 3})) == [
        "unknown_key",
        "size_invalid",
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"model": None}, "model is empty. Give what gguf_info returns for the file."),
        ({"model": "/srv/m.gguf"}, "model is str '/srv/m.gguf'. Give what gguf_info returns"),
        ({"model": {}}, "model names no tensors"),
        ({"model": {**MISTRAL, "tensors": {"a": -1}}}, "model.tensors.a is -1, which is no number of bytes"),
        ({"model": {**MISTRAL, "metadata": None}}, "model has no metadata"),
        ({"model": QWEN2VL_PROJECTOR}, "model is not a model but a projector; its architecture is clip"),
        ({"model": MISTRAL, "mmproj": MISTRAL}, "mmproj is not a projector; its architecture is llama"),
        ({"model": MISTRAL, "engine": "ollama"}, "engine is 'ollama'. Use llama_server or vllm"),
        ({"model": MISTRAL, "gpus": ["NVIDIA A10"]}, "gpus[0] is 'NVIDIA A10'. Give a dict with its memory_mib"),
        ({"model": MISTRAL, "gpus": [{"name": "NVIDIA Z9"}]}, "gpus[0] (NVIDIA Z9) has no memory_mib"),
        ({"model": MISTRAL, "gpus": [{"memory_mib": "24GB"}]}, "gpus[0] has memory_mib: '24GB'. Give its memory in MiB"),
        ({"model": MISTRAL, "gpus": [{"memory_mib": 0}]}, "gpus[0] has memory_mib: 0"),
        ({"model": MISTRAL, "quantisations": ["q4.gguf"]}, "quantisations[0] is 'q4.gguf'. Give a dict with its path and its size"),
        ({"model": MISTRAL, "quantisations": [{"path": "q4.gguf", "size": "4G"}]}, "quantisations[0] has the path 'q4.gguf' and the size '4G'"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_one_clear_error(args: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        plan_for(args.pop("model"), **args)
    assert message in raised.value.msg


STRANGE = st.sampled_from(
    [
        0,
        1,
        -1,
        2**31,
        2**40,
        2**63,
        True,
        None,
        "",
        "x",
        1.5,
        float("nan"),
        [],
        [1, 2],
        [0] * 200,
        {"type": "uint32", "length": 9},
        {"a": 1},
    ]
)
SPOILT = ["ctx_size", "parallel", "n_gpu_layers", "split_mode", "tensor_split", "main_gpu", "device", "n_cpu_moe", "override_tensor",
          "cache_type_k", "batch_size", "ubatch_size", "fit_target", "image_max_tokens", "cache_ram"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    model=st.sampled_from([model.info() for model in models.in_full().values()]),
    strange=st.dictionaries(st.integers(0, 40), STRANGE, max_size=4),
    options=st.dictionaries(st.sampled_from(SPOILT), STRANGE | st.sampled_from(["all", "1,2", "CUDA9", "a=b", "(=CPU"]), max_size=3),
    memory=st.sampled_from([[], [1], [24000, 10**7]]),
)
def test_a_damaged_header_or_option_is_a_plan_or_one_clear_error(
    model: dict[str, Any], strange: dict[int, Any], options: dict[str, Any], memory: list[int]
) -> None:
    keys = list(model["metadata"])
    metadata = {**model["metadata"], **{keys[number % len(keys)]: value for number, value in strange.items()}}
    complaint = "model"
    try:
        plan_for({**model, "metadata": metadata}, options=options, gpus=[{"memory_mib": size} for size in memory])
    except UserError as error:
        complaint = error.msg
    assert complaint.startswith("model")


def test_the_memory_of_a_gpu_is_known_without_a_driver() -> None:
    by_name = plan(MISTRAL, [{"name": "NVIDIA A10"}], options={"ctx_size": 8192})
    assert by_name["gpus"][0]["memory_mib"] == 23028
    assert plan(MISTRAL, [{"name": "NVIDIA GeForce RTX 5090"}], options={"ctx_size": 8192})["gpus"][0]["memory_mib"] == 32607


def test_the_driver_and_cuda_have_their_share() -> None:
    a10, blackwell = (plan(MISTRAL, [gpu], options={"ctx_size": 8192})["gpus"][0]["overhead_mib"] for gpu in (A10, RTX5090))
    assert 1000 < a10 < 1200 < blackwell < 1500
    both = plan(MISTRAL, [A10, A10], options={"ctx_size": 8192, "split_mode": "none"})["gpus"]
    assert both[1]["weights_mib"] == 0 and both[1]["overhead_mib"] < 500
