# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model as a directory of safetensors: its configuration, and how large its weights are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def read_snapshot(directory: str) -> dict[str, Any]:
    """What a plan for vLLM reads of it."""
    path = Path(directory)
    found: dict[str, Any] = {"config": _read(path / "config.json")}
    index = path / "model.safetensors.index.json"
    if index.is_file():
        found["index"] = _read(index)
    found["files"] = [{"path": file.name, "size": file.stat().st_size} for file in sorted(path.glob("*.safetensors"))]
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"model: {path} can't be read: {reason}. Give the directory of a model with its config.json.") from None
