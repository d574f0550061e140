# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's files as on the hub, of Mistral 7B AWQ's sizes: the weights are a hole, since nobody computes with them.

    python3 model.py DIRECTORY [MIB]

writes them with so many MiB of weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

MIB = 1024**2
CONFIG = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "vocab_size": 32000,
    "torch_dtype": "float16",
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
}


def write_model(directory: Path, *, weights_mib: int = 3960, config: Mapping[str, object] | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}, indent=2), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', encoding="utf-8")
    (directory / "tokenizer.json").write_text('{"version": "1.0"}', encoding="utf-8")
    size = weights_mib * MIB
    header = json.dumps({"model.embed_tokens.weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with (directory / "model.safetensors").open("wb") as weights:
        weights.write(len(header).to_bytes(8, "little") + header)
        weights.truncate(8 + len(header) + size)
    return directory


if __name__ == "__main__":
    write_model(Path(sys.argv[1]), weights_mib=int((sys.argv[2:] or ["3960"])[0]))
