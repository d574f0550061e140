# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model's directory, looked at as vLLM 0.33.0 does, and what would fit of its cache on the GPU that the test speaks of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB, GIB = 1024**2, 1024**3
_OVERHEAD = 3 * GIB // 2  # a run at full batch and the CUDA context
_BLOCK = 16
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "tekken.json")
_MISTRAL_TOKENIZERS = ("tekken.json", "tokenizer.model.v")


class StartError(Exception):
    """vLLM would not start: the exception that its log ends with."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def find(model: str, revision: str) -> Path:
    """A directory, or a repository in the hub's cache: nothing is ever downloaded."""
    if Path(model).is_dir():
        return Path(model)
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub")
    repository = hub / f"models--{model.replace('/', '--')}"
    try:
        commit = (repository / "refs" / revision).read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision
    snapshot = repository / "snapshots" / commit
    if snapshot.is_dir():
        return snapshot
    raise StartError(
        "OSError",
        f"Invalid repository ID or local directory specified: '{model}'.\n(…)",
    )


@dataclass(frozen=True)
class Model:
    config: Mapping[str, Any]
    weights: int

    @classmethod
    def load(cls, directory: Path, tokenizer_mode: str) -> Model:
        try:
            config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise StartError("ValueError", f"Invalid repository ID or local directory specified: '{directory}'.") from None
        names = [path.name for path in directory.iterdir()]
        weights = sum((directory / name).stat().st_size for name in names if name.endswith(".safetensors"))
        if not weights:
            raise StartError("RuntimeError", f"Cannot find any model weights with `{directory}`")
        if not any(name in _TOKENIZERS for name in names):
            raise StartError("OSError", f"Can't load tokenizer for '{directory}'.")
        if tokenizer_mode == "mistral" and not any(name.startswith(_MISTRAL_TOKENIZERS) for name in names):
            raise StartError("ValueError", f"No tokenizer file found in directory: {directory}")
        return cls(config, weights)

    def length(self, asked: int | None) -> int:
        trained = int(self.config["max_position_embeddings"])
        if asked is not None and asked > trained:
            raise StartError(
                "ValueError",
                f"User-specified max_model_len ({asked}) is greater than the derived max_model_len (max_position_embeddings={trained} or "
                "model_max_length=None in model's config.json).",
            )
        return asked or trained

    def check_quantization(self, asked: str) -> None:
        own = (self.config.get("quantization_config") or {}).get("quant_method")
        if asked and own and asked != own:
            raise StartError(
                "ValueError",
                f"Quantization method specified in the model config ({own}) does not match the quantization method specified in the "
                f"`quantization` argument ({asked}).",
            )

    def token_bytes(self, cache_dtype: str) -> int:
        heads = int(self.config["num_attention_heads"])
        head = int(self.config.get("head_dim") or int(self.config["hidden_size"]) // heads)
        elements = 2 * int(self.config["num_hidden_layers"]) * int(self.config.get("num_key_value_heads", heads)) * head
        return elements * (1 if cache_dtype.startswith("fp8") else 2)


@dataclass(frozen=True)
class Gpu:
    """As large as the test says: this stand-in computes on no GPU."""

    total: int
    free: int

    @classmethod
    def seen(cls) -> Gpu:
        total = int(os.environ.get("SHIM_GPU_MIB", "22731")) * MIB
        return cls(total, int(os.environ.get("SHIM_GPU_FREE_MIB", total // MIB)) * MIB)

    def cache_tokens(self, model: Model, length: int, utilisation: float, cache_dtype: str) -> int:
        """How many tokens fit, or why vLLM would not start with what is left for them."""
        wanted = int(self.total * utilisation)
        if self.free < wanted:
            raise StartError(
                "ValueError",
                f"Free memory on device cuda:0 ({self.free / GIB:.2f}/{self.total / GIB:.2f} GiB) on startup is less than desired GPU "
                f"memory utilization ({utilisation:g}, {wanted / GIB:.2f} GiB). (…)",
            )
        said = os.environ.get("SHIM_KV_CACHE_TOKENS")
        a_token = model.token_bytes(cache_dtype)
        room = int(said) * a_token if said else wanted - model.weights - _OVERHEAD
        if room <= 0:
            raise StartError(
                "ValueError",
                "No available memory for the cache blocks. (…)",
            )
        tokens = room // a_token // _BLOCK * _BLOCK
        if tokens < length:
            raise StartError(
                "ValueError",
                f"To serve at least one request with the model's max seq len ({length}), ({length * a_token / GIB:.2f} GiB KV "
                f"cache is needed, which is larger than the available KV cache memory ({room / GIB:.2f} GiB). Based on the "
                f"available memory, the estimated maximum model length is {tokens}. (…)",
            )
        return tokens
