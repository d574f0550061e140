# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each architecture keeps. tests/integration/test_memory_plan.py compares the same models with what llama-server prints."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import Settings
from ansible_collections.baremetal.llm.plugins.module_utils._memory_architectures import FAMILIES
from ansible_collections.baremetal.llm.plugins.module_utils._memory_cache import bytes_per_token, cells, layer_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._memory_header import header
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layers import Shape, shape
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import Request, request
from ansible_collections.baremetal.llm.tests import model_blueprints as models

MIB = 2**20


def shape_of(blueprint: models.Blueprint, **keys: Any) -> Shape:
    blueprint.set(**keys)
    found = shape(header(blueprint.info(), "model"))
    assert found is not None
    return found


def asked(**options: Any) -> Request:
    found, problems = request(Settings(options), 0)
    assert problems == []
    return found


def cache_mib(model: Shape, **options: Any) -> float:
    wanted = asked(**options)
    size = cells(model, wanted, wanted.context.asked)
    return sum(layer_bytes(model, layer, wanted, size) for layer in model.layers) / MIB


@pytest.mark.parametrize(
    ("blueprint", "options", "mib"),
    [
        # the configurations in use, in f16
        (models.qwen2vl, {"ctx_size": 32768, "parallel": 8}, 1792),
        (models.qwen2vl, {"ctx_size": 32768, "parallel": 16}, 1792),  # more slots share the same cache
        (models.qwen2vl, {"ctx_size": 8192, "parallel": 8}, 448),
        (models.qwen3vlmoe, {"ctx_size": 8192, "parallel": 4, "kv_unified": True}, 768),
        (models.qwen3vlmoe, {"ctx_size": 32768, "parallel": 4, "kv_unified": True}, 3072),
        (models.mistral, {"ctx_size": 32768, "parallel": 1}, 4096),
        # types
        (models.qwen2vl, {"ctx_size": 32768, "parallel": 8, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 952),
        (models.qwen2vl, {"ctx_size": 32768, "parallel": 8, "cache_type_k": "q4_0", "cache_type_v": "q4_0"}, 504),
        (models.qwen2vl, {"ctx_size": 32768, "parallel": 8, "cache_type_k": "q8_0", "cache_type_v": "q4_0"}, 728),
        (models.qwen2vl, {"ctx_size": 32768, "parallel": 8, "cache_type_k": "f32"}, 2688),
        # padding: each part to 256 tokens, so that all together can be more than asked for
        (models.mistral, {"ctx_size": 1024, "parallel": 3}, 192),
        (models.mistral, {"ctx_size": 1000, "parallel": 3, "kv_unified": True}, 128),
        # the default: four slots that share
        (models.mistral, {"ctx_size": 1024}, 128),
        # a sliding window in five of six layers: its tokens and one batch, for each slot or once for all
        (models.gemma3, {"ctx_size": 32768, "parallel": 1}, 5 * 128 + 29 * 6),
        (models.gemma3, {"ctx_size": 32768, "parallel": 4, "kv_unified": True}, 5 * 128 + 29 * 18),
        (models.gemma3, {"ctx_size": 32768, "parallel": 4}, 5 * 128 + 29 * 4 * 6),
        (models.gemma3, {"ctx_size": 32768, "parallel": 1, "swa_full": True}, 34 * 128),
        (models.gemma3, {"ctx_size": 32768, "parallel": 1, "batch_size": 2048, "ubatch_size": 2048}, 5 * 128 + 29 * 12),
        (models.gemma2, {"ctx_size": 4096, "parallel": 1}, 416),  # the window is longer than the context
        # heads of their own number in each layer
        (models.openelm, {"ctx_size": 2048, "parallel": 1}, 149 * 64 * 2 * 2 * 2048 / MIB),
        # one latent instead of keys and values
        (models.deepseek2, {"ctx_size": 32768, "parallel": 1}, 27 * 576 * 2 * 32768 / MIB),
        (models.deepseek2, {"ctx_size": 32768, "parallel": 1, "flash_attn": "off"}, 27 * 576 * 2 * 32768 / MIB),
        # nothing, or nothing but a state for each slot
        (models.nomic_bert, {"ctx_size": 2048, "parallel": 4}, 0),
        (models.mamba2, {"ctx_size": 2048, "parallel": 1}, 24 * (3 * 1792 + 128 * 1536) * 4 / MIB),
        (models.mamba2, {"ctx_size": 32768, "parallel": 8}, 8 * 24 * (3 * 1792 + 128 * 1536) * 4 / MIB),
        (models.lfm2, {"ctx_size": 32768, "parallel": 8}, 6 * 64 + 8 * 10 * 2 * 2048 * 4 / MIB),
    ],
)
def test_the_cache_of_real_models(blueprint: Any, options: dict[str, Any], mib: float) -> None:
    assert cache_mib(shape_of(blueprint()), **options) == pytest.approx(mib, abs=0.01)


@pytest.mark.parametrize(
    ("blueprint", "options", "expected"),
    [
        (models.mistral, {}, 131072),
        (models.mistral, {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 69632),
        (models.qwen2vl, {}, 57344),
        (models.gemma3, {}, 4096 * 5),
        (models.gemma3, {"swa_full": True}, 4096 * 34),
        (models.deepseek2, {}, 31104),
        (models.mamba2, {}, 0),
    ],
)
def test_how_the_cache_grows(blueprint: Any, options: dict[str, Any], expected: int) -> None:
    assert bytes_per_token(shape_of(blueprint()), asked(**options)) == expected


def test_without_flash_attention_the_values_of_all_layers_are_as_wide_as_the_widest() -> None:
    uneven = shape_of(models.openelm())
    keys = sum(layer.key for layer in uneven.layers)
    assert cache_mib(uneven, ctx_size=2048, parallel=1, flash_attn="off") == 2 * 2048 * (keys + 28 * 8 * 64) / MIB


def layers(architecture: str, count: int, **keys: Any) -> list[str]:
    """One letter for each layer: w a sliding window, s a state, a attention, b both, - nothing."""
    blueprint = models.transformer(architecture, count, 256, 4, keys.pop("kv_heads", 2), 64, 4096, **keys)
    found = shape_of(blueprint, **{key: value for key, value in keys.items() if "__" not in key})
    return [
        ("b" if layer.attends else "s") if layer.state_bytes else ("w" if layer.windowed else "a") if layer.attends else "-"
        for layer in found.layers
    ]


SSM = {"ssm__conv_kernel": 4, "ssm__inner_size": 128, "ssm__state_size": 16, "ssm__group_count": 1}


@pytest.mark.parametrize(
    ("architecture", "keys", "expected"),
    [
        ("llama", {}, "aaaaaaaa"),
        ("llama", {"attention__sliding_window": 512}, "aaaaaaaa"),  # only architectures that use it have a window
        ("gemma3", {}, "aaaaaaaa"),
        ("gemma3", {"attention__sliding_window": 512}, "wwwwwaww"),
        ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 2}, "wawawawa"),
        ("gemma2", {}, "wawawawa"),
        ("cohere2moe", {"attention__sliding_window": 512}, "awwwawww"),
        ("gpt-oss", {"attention__sliding_window": 128}, "wawawawa"),
        ("llama4", {}, "wwwawwwa"),
        ("llama4", {"attention__sliding_window": 0}, "aaaaaaaa"),
        ("exaone4", {"attention__sliding_window": 512}, "aaaaaaaa"),  # only its model of 64 layers
        ("phi3", {"attention__sliding_window": 512}, "aaaaaaaa"),
        (
            "gemma4",
            {
                "attention__sliding_window": 512,
                "attention__sliding_window_pattern": [True, True, True, False, True, True, True, False],
                "attention__shared_kv_layers": 3,
            },
            "wwwaw---",
        ),
        ("glm4moe", {"nextn_predict_layers": 1}, "aaaaaaa-"),
        ("jamba", {"kv_heads": [0, 0, 0, 2, 0, 0, 0, 2], **SSM}, "sssasssa"),
        ("falcon-h1", SSM, "bbbbbbbb"),
        ("qwen3next", SSM, "sssasssa"),
        ("qwen3next", {**SSM, "full_attention_interval": 2}, "sasasasa"),
        ("qwen35moe", {**SSM, "nextn_predict_layers": 1}, "sssasss-"),
        ("mamba2", SSM, "ssssssss"),
        ("nomic-bert", {}, "--------"),
    ],
)
def test_what_the_layers_of_an_architecture_keep(architecture: str, keys: dict[str, Any], expected: str) -> None:
    assert "".join(layers(architecture, 8, **keys)) == expected


