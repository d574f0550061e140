# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_choice import chosen, is_glob
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import VLLM, VLLM_MISTRAL, set_for

# What mistralai/Mistral-7B-Instruct-v0.3 holds, as the hub lists it.
MISTRAL = [
    ".gitattributes",
    "README.md",
    "config.json",
    "consolidated.safetensors",
    "generation_config.json",
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
    "model.safetensors.index.json",
    "params.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.model.v3",
    "tokenizer_config.json",
]
# And solidrust/Mistral-7B-Instruct-v0.3-AWQ.
AWQ = [
    ".gitattributes",
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
]
TOKENIZER = ["special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer.model.v3", "tokenizer_config.json"]


@pytest.mark.parametrize(
    ("kind", "paths", "expected"),
    [
        (VLLM, AWQ, AWQ[2:]),
        (VLLM, MISTRAL, ["config.json", "generation_config.json", *MISTRAL[5:9], *TOKENIZER]),
        (VLLM_MISTRAL, MISTRAL, ["config.json", "consolidated.safetensors", "generation_config.json", "params.json", *TOKENIZER]),
        # The only weights are in Mistral's own format.
        (VLLM, ["consolidated.safetensors", "params.json", "tekken.json"], ["consolidated.safetensors", "params.json", "tekken.json"]),
        (
            VLLM,
            [
                "LICENSE.txt",
                "USE_POLICY.md",
                "additional_chat_templates/tool.jinja",
                "chat_template.jinja",
                "config.json",
                "configuration_custom.py",
                "consolidated.00.pth",
                "merges.txt",
                "model.gguf",
                "model.safetensors",
                "onnx/config.json",
                "onnx/model.onnx",
                "original/consolidated.00.pth",
                "original/params.json",
                "pytorch_model.bin",
                "pytorch_model.bin.index.json",
                "qwen.tiktoken",
                "training_args.json",
                "vocab.json",
            ],
            [
                "additional_chat_templates/tool.jinja",
                "chat_template.jinja",
                "config.json",
                "configuration_custom.py",
                "merges.txt",
                "model.safetensors",
                "qwen.tiktoken",
                "vocab.json",
            ],
        ),
    ],
)
def test_what_vllm_reads(kind: str, paths: list[str], expected: list[str]) -> None:
    assert chosen([kind], reversed(paths), "acme/x") == expected
    assert is_glob(kind)
    assert chosen([kind, "README.md"], [*paths, "README.md"], "acme/x") == sorted({*expected, "README.md"})
    # A lock that has no more than these has all of them.
    assert chosen([kind], expected, "the lock") == expected


@pytest.mark.parametrize(
    ("kind", "paths", "said"),
    [
        (VLLM, ["config.json", "model-q4_k_m.gguf"], "acme/x has no weights as safetensors, only .gguf; take a model"),
        (VLLM, ["config.json", "pytorch_model.bin"], "acme/x has no weights as safetensors, only .bin;"),
        (VLLM, ["config.json"], "acme/x has no weights as safetensors; take"),
        (VLLM, ["model.safetensors"], "acme/x has no config.json"),
        (VLLM, [*MISTRAL[:6], *MISTRAL[7:]], "acme/x lacks model-00002-of-00003.safetensors, without which"),
        (VLLM_MISTRAL, AWQ, "acme/x has no weights as safetensors in Mistral's own format (consolidated*.safetensors); take"),
        (VLLM_MISTRAL, ["config.json", "consolidated.safetensors", "tekken.json"], "acme/x has no params.json"),
        (VLLM_MISTRAL, ["consolidated.safetensors", "params.json"], "acme/x has no tekken.json"),
    ],
)
def test_what_vllm_could_not_load(kind: str, paths: list[str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        chosen([kind], paths, "acme/x")
    assert refused.value.msg.startswith(f"files: {said}")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, VLLM),
        ({"tokenizer_mode": "mistral"}, VLLM),  # goes with either format
        ({"load_format": "mistral"}, VLLM_MISTRAL),
        ({"config_format": "mistral", "load_format": "auto"}, VLLM_MISTRAL),
        ({"load_format": "safetensors"}, VLLM),
    ],
)
def test_which_set_a_service_reads(options: dict[str, Any], kind: str) -> None:
    assert set_for(options) == kind
