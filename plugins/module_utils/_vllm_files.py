# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a repository vLLM reads, so that a model is fetched once and not in every form that it is published in.

Read in vLLM (transformers_utils/config.py, model_executor/model_loader/default_loader.py). Where consolidated*.safetensors are, it takes
Mistral's own format before Hugging Face's, so what is left out here decides which of the two it takes.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

VLLM = "@vllm"
VLLM_MISTRAL = "@vllm-mistral"
SETS = (VLLM, VLLM_MISTRAL)
"""How such sets of files are called where files are named."""

CONFIG, MISTRAL_CONFIG = "config.json", "params.json"
INDEX = "model.safetensors.index.json"
WEIGHTS, MISTRAL_WEIGHTS = "*.safetensors", "consolidated*.safetensors"
MISTRAL_TOKENIZERS = ("tekken.json", "tokenizer.model.v*")
"""What the tokenizer of mistral_common can be read from (tokenizers/registry.py and mistral.py)."""

_READ = {
    "*.json": "configuration, generation, tokenizer, processor, quantisation, and the indexes of weights",
    "*.model": "SentencePiece tokenizers",
    "*.model.v*": "Mistral's tokenizers: tokenizer.model.v3",
    "*.tiktoken": "tokenizers of older models",
    "*.txt": "vocabularies and merges of BPE tokenizers",
    "*.jinja": "chat templates",
    "*.py": "code of the model, which runs with trust_remote_code alone",
    "additional_chat_templates/*": "further chat templates",
    "1_Pooling/config.json": "how a model of sentence-transformers pools",
}
"""Beside the weights, by globs that stay in their directory."""

_LEFT = {
    "*.bin.index.json": "the index of weights that are not taken: pickles, which run code when they are loaded",
    "LICENSE*": "not read by anything",
    "requirements*.txt": "not read by anything",
    "training_args*": "not read by anything",
}

# As Mistral's own format is read, for which vLLM goes by these two.
_MISTRAL_OPTIONS = ("config_format", "load_format")
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.safetensors")
_SHOWN = 3


def set_for(options: Mapping[str, Any]) -> str:
    """The set of files that a service with these options reads."""
    return VLLM_MISTRAL if any(options.get(key) == "mistral" for key in _MISTRAL_OPTIONS) else VLLM


def members(name: str, paths: Iterable[str], where: str) -> list[str]:
    """The paths that belong to this set; ``where`` says in messages what is searched, and without one of them vLLM would not start."""
    known = sorted(paths)
    weights = weights_of(known, mistral=name == VLLM_MISTRAL)
    mistral = bool(weights) and fnmatch.fnmatchcase(weights[0], MISTRAL_WEIGHTS)
    _check_weights(name, weights, known, where)
    config = MISTRAL_CONFIG if mistral else CONFIG
    if config not in known:
        raise UserError(f"files: {where} has no {config}, without which vLLM knows nothing of the model; take another revision or model")
    if mistral and not any(_matches(path, (*MISTRAL_TOKENIZERS, "tokenizer.model")) for path in known):
        raise UserError(f"files: {where} has no tekken.json, which Mistral's own format needs; take another revision or model")
    return [path for path in known if path in weights or (_matches(path, _READ) and not _is_left(path, mistral=mistral))]


def may_belong(name: str, path: str) -> bool:
    """Whether a file can have been brought as one of this set, whatever else was there."""
    return _matches(path, (WEIGHTS, *_READ)) and not _is_left(path, mistral=name == VLLM_MISTRAL)


def weights_of(paths: Iterable[str], *, mistral: bool = False) -> list[str]:
    """Weights in one form: in Mistral's own if that is asked for, or is the only one."""
    weights = [path for path in sorted(paths) if _matches(path, (WEIGHTS,))]
    own = [path for path in weights if _matches(path, (MISTRAL_WEIGHTS,))]
    others = [path for path in weights if path not in own]
    return own if mistral or not others else others


def missing_shards(weights: Iterable[str]) -> list[str]:
    """Files that must be there as well, because one of their series is."""
    there = set(weights)
    series = {(found["stem"], found["count"]) for path in there if (found := _SHARD.fullmatch(path))}
    names = [f"{stem}-{number:05}-of-{count}.safetensors" for stem, count in sorted(series) for number in range(1, int(count) + 1)]
    return [name for name in names if name not in there]


def _check_weights(name: str, weights: Iterable[str], known: list[str], where: str) -> None:
    if not weights:
        asked = " in Mistral's own format (consolidated*.safetensors)" if name == VLLM_MISTRAL else ""
        other = next((kind for kind in ("gguf", "bin", "pth", "pt") if any(path.endswith(f".{kind}") for path in known)), None)
        instead = f", only .{other}" if other and not asked else ""
        raise UserError(f"files: {where} has no weights as safetensors{asked}{instead}; take a model that has them")
    if missing := missing_shards(weights):
        raise UserError(
            f"files: {where} lacks {', '.join(missing[:_SHOWN])}{' and more' if len(missing) > _SHOWN else ''}, "
            "without which the model can't be loaded; take another revision or model"
        )


def _is_left(path: str, *, mistral: bool) -> bool:
    # Either format's configuration beside the other's weights would be taken for a model in both.
    other = (INDEX,) if mistral else (MISTRAL_CONFIG, "consolidated*")
    return _matches(path, (*_LEFT, *other))


def _matches(path: str, patterns: Iterable[str]) -> bool:
    """Globs of the shell, in which '*' does not go into directories."""
    return any(fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/") for pattern in patterns)
