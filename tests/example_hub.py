# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub of this machine with the models of inventories/example: their real headers, and holes in the place of their weights.

    .venv/bin/python -m ansible_collections.baremetal.llm.tests.example_hub [--port 8000]

serves it until it is ended, for `ansible-playbook playbooks/plan.yml -i inventories/example -e models_hub_endpoint=http://127.0.0.1:8000`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import tempfile
import threading
import typing as t
from pathlib import Path

from ansible_collections.baremetal.llm.tests import model_blueprints as models
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Content, Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub

from .host_classes import A10, RTX5090

MISTRAL_AWQ = "solidrust/Mistral-7B-Instruct-v0.3-AWQ"
_MISTRAL_CONFIG = {
    "architectures": ["MistralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "quantization_config": {"bits": 4, "group_size": 128, "quant_method": "awq", "version": "gemm", "zero_point": True},
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "use_cache": True,
    "vocab_size": 32768,
}


def _awq_bytes(config: t.Mapping[str, t.Any]) -> int:
    """What the tensors take: linear layers in 4 bits, with a scale (16 bits) and a zero (4 bits) for each group; the rest in 16 bits."""
    hidden, kv_width = config["hidden_size"], config["num_key_value_heads"] * config["head_dim"]
    linear = config["num_hidden_layers"] * hidden * (2 * hidden + 2 * kv_width + 3 * config["intermediate_size"])
    norms = (2 * config["num_hidden_layers"] + 1) * hidden
    group: int = config["quantization_config"]["group_size"]
    return linear // 2 + linear // group * 5 // 2 + 2 * (norms + 2 * config["vocab_size"] * hidden)


def whole_repositories(directory: Path) -> dict[str, dict[str, Content]]:
    """Those that vLLM takes as a whole, with their files. What only the engine would read is not what it is called."""
    weights = directory / "model.safetensors"
    weights.touch()
    os.truncate(weights, _awq_bytes(_MISTRAL_CONFIG))
    small = dict.fromkeys(("generation_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"), b"{}\n")
    texts = {**small, ".gitattributes": b"*.safetensors filter=lfs\n", "README.md": b"# Mistral\n", "tokenizer.model": b"SentencePiece\n"}
    files = {
        "config.json": Content(json.dumps(_MISTRAL_CONFIG, indent=2).encode()),
        **{name: Content(text) for name, text in texts.items()},
    }
    return {MISTRAL_AWQ: {**files, weights.name: Content(weights, hashlib.sha256(weights.name.encode()).hexdigest())}}


def blueprints() -> dict[str, dict[str, models.Blueprint]]:
    """The files of each repository."""
    in_full = models.in_full()
    return {
        A10.repository: {A10.model: in_full["qwen2vl"], A10.projector: models.qwen2vl_projector()},
        RTX5090.repository: {RTX5090.model: in_full["qwen3vl30"], RTX5090.projector: models.qwen3vl_projector()},
    }


@contextlib.contextmanager
def example_hub(directory: Path, port: int = 0, address: str = "127.0.0.1") -> t.Iterator[Hub]:
    """Files are written below the directory. No one is to download them, so nobody reads their gigabytes for a checksum."""
    whole = whole_repositories(directory)
    with Hub([Repository(repo_id) for repo_id in (*blueprints(), *whole)], port=port, address=address) as hub:
        for repo_id, contents in whole.items():
            hub.by_name[repo_id].commit(contents)
        for repo_id, files in blueprints().items():
            place = directory / repo_id
            place.mkdir(parents=True)
            claimed = {name: hashlib.sha256(name.encode()).hexdigest() for name in files}
            hub.by_name[repo_id].commit({name: Content(made.write(place / name), claimed[name]) for name, made in files.items()})
        yield hub


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, example_hub(Path(directory), arguments.port) as hub:
        print(hub.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
