# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import Settings
from ansible_collections.baremetal.llm.plugins.module_utils._memory_header import header
from ansible_collections.baremetal.llm.plugins.module_utils._memory_placement import Placement, place, weights
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import request
from ansible_collections.baremetal.llm.plugins.module_utils._memory_tensors import tensors
from ansible_collections.baremetal.llm.tests import model_blueprints as models

ALL = 10**6


def placed(options: dict[str, Any], free: list[int], layers: int = 28) -> Placement:
    asked, problems = request(Settings(options), len(free))
    assert problems == []
    return place(asked, layers, ALL if asked.gpu_layers is None else asked.gpu_layers, free)


def runs(placement: Placement) -> str:
    """How many layers follow each other on which GPU, the output layer included; h is the host."""
    places = ["h" if place is None else str(place) for place in (*placement.layers, placement.output)]
    return " ".join(f"{len(list(run))}x{place}" for place, run in groupby(places))


@pytest.mark.parametrize(
    ("options", "free", "expected"),
    [
        ({}, [], "29xh"),
        ({}, [20000], "29x0"),
        ({"n_gpu_layers": 0}, [20000], "29xh"),
        ({"n_gpu_layers": 20}, [20000], "9xh 20x0"),  # the last ones, and the output layer first of all
        ({"n_gpu_layers": 1}, [20000], "28xh 1x0"),
        ({"n_gpu_layers": "all"}, [20000], "29x0"),
        ({"n_gpu_layers": 99}, [20000], "29x0"),
        ({"device": "none"}, [20000], "29xh"),
        # several GPUs share by their free memory, unless told otherwise
        ({}, [20000, 20000], "15x0 14x1"),
        ({}, [10000, 30000], "8x0 21x1"),
        ({}, [20000, 20000, 20000], "10x0 10x1 9x2"),
        ({"n_gpu_layers": 10}, [20000, 20000], "19xh 5x0 5x1"),
        ({"tensor_split": "3,1"}, [20000, 20000], "22x0 7x1"),
        ({"tensor_split": [3, 1]}, [20000, 20000], "22x0 7x1"),
        ({"tensor_split": "0,1"}, [20000, 20000], "29x1"),
        ({"tensor_split": "1"}, [20000, 20000], "29x0"),
        # one of them
        ({"split_mode": "none"}, [20000, 20000], "29x0"),
        ({"split_mode": "none", "main_gpu": 1}, [20000, 20000], "29x1"),
        ({"device": "CUDA1"}, [20000, 20000], "29x1"),
        ({"device": ["CUDA1", "CUDA0"]}, [20000, 20000], "15x1 14x0"),
    ],
)
def test_where_the_layers_are(options: dict[str, Any], free: list[int], expected: str) -> None:
    assert runs(placed(options, free)) == expected


def test_a_layer_on_the_bound_belongs_to_the_next_gpu() -> None:
    assert runs(placed({"tensor_split": "7,3"}, [20000, 20000], layers=9)) == "7x0 3x1"
    assert runs(placed({}, [20000, 20000, 20000], layers=29)) == "10x0 10x1 10x2"


@pytest.mark.parametrize("layers", [1, 2, 27, 80, 126])
@pytest.mark.parametrize("free", [[20000], [20000, 1], [1, 2, 3, 4], [23028] * 8])
def test_each_layer_has_a_place_and_the_order_is_that_of_the_gpus(layers: int, free: list[int]) -> None:
    placement = placed({}, free, layers)
    places = [*placement.layers, placement.output]
    assert len(places) == layers + 1 == placement.offloaded
    assert places == sorted(places, key=lambda place: -1 if place is None else place)


SIZES = models.Sizes(feed_forward=1024, vocabulary=4096)
MISTRAL = models.mistral(SIZES)
TIED = models.gemma3(SIZES)
EXPERTS = models.qwen3vlmoe(SIZES, experts=16, expert_feed_forward=64)


def held(blueprint: models.Blueprint, options: dict[str, Any], gpus: int) -> list[int]:
    """Bytes on each GPU, and on the host at the end."""
    asked, problems = request(Settings(options), gpus)
    assert problems == []
    read = header(blueprint.info(), "model")
    count = int(read.number("block_count") or 0)
    placement = place(asked, count, ALL if asked.gpu_layers is None else asked.gpu_layers, [20000] * gpus)
    found = weights(tensors(read, has_output=True), placement, asked, gpus, count)
    return [*found.gpus, found.host]