@pytest.mark.parametrize(
    ("architecture", "keys", "window"),
    [
        ("gemma2", {}, 4096),
        ("gemma2", {"attention__sliding_window": 1024}, 1024),
        ("smallthinker", {"attention__sliding_window": 1024}, 4096),  # whatever the header says
        ("smallthinker", {}, 0),
        ("llama4", {"attention__sliding_window": 1024}, 8192),
        ("llama", {"attention__sliding_window": 1024}, 0),
    ],
)
def test_how_long_a_window_is(architecture: str, keys: dict[str, Any], window: int) -> None:
    assert shape_of(models.transformer(architecture, 8, 256, 4, 2, 64, 4096, **keys)).window == window


@pytest.mark.parametrize(
    ("architecture", "keys", "elements"),
    [
        ("mamba", {**SSM, "ssm__group_count": 0}, 3 * 128 + 128 * 16),
        ("mamba2", SSM, 3 * (128 + 2 * 16) + 128 * 16),
        ("rwkv6", {"wkv__head_size": 64}, 2 * 256 + 64 * 256),
        ("rwkv7", {"wkv__head_size": 64, "token_shift_count": 1}, 256 + 64 * 256),
        ("kimi-linear", {"kda__head_dim": 32, "ssm__conv_kernel": 4, "kv_heads": [0] * 8}, 3 * 3 * 4 * 32 + 32 * 32 * 4),
        ("lfm2", {"shortconv__l_cache": 3, "kv_heads": [0] * 8}, 2 * 256),
        ("minimax-01", {"full_attention_interval": 9}, 64 * 64 * 4),
    ],
)
def test_the_state_of_recurrent_layers(architecture: str, keys: dict[str, Any], elements: int) -> None:
    kv_heads = keys.pop("kv_heads", 2)
    found = shape_of(models.transformer(architecture, 8, 256, 4, kv_heads, 64, 4096, **keys))
    assert {layer.state_bytes for layer in found.layers} == {4 * elements}


