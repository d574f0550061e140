# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a model in Mistral's own format (params.json), in the words of Hugging Face's (config.json).

As vLLM does it, in transformers_utils/configs/mistral.py.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "n_layers": "num_hidden_layers",
    "max_seq_len": "max_position_embeddings",
}
_CONTEXT = 128_000
"""That is trained for where the file does not tell."""


def as_config(params: Mapping[str, Any]) -> dict[str, Any]:
    config = {"max_position_embeddings": _CONTEXT, **params}
    config.update({name: params[own] for own, name in _NAMES.items() if own in params and name not in params})
    return config