def size(blueprint: models.Blueprint, *parts: str) -> int:
    return sum(blueprint.bytes_of(name) for name in blueprint.tensors if any(part in name for part in parts))


def test_the_token_embedding_stays_on_the_host() -> None:
    whole = size(MISTRAL, "")
    embedding = size(MISTRAL, "token_embd")
    assert held(MISTRAL, {}, 1) == [whole - embedding, embedding]
    assert held(MISTRAL, {}, 0) == [whole]


def test_a_tied_embedding_is_there_twice_unless_all_is_on_the_host() -> None:
    whole, embedding = size(TIED, ""), size(TIED, "token_embd")
    assert held(TIED, {}, 1) == [whole, embedding]
    assert held(TIED, {"n_gpu_layers": 0}, 1) == [0, whole]
    assert held(TIED, {}, 0) == [whole]


def test_an_encoder_has_no_output_layer() -> None:
    encoder = models.nomic_bert(SIZES)
    asked, _problems = request(Settings({}), 1)
    read = header(encoder.info(), "model")
    found = weights(tensors(read, has_output=False), place(asked, 12, ALL, [20000]), asked, 1, 12)
    assert found.host == size(encoder, "token_embd.", "token_types")
    assert found.gpus[0] + found.host == size(encoder, "")


@pytest.mark.parametrize(
    ("options", "on_host"),
    [
        ({"cpu_moe": True}, ["_exps"]),
        ({"n_cpu_moe": 2}, ["blk.0.ffn_gate_exps", "blk.0.ffn_up_exps", "blk.0.ffn_down_exps", "blk.1.ffn_gate_exps", "blk.1.ffn_up_exps", "blk.1.ffn_down_exps"]),
        ({"override_tensor": r"ffn_down_exps=CPU"}, ["ffn_down_exps"]),
        ({"override_tensor": [r"blk\.7\.=CPU", "output.weight=CPU"]}, ["blk.7.", "output.weight"]),
        ({"override_tensor": r"exps=CUDA0,blk\.7\.=CPU"}, ["blk.7.attn", "blk.7.ffn_norm", "blk.7.ffn_gate_inp"]),  # the first that fits counts
    ],
)  # fmt: skip
def test_tensors_that_lie_elsewhere(options: dict[str, Any], on_host: list[str]) -> None:
    gpu, host = held(EXPERTS, options, 1)
    assert host == size(EXPERTS, "token_embd", *on_host)
    assert gpu + host == size(EXPERTS, "")


def test_a_matrix_is_split_by_rows_and_the_rest_is_whole() -> None:
    first, second, host = held(MISTRAL, {"split_mode": "row", "tensor_split": "3,1"}, 2)
    assert first + second + host == pytest.approx(size(MISTRAL, ""), abs=500)
    matrices = size(MISTRAL, "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "output.weight")
    assert second == pytest.approx(matrices / 4, rel=0.01)


def test_layers_that_only_draft_are_not_loaded() -> None:
    asked, _problems = request(Settings({}), 1)
    read = header(MISTRAL.info(), "model")
    found = weights(tensors(read, has_output=True), place(asked, 32, ALL, [20000]), asked, 1, loaded=31)
    assert sum(found.gpus) + found.host == size(MISTRAL, "") - size(MISTRAL, "blk.31.")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cache_type_k": "fp8"}, "options.cache_type_k is 'fp8', which is no type of llama.cpp's cache"),
        ({"n_gpu_layers": "many"}, "options.n_gpu_layers is 'many'"),
        ({"split_mode": "rows"}, "options.split_mode is 'rows'"),
        ({"tensor_split": "1,x"}, "options.tensor_split is '1,x'"),
        ({"tensor_split": "1,-1"}, "options.tensor_split is '1,-1'"),
        ({"device": "CUDA2"}, "options.device names CUDA2, but the plan has 2 GPUs"),
        ({"device": "A10"}, "options.device names A10"),
        ({"override_tensor": "(=CPU"}, "options.override_tensor has the pattern '(', which cannot be read"),
        ({"override_tensor": "exps"}, "options.override_tensor has 'exps'"),
        ({"override_tensor": "exps=CUDA7"}, "options.override_tensor has 'exps=CUDA7'"),
    ],
)
def test_options_that_cannot_be_read_are_told(options: dict[str, Any], told: str) -> None:
    _asked, problems = request(Settings(options), 2)
    assert [(problem.code, problem.severity.value) for problem in problems] == [("option_value", "error")]
    assert problems[0].message.startswith(told)