def test_an_index_is_kept_beside_a_latent() -> None:
    blueprint = models.deepseek2()
    info = blueprint.info()
    info["architecture"] = "deepseek32"
    info["metadata"] = {key.replace("deepseek2.", "deepseek32."): value for key, value in info["metadata"].items()}
    info["metadata"]["deepseek32.attention.indexer.key_length"] = 128
    found = shape(header(info, "model"))
    assert found is not None
    assert bytes_per_token(found, asked()) == 27 * 2 * (576 + 128)


def test_the_tables_name_each_architecture_once_and_windows_make_sense() -> None:
    assert len(FAMILIES) > 120
    for name, family in FAMILIES.items():
        assert family.window is None or family.cache, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"llama.block_count": None}, "model: llama.block_count is missing"),
        ({"llama.block_count": 0}, "model: llama.block_count is 0"),
        ({"llama.block_count": 10**9}, "model: llama.block_count is 1000000000"),
        ({"llama.block_count": "32"}, "model: llama.block_count is '32', which is no size"),
        ({"llama.attention.head_count": [32] * 3}, "model: llama.attention.head_count lists 3 values for 32 layers"),
        ({"llama.attention.head_count": {"type": "uint32", "length": 5000}}, "llama.attention.head_count was left out"),
        ({"llama.embedding_length": -1}, "model: llama.embedding_length is -1, which is no size"),
        ({"llama.nextn_predict_layers": 32}, "model: llama.nextn_predict_layers is 32 of 32 layers"),
        ({"llama.context_length": None}, "model: llama.context_length is missing"),
    ],
)
def test_a_broken_header_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    info = models.llama().info()
    info["metadata"] = {key: value for key, value in {**info["metadata"], **changes}.items() if value is not None}
    with pytest.raises(UserError) as raised:
        shape(header(info, "model"))
    assert message in raised.value.msg
