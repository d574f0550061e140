# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of models, kept on the controller for plans. Each belongs to a commit, which never changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic

_MOST = 256
"""Headers that are kept; those that were not asked for longest go first."""


class HeaderCache:
    """One file for each header, called after the digest of what it is of."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)

    def get(self, *name: str) -> dict[str, Any] | None:
        place = self._place(name)
        try:
            kept = json.loads(place.read_bytes())
            os.utime(place)
        except (OSError, ValueError):  # not there, or not whole
            return None
        return kept["header"] if isinstance(kept, Mapping) and kept.get("name") == list(name) else None

    def put(self, header: Mapping[str, Any], *name: str) -> None:
        """Keep it. Where nothing can be kept, the next plan asks again, and that is all."""
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            write_atomic(self._place(name), json.dumps({"name": name, "header": header}).encode(), 0o600)

    def _place(self, name: tuple[str, ...]) -> Path:
        return self._directory / f"{hashlib.sha256(json.dumps(name).encode()).hexdigest()}.json"

    def _tidy(self) -> None:
        kept = sorted(self._directory.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in kept[_MOST - 1 :]:
            path.unlink(missing_ok=True)


def default_directory(environment: Mapping[str, str]) -> Path:
    """Where programs of this user keep what they can fetch again."""
    home = Path(environment.get("HOME") or "/root")
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "baremetal.llm" / "headers"
