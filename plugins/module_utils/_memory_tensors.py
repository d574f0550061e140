# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tensors of a model, as far as it decides where they lie (llama.cpp's src/llama-arch.cpp, LLM_TENSOR_INFOS)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._memory_header import ModelHeader

_BLOCK = re.compile(r"(?:^|\.)blk\.(\d+)\.")
_INPUT = re.compile(r"(token_embd|position_embd|token_types|per_layer_token_embd)\.")
_WITH_THE_FIRST_LAYER = re.compile(r"(token_embd_norm|per_layer_model_proj|per_layer_proj_norm)\.")
_EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")  # common/common.h
_DENSE = re.compile(r"\.ffn_(up|down|gate)\.")
_NO_MATRIX = re.compile(r"norm|_exps|\.bias$|\.scale$|ssm_|rope_")

_TOKEN_EMBEDDING = "token_embd.weight"
_OUTPUT = "output.weight"


@dataclass(frozen=True)
class Tensor:
    name: str
    size: int
    """Bytes."""
    layer: int | None
    """None for one that belongs to none of the layers that repeat: the input, or the output."""
    input: bool = False
    """The input is looked up, not computed with, and stays on the host."""
    expert: bool = False
    dense: bool = False
    """Of a feed-forward network without experts."""
    tied: bool = False
    """The output's copy of the input's weights, which is none where both are on the host."""
    matrix: bool = True
    """Whether a whole layer is multiplied with it, so that it can be split by rows."""


def tensors(header: ModelHeader, has_output: bool) -> tuple[Tensor, ...]:
    found = [_tensor(name, size) for name, size in header.tensors.items()]
    if has_output and _OUTPUT not in header.tensors and _TOKEN_EMBEDDING in header.tensors:
        # Tied: the same weights once more, where they are computed with.
        found.append(Tensor(_TOKEN_EMBEDDING, header.tensors[_TOKEN_EMBEDDING], None, tied=True))
    return tuple(found)


def _tensor(name: str, size: int) -> Tensor:
    block = _BLOCK.search(name)
    layer = int(block[1]) if block else 0 if _WITH_THE_FIRST_LAYER.match(name) else None
    return Tensor(
        name,
        size,
        layer,
        input=block is None and _INPUT.match(name) is not None,
        expert=_EXPERTS.search(name) is not None,
        dense=_DENSE.search(name) is not None,
        matrix=_NO_MATRIX.search(name) is None,
    )


def layers_of(found: Iterable[Tensor]) -> int:
    """How many layers they belong to, also where nothing else is known of the architecture."""
    return max((tensor.layer + 1 for tensor in found if tensor.layer is not None), default=0)
