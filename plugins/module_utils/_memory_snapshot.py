# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model as a directory of safetensors: its configuration, and how large its weights are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._mistral_params import as_config
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import CONFIG, INDEX, MISTRAL_CONFIG, WEIGHTS, weights_of


def read_snapshot(directory: str, *, mistral: bool = False) -> dict[str, Any]:
    """What a plan for vLLM reads of it; ``mistral`` where it is to take the weights in Mistral's own format."""
    path = Path(directory)
    found: dict[str, Any] = {"config": _config(path, mistral=mistral)}
    index = path / INDEX
    weights = weights_of([file.name for file in path.glob(WEIGHTS)], mistral=mistral)
    if index.is_file() and not mistral:
        read = _read(index)
        found["index"] = {"metadata": read.get("metadata", {})} if isinstance(read, dict) else read  # the rest names each tensor
    found["files"] = [{"path": name, "size": (path / name).stat().st_size} for name in weights]
    return found


def _config(path: Path, *, mistral: bool) -> Any:
    """In the words of Hugging Face's format, which may be the only one or the one that is missing."""
    own, theirs = path / MISTRAL_CONFIG, path / CONFIG
    if own.is_file() and (mistral or not theirs.is_file()):
        params = _read(own)
        return as_config(params) if isinstance(params, dict) else params
    return _read(theirs)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"model: {path} can't be read: {reason}. Give the directory of a model with its config.json.") from None
