# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GGUF files of several architectures, in small, written by the `gguf` package; their data is all zeros and takes no room on the disk."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFEndian, GGUFType, GGUFWriter
from gguf.constants import GGUFValueType

Q = GGMLQuantizationType
TensorShape = tuple[str, tuple[int, ...], Q]


def attention(block: int, width: int, matrix: Q, kv_width: int | None = None) -> Iterator[TensorShape]:
    kv = kv_width or width
    yield f"blk.{block}.attn_norm.weight", (width,), Q.F32
    for name, rows in (("attn_q", width), ("attn_k", kv), ("attn_v", kv), ("attn_output", width)):
        yield f"blk.{block}.{name}.weight", (width, rows), matrix


def feed_forward(block: int, width: int, matrix: Q, down: Q | None = None) -> Iterator[TensorShape]:
    yield f"blk.{block}.ffn_norm.weight", (width,), Q.F32
    yield f"blk.{block}.ffn_gate.weight", (width, 2 * width), matrix
    yield f"blk.{block}.ffn_up.weight", (width, 2 * width), matrix
    yield f"blk.{block}.ffn_down.weight", (2 * width, width), down or matrix


def experts(block: int, width: int, matrix: Q) -> Iterator[TensorShape]:
    yield f"blk.{block}.ffn_gate_inp.weight", (width, 8), Q.F32
    for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
        yield f"blk.{block}.{name}.weight", (width, width, 8), matrix


def blocks(count: int, *parts: Iterator[TensorShape]) -> tuple[TensorShape, ...]:
    return (("token_embd.weight", (256, 300), Q.Q6_K), *itertools.chain(*parts), ("output_norm.weight", (256,), Q.F32))


@dataclass(frozen=True)
class Model:
    architecture: str
    keys: Mapping[str, object] = field(default_factory=dict)
    """Without the architecture in front. A list is an array of int32."""
    tensors: tuple[TensorShape, ...] = ()
    type: str = GGUFType.MODEL
    vocabulary: int = 300


MODELS = {
    "llama": Model(
        "llama",
        {"block_count": 2, "context_length": 4096, "embedding_length": 256, "attention.head_count": 4, "attention.head_count_kv": 2},
        blocks(2, attention(0, 256, Q.Q4_K, 128), feed_forward(0, 256, Q.Q4_K, Q.Q6_K), attention(1, 256, Q.Q5_K, 128)),
    ),
    "qwen2vl": Model(
        "qwen2vl",
        {"block_count": 28, "context_length": 32768, "attention.head_count": 28, "rope.dimension_sections": [16, 24, 24, 0]},
        blocks(1, attention(0, 256, Q.Q8_0, 32), (("blk.0.attn_q.bias", (256,), Q.F32) for _ in range(1))),
    ),
    "qwen3moe": Model(
        "qwen3moe",
        {"block_count": 48, "context_length": 262144, "expert_count": 128, "expert_used_count": 8, "attention.key_length": 128},
        blocks(1, attention(0, 256, Q.Q4_K, 256), experts(0, 256, Q.IQ4_XS), experts(1, 256, Q.MXFP4)),
    ),
    "gemma3": Model(
        "gemma3",
        {"block_count": 26, "context_length": 131072, "attention.sliding_window": 512, "attention.key_length": 256, "rope.freq_base": 1e6},
        blocks(1, attention(0, 256, Q.Q4_0), feed_forward(0, 256, Q.Q4_1)),
    ),
    "openelm": Model(  # as many heads as each layer pleases
        "openelm",
        {"block_count": 4, "attention.head_count": [12, 12, 16, 20], "attention.head_count_kv": [3, 3, 4, 5]},
        blocks(1, attention(0, 256, Q.F16), feed_forward(0, 256, Q.BF16)),
    ),
    "deepseek2": Model(
        "deepseek2",
        {"block_count": 27, "attention.kv_lora_rank": 512, "attention.key_length_mla": 192, "leading_dense_block_count": 1},
        blocks(1, ((f"blk.0.attn_{name}.weight", (512, 256), Q.Q3_K) for name in ("kv_a_mqa", "k_b", "v_b"))),
    ),
    "nomic-bert": Model(
        "nomic-bert",
        {"block_count": 12, "context_length": 2048, "attention.causal": False, "pooling_type": 1},
        blocks(1, attention(0, 256, Q.F16)),
    ),
    "mamba": Model("mamba", {"ssm.conv_kernel": 4, "ssm.state_size": 16}, blocks(1, iter([("blk.0.ssm_a", (16, 512), Q.F32)]))),
    "mmproj": Model(
        "clip",
        {"has_vision_encoder": True, "projector_type": "qwen2vl_merger", "vision.block_count": 32, "vision.image_size": 560},
        (("v.patch_embd.weight", (14, 14, 3, 64), Q.F16), ("v.post_ln.bias", (64,), Q.F32), ("mm.0.weight", (64, 64), Q.Q8_0)),
        GGUFType.MMPROJ,
        vocabulary=0,
    ),
    "adapter": Model(
        "llama",
        {"attention.head_count": 4},
        (("blk.0.attn_q.weight.lora_a", (256, 8), Q.F32), ("blk.0.attn_q.weight.lora_b", (8, 256), Q.F32)),
        GGUFType.ADAPTER,
        vocabulary=0,
    ),
    "vocabulary": Model("llama", {"context_length": 8192}, vocabulary=2000),
}


def write(path: Path, model: Model, *, big_endian: bool = False, tensors_per_file: int = 0) -> list[Path]:
    """The files, in order: one, or as many as it takes."""
    writer = GGUFWriter(
        path,
        model.architecture,
        endianess=GGUFEndian.BIG if big_endian else GGUFEndian.LITTLE,
        split_max_tensors=tensors_per_file,
        small_first_shard=False,
    )
    writer.add_type(model.type)
    writer.add_file_type(15)
    writer.add_key_value("general.tags", ["a", "größer"], GGUFValueType.ARRAY, GGUFValueType.STRING)
    for key, value in model.keys.items():
        kind, elements = value_type(value)
        writer.add_key_value(f"{model.architecture}.{key}", value, kind, elements)
    if model.vocabulary:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"Ġtoken{number}" for number in range(model.vocabulary)])
        writer.add_token_scores([-number / 3 for number in range(model.vocabulary)])
        writer.add_token_types([1] * model.vocabulary)
        writer.add_token_merges([f"Ġ t{number}" for number in range(model.vocabulary)])
        writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")
    for name, shape, kind in model.tensors:
        # The package has the length of a row last. A type of its own has no number type of numpy; any but bytes will do.
        writer.add_tensor_info(name, shape[::-1], np.dtype(np.float32), size_of(shape, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    paths = [Path(file.name) for file in writer.fout or ()]
    writer.close()
    for file, shard in zip(paths, writer.tensors, strict=True):
        if shard:
            sizes = [GGUFWriter.ggml_pad(tensor.nbytes, 32) for tensor in shard.values()]
            os.truncate(file, GGUFWriter.ggml_pad(file.stat().st_size, 32) + sum(sizes))
    return paths


def value_type(value: object) -> tuple[GGUFValueType, GGUFValueType | None]:
    kinds = {bool: GGUFValueType.BOOL, int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32, str: GGUFValueType.STRING}
    return (GGUFValueType.ARRAY, GGUFValueType.INT32) if isinstance(value, list) else (kinds[type(value)], None)


def size_of(shape: tuple[int, ...], kind: Q) -> int:
    numbers, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // numbers * size
