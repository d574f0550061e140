# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models without sense: the header of a real one, and as its weights a hole in the file, which takes no disk and reads as zeros.

llama.cpp loads them like any other, so what it prints of its memory can be compared with a plan. A blueprint is also the answer that
`gguf_info` would give, for tests that need no file.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ansible_collections.baremetal.llm.tools import tiny_gguf
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

ALIGNMENT = 32
ROWS_OF_A_SHORT_VOCABULARY = len(tiny_gguf.vocabulary())


class Type(t.NamedTuple):
    name: str
    block: int
    size: int


def _type(name: str) -> Type:
    return Type(name, *GGML_QUANT_SIZES[GGMLQuantizationType[name]])


F32, F16, Q8_0, Q4_K, Q6_K, IQ1_S = map(_type, ("F32", "F16", "Q8_0", "Q4_K", "Q6_K", "IQ1_S"))


@dataclass
class Blueprint:
    architecture: str
    metadata: dict[str, t.Any] = field(default_factory=dict)
    tensors: dict[str, tuple[tuple[int, ...], Type]] = field(default_factory=dict)
    """Shapes as llama.cpp writes them: the length of a row comes first."""
    vocabulary: int = 0

    def set(self, **values: t.Any) -> None:
        """Keys of the architecture; __ stands for the dot."""
        self.metadata.update({f"{self.architecture}.{key.replace('__', '.')}": value for key, value in values.items()})

    def add(self, name: str, *shape: int, kind: Type = F32) -> None:
        self.tensors[name] = (shape, kind)

    def bytes_of(self, name: str) -> int:
        shape, kind = self.tensors[name]
        assert shape[0] % kind.block == 0, name
        return int(np.prod(shape)) // kind.block * kind.size

    def info(self) -> dict[str, t.Any]:
        """What gguf_info returns of the file."""
        sizes = {name: self.bytes_of(name) for name in self.tensors}
        metadata = {"general.architecture": self.architecture, **self.metadata}
        if self.vocabulary:
            metadata["tokenizer.ggml.tokens"] = {"type": "string", "length": self.vocabulary}
        return {
            "architecture": self.architecture,
            "metadata": metadata,
            "tensors": sizes,
            "tensor_bytes": sum(sizes.values()),
            "size": sum(sizes.values()) + 10**6,
            "split": None,
            "kind": "mmproj" if self.architecture == "clip" else "model",
        }

    def write(self, path: Path) -> Path:
        writer = GGUFWriter(path, self.architecture)
        for key, value in self.metadata.items():
            if isinstance(value, bool):
                writer.add_bool(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            elif isinstance(value, float):
                writer.add_float32(key, value)
            elif isinstance(value, str):
                writer.add_string(key, value)
            else:
                writer.add_array(key, value)
        if self.vocabulary:
            self._add_vocabulary(writer)
        for name, (shape, kind) in self.tensors.items():
            writer.add_tensor_info(
                name, tuple(reversed(shape)), np.dtype(np.float32), self.bytes_of(name), raw_dtype=GGMLQuantizationType[kind.name]
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        start = -(-path.stat().st_size // ALIGNMENT) * ALIGNMENT
        os.truncate(path, start + sum(-(-self.bytes_of(name) // ALIGNMENT) * ALIGNMENT for name in self.tensors))
        return path

    def _add_vocabulary(self, writer: GGUFWriter) -> None:
        tokens = tiny_gguf.vocabulary()
        more = self.vocabulary - len(tokens)
        assert more >= 0
        filler = [(f"x{number}", tokens[-1][1]) for number in range(more)]
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([text for text, _ in (*tokens, *filler)])
        writer.add_token_scores([0.0] * self.vocabulary)
        writer.add_token_types([kind for _, kind in (*tokens, *filler)])
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_chat_template(tiny_gguf.CHAT_TEMPLATE)


class Sizes(t.NamedTuple):
    """Of the parts that a comparison may make small: they don't change how the cache is laid out."""

    feed_forward: int = 64
    vocabulary: int = ROWS_OF_A_SHORT_VOCABULARY
    embedding: int = 0
    """0: the model's own."""
    weights: Type = F16
    head: Type = F16
    """Of token_embd and output."""


SMALL = Sizes()
TINY = Sizes(embedding=256)


def transformer(
    architecture: str,
    layers: int,
    embedding: int,
    heads: int | list[int],
    kv_heads: int | list[int],
    head: int,
    context: int,
    sizes: Sizes = SMALL,
    *,
    tied: bool = False,
    **keys: t.Any,
) -> Blueprint:
    """What most architectures have in common, attention and a dense feed-forward network in each layer."""
    made = Blueprint(architecture, vocabulary=sizes.vocabulary)
    wide = sizes.embedding or embedding
    made.set(
        block_count=layers,
        context_length=context,
        embedding_length=wide,
        feed_forward_length=sizes.feed_forward,
        attention__head_count=heads,
        attention__head_count_kv=kv_heads,
        attention__key_length=head,
        attention__value_length=head,
        attention__layer_norm_rms_epsilon=1e-6,
        rope__dimension_count=head,
        **keys,
    )
    made.add("token_embd.weight", wide, sizes.vocabulary, kind=sizes.head)
    made.add("output_norm.weight", wide)
    if not tied:
        made.add("output.weight", wide, sizes.vocabulary, kind=sizes.head)
    for layer in range(layers):
        queries = (heads if isinstance(heads, int) else heads[layer]) * head
        keys_and_values = (kv_heads if isinstance(kv_heads, int) else kv_heads[layer]) * head
        made.add(f"blk.{layer}.attn_norm.weight", wide)
        for name, width in (("q", queries), ("k", keys_and_values), ("v", keys_and_values)):
            made.add(f"blk.{layer}.attn_{name}.weight", wide, width, kind=sizes.weights)
        made.add(f"blk.{layer}.attn_output.weight", queries, wide, kind=sizes.weights)
        made.add(f"blk.{layer}.ffn_norm.weight", wide)
        for name in ("gate", "up"):
            made.add(f"blk.{layer}.ffn_{name}.weight", wide, sizes.feed_forward, kind=sizes.weights)
        made.add(f"blk.{layer}.ffn_down.weight", sizes.feed_forward, wide, kind=sizes.weights)
    return made


def llama(sizes: Sizes = SMALL) -> Blueprint:
    """Llama 3.1 8B."""
    return transformer("llama", 32, 4096, 32, 8, 128, 131072, sizes)


def mistral(sizes: Sizes = SMALL) -> Blueprint:
    """Mistral 7B Instruct v0.3."""
    return transformer("llama", 32, 4096, 32, 8, 128, 32768, sizes)


def qwen2vl(sizes: Sizes = SMALL) -> Blueprint:
    """Qwen2-VL 7B Instruct."""
    made = transformer("qwen2vl", 28, 3584, 28, 4, 128, 32768, sizes, rope__dimension_sections=[16, 24, 24, 0])
    for layer in range(28):
        for name, width in (("q", 28 * 128), ("k", 4 * 128), ("v", 4 * 128)):
            made.add(f"blk.{layer}.attn_{name}.bias", width)
    return made


def qwen3vlmoe(sizes: Sizes = SMALL, experts: int = 8, expert_feed_forward: int = 32) -> Blueprint:
    """Qwen3-VL 30B-A3B Instruct; the real one has 128 experts of 768."""
    made = transformer(
        "qwen3vlmoe", 48, 2048, 32, 4, 128, 262144, sizes,
        rope__dimension_sections=[24, 20, 20, 0], n_deepstack_layers=3,
        expert_count=experts, expert_used_count=8, expert_feed_forward_length=expert_feed_forward,
    )  # fmt: skip
    wide = sizes.embedding or 2048
    for layer in range(48):
        for name in ("gate", "up", "down"):
            del made.tensors[f"blk.{layer}.ffn_{name}.weight"]
        made.add(f"blk.{layer}.attn_q_norm.weight", 128)
        made.add(f"blk.{layer}.attn_k_norm.weight", 128)
        made.add(f"blk.{layer}.ffn_gate_inp.weight", wide, experts)
        for name in ("gate", "up"):
            made.add(f"blk.{layer}.ffn_{name}_exps.weight", wide, expert_feed_forward, experts, kind=sizes.weights)
        made.add(f"blk.{layer}.ffn_down_exps.weight", expert_feed_forward, wide, experts, kind=sizes.weights)
    return made


def _with_gemma_norms(made: Blueprint, layers: int, wide: int, head: int, *, around_heads: bool) -> Blueprint:
    for layer in range(layers):
        made.add(f"blk.{layer}.post_attention_norm.weight", wide)
        made.add(f"blk.{layer}.post_ffw_norm.weight", wide)
        if around_heads:
            made.add(f"blk.{layer}.attn_q_norm.weight", head)
            made.add(f"blk.{layer}.attn_k_norm.weight", head)
    return made


def gemma2(sizes: Sizes = SMALL) -> Blueprint:
    """Gemma 2 2B."""
    made = transformer(
        "gemma2", 26, 2304, 8, 4, 256, 8192, sizes, tied=True,
        attention__sliding_window=4096, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
    )  # fmt: skip
    return _with_gemma_norms(made, 26, sizes.embedding or 2304, 256, around_heads=False)


def gemma3(sizes: Sizes = SMALL) -> Blueprint:
    """Gemma 3 4B."""
    made = transformer("gemma3", 34, 2560, 8, 4, 256, 131072, sizes, tied=True, attention__sliding_window=1024)
    return _with_gemma_norms(made, 34, sizes.embedding or 2560, 256, around_heads=True)


def openelm(sizes: Sizes = SMALL) -> Blueprint:
    """OpenELM 1.1B: each layer has heads of its own number."""
    kv_heads = [4] * 11 + [5] * 5 + [6] * 6 + [7] * 4 + [8] * 2
    heads = [number * 4 for number in kv_heads]
    made = transformer("openelm", 28, 2048, heads, kv_heads, 64, 2048, sizes, tied=True)
    made.set(feed_forward_length=[sizes.feed_forward] * 28)
    wide = sizes.embedding or 2048
    for layer in range(28):
        for name in "qkv":
            del made.tensors[f"blk.{layer}.attn_{name}.weight"]
        made.add(f"blk.{layer}.attn_qkv.weight", wide, (heads[layer] + 2 * kv_heads[layer]) * 64, kind=sizes.weights)
        made.add(f"blk.{layer}.attn_q_norm.weight", 64)
        made.add(f"blk.{layer}.attn_k_norm.weight", 64)
    return made


def deepseek2(sizes: Sizes = SMALL, experts: int = 8, expert_feed_forward: int = 32) -> Blueprint:
    """DeepSeek-V2 Lite: keys and values are one compressed latent; the real one has 64 experts of 1408."""
    layers, wide, heads, latent, rope, key, value = 27, sizes.embedding or 2048, 16, 512, 64, 192, 128
    made = Blueprint("deepseek2", vocabulary=sizes.vocabulary)
    made.set(
        block_count=layers,
        context_length=163840,
        embedding_length=wide,
        feed_forward_length=sizes.feed_forward,
        attention__head_count=heads,
        attention__head_count_kv=1,
        attention__key_length=latent + rope,
        attention__value_length=latent,
        attention__key_length_mla=key,
        attention__value_length_mla=value,
        attention__kv_lora_rank=latent,
        attention__layer_norm_rms_epsilon=1e-6,
        rope__dimension_count=rope,
        leading_dense_block_count=1,
        expert_count=experts,
        expert_used_count=6,
        expert_shared_count=2,
        expert_feed_forward_length=expert_feed_forward,
        expert_weights_scale=1.0,
    )
    made.add("token_embd.weight", wide, sizes.vocabulary, kind=sizes.head)
    made.add("output_norm.weight", wide)
    made.add("output.weight", wide, sizes.vocabulary, kind=sizes.head)
    for layer in range(layers):
        block = f"blk.{layer}."
        made.add(f"{block}attn_norm.weight", wide)
        made.add(f"{block}attn_q.weight", wide, heads * key, kind=sizes.weights)
        made.add(f"{block}attn_kv_a_mqa.weight", wide, latent + rope, kind=sizes.weights)
        made.add(f"{block}attn_kv_a_norm.weight", latent)
        made.add(f"{block}attn_k_b.weight", key - rope, latent, heads, kind=sizes.weights)
        made.add(f"{block}attn_v_b.weight", latent, value, heads, kind=sizes.weights)
        made.add(f"{block}attn_output.weight", heads * value, wide, kind=sizes.weights)
        made.add(f"{block}ffn_norm.weight", wide)
        parts = [("", sizes.feed_forward)] if layer == 0 else [("_shexp", 2 * expert_feed_forward)]
        if layer:
            made.add(f"{block}ffn_gate_inp.weight", wide, experts)
            for name in ("gate", "up"):
                made.add(f"{block}ffn_{name}_exps.weight", wide, expert_feed_forward, experts, kind=sizes.weights)
            made.add(f"{block}ffn_down_exps.weight", expert_feed_forward, wide, experts, kind=sizes.weights)
        for suffix, width in parts:
            for name in ("gate", "up"):
                made.add(f"{block}ffn_{name}{suffix}.weight", wide, width, kind=sizes.weights)
            made.add(f"{block}ffn_down{suffix}.weight", width, wide, kind=sizes.weights)
    return made


def nomic_bert(sizes: Sizes = SMALL) -> Blueprint:
    """nomic-embed-text v1.5: it keeps nothing."""
    layers, wide = 12, sizes.embedding or 768
    made = Blueprint("nomic-bert", vocabulary=sizes.vocabulary)
    made.set(
        block_count=layers,
        context_length=2048,
        embedding_length=wide,
        feed_forward_length=sizes.feed_forward,
        attention__head_count=12,
        attention__layer_norm_epsilon=1e-12,
        attention__causal=False,
        pooling_type=1,
    )
    made.metadata["tokenizer.ggml.token_type_count"] = 2
    made.add("token_embd.weight", wide, sizes.vocabulary, kind=sizes.head)
    made.add("token_types.weight", wide, 2)
    made.add("token_embd_norm.weight", wide)
    made.add("token_embd_norm.bias", wide)
    for layer in range(layers):
        block = f"blk.{layer}."
        made.add(f"{block}attn_qkv.weight", wide, 3 * wide, kind=sizes.weights)
        made.add(f"{block}attn_output.weight", wide, wide, kind=sizes.weights)
        for name in ("attn_output_norm", "layer_output_norm"):
            made.add(f"{block}{name}.weight", wide)
            made.add(f"{block}{name}.bias", wide)
        for name in ("gate", "up"):
            made.add(f"{block}ffn_{name}.weight", wide, sizes.feed_forward, kind=sizes.weights)
        made.add(f"{block}ffn_down.weight", sizes.feed_forward, wide, kind=sizes.weights)
    return made


def lfm2(sizes: Sizes = SMALL) -> Blueprint:
    """LFM2 1.2B: short convolutions, whose state is of fixed size, between six layers of attention."""
    kv_heads = [8 if layer in (2, 5, 8, 10, 12, 14) else 0 for layer in range(16)]
    made = transformer("lfm2", 16, 2048, 32, kv_heads, 64, 128000, sizes, tied=True, shortconv__l_cache=3)
    wide = sizes.embedding or 2048
    made.tensors["token_embd_norm.weight"] = made.tensors.pop("output_norm.weight")
    for layer in range(16):
        block = f"blk.{layer}."
        if kv_heads[layer]:
            made.add(f"{block}attn_q_norm.weight", 64)
            made.add(f"{block}attn_k_norm.weight", 64)
            continue
        for name in ("q", "k", "v", "output"):
            del made.tensors[f"{block}attn_{name}.weight"]
        made.add(f"{block}shortconv.conv.weight", 3, wide)
        made.add(f"{block}shortconv.in_proj.weight", wide, 3 * wide, kind=sizes.weights)
        made.add(f"{block}shortconv.out_proj.weight", wide, wide, kind=sizes.weights)
    return made


def mamba2(sizes: Sizes = SMALL) -> Blueprint:
    """Mamba 2 130M: nothing but a state."""
    layers, wide, inner, state, groups, rank, kernel = 24, sizes.embedding or 768, 1536, 128, 1, 24, 4
    made = Blueprint("mamba2", vocabulary=sizes.vocabulary)
    made.set(
        block_count=layers,
        context_length=1048576,
        embedding_length=wide,
        feed_forward_length=0,
        attention__head_count=0,
        attention__layer_norm_rms_epsilon=1e-5,
        ssm__conv_kernel=kernel,
        ssm__inner_size=inner,
        ssm__state_size=state,
        ssm__time_step_rank=rank,
        ssm__group_count=groups,
    )
    made.add("token_embd.weight", wide, sizes.vocabulary, kind=sizes.head)
    made.add("output_norm.weight", wide)
    convolved = inner + 2 * groups * state
    for layer in range(layers):
        block = f"blk.{layer}."
        made.add(f"{block}attn_norm.weight", wide)
        made.add(f"{block}ssm_in.weight", wide, inner + convolved + rank, kind=sizes.weights)
        made.add(f"{block}ssm_conv1d.weight", kernel, convolved)
        made.add(f"{block}ssm_conv1d.bias", convolved)
        made.add(f"{block}ssm_dt.bias", rank)
        made.add(f"{block}ssm_a", 1, rank)
        made.add(f"{block}ssm_d", 1, rank)
        made.add(f"{block}ssm_norm.weight", inner // groups, groups)
        made.add(f"{block}ssm_out.weight", inner, wide, kind=sizes.weights)
    return made


def llama2(sizes: Sizes = SMALL) -> Blueprint:
    """Llama 2 7B: as many heads for keys and values as for queries."""
    return transformer("llama", 32, 4096, 32, 32, 128, 4096, sizes)


def llama_70b(sizes: Sizes = SMALL) -> Blueprint:
    """Llama 3.1 70B."""
    return transformer("llama", 80, 8192, 64, 8, 128, 131072, sizes)


def _q4(feed_forward: int, vocabulary: int) -> Sizes:
    """About as Q4_K_M has it."""
    return Sizes(feed_forward, vocabulary, weights=Q4_K, head=Q6_K)


def in_full() -> dict[str, Blueprint]:
    """Models as large as the real ones. Their files would take gigabytes to load, but llama.cpp lays them out without that."""
    return {
        "llama8b": llama(_q4(14336, 128256)),
        "qwen2vl": qwen2vl(_q4(18944, 152064)),
        "qwen3vl30": qwen3vlmoe(_q4(64, 151936), experts=128, expert_feed_forward=768),
        "gemma2": gemma2(_q4(9216, 256000)),
        "gemma3": gemma3(_q4(10240, 262144)),
        "openelm": openelm(Sizes(5632, 32000)),
        "deepseek2": deepseek2(Sizes(10944, 102400), experts=64, expert_feed_forward=1408),
        "nomic": nomic_bert(Sizes(3072, 30528)),
        "lfm2": lfm2(Sizes(8192, 65536)),
        "mamba2": mamba2(Sizes(vocabulary=50288)),
        "llama70b": llama_70b(_q4(28672, 128256)),
        "llama2-7b": llama2(_q4(11008, 32000)),
    }


def to_load() -> dict[str, Blueprint]:
    """Those of them that a GPU loads within seconds; of the experts of DeepSeek-V2 Lite, a quarter."""
    deepseek = deepseek2(Sizes(10944, 102400, weights=Q8_0, head=Q6_K), experts=16, expert_feed_forward=1408)
    too_large = ("llama70b", "llama2-7b")
    return {name: made for name, made in in_full().items() if name not in too_large} | {"deepseek2": deepseek}


def qwen2vl_projector(into: int = 3584, layers: int = 32, kind: Type = F16) -> Blueprint:
    """The vision encoder of Qwen2-VL 7B."""
    return _projector("qwen2vl_merger", 1280, 5120, 14, layers, into, kind)


def qwen3vl_projector() -> Blueprint:
    """The vision encoder of Qwen3-VL 30B-A3B, which hands on what three of its layers see."""
    wide, into = 1152, 2048
    made = _projector("qwen3vl_merger", wide, 4304, 16, 27, into, F16)
    for layer in (8, 16, 24):
        made.add(f"v.deepstack.{layer}.fc1.weight", 4 * wide, 4 * wide, kind=F16)
        made.add(f"v.deepstack.{layer}.fc2.weight", 4 * wide, into, kind=F16)
    return made


def _projector(name: str, wide: int, feed_forward: int, patch: int, layers: int, into: int, kind: Type) -> Blueprint:
    made = Blueprint("clip")
    made.metadata.update(
        {
            "clip.has_vision_encoder": True,
            "clip.projector_type": name,
            "clip.use_gelu": False,
            "clip.vision.image_size": 560,
            "clip.vision.patch_size": patch,
            "clip.vision.embedding_length": wide,
            "clip.vision.feed_forward_length": feed_forward,
            "clip.vision.projection_dim": into,
            "clip.vision.block_count": layers,
            "clip.vision.attention.head_count": 16,
            "clip.vision.attention.layer_norm_epsilon": 1e-6,
            "clip.vision.image_mean": [0.48, 0.46, 0.41],
            "clip.vision.image_std": [0.27, 0.26, 0.28],
        }
    )
    made.add("v.patch_embd.weight", patch, patch, 3, wide)
    made.add("v.patch_embd.weight.1", patch, patch, 3, wide)
    for layer in range(layers):
        block = f"v.blk.{layer}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            made.add(f"{block}{part}.weight", wide, wide, kind=kind)
            made.add(f"{block}{part}.bias", wide)
        for part in ("ln1", "ln2"):
            made.add(f"{block}{part}.weight", wide)
            made.add(f"{block}{part}.bias", wide)
        made.add(f"{block}ffn_up.weight", wide, feed_forward, kind=kind)
        made.add(f"{block}ffn_up.bias", feed_forward)
        made.add(f"{block}ffn_down.weight", feed_forward, wide, kind=kind)
        made.add(f"{block}ffn_down.bias", wide)
    made.add("v.post_ln.weight", wide)
    made.add("v.post_ln.bias", wide)
    made.add("mm.0.weight", 4 * wide, 4 * wide, kind=kind)
    made.add("mm.0.bias", 4 * wide)
    made.add("mm.2.weight", 4 * wide, into, kind=kind)
    made.add("mm.2.bias", into)
    return made
