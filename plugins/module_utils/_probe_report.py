# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is expected of a server, and what was found, whatever its engine.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check

OK, BAD_REQUEST, UNAUTHORIZED, UNAVAILABLE = 200, 400, 401, 503
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
READ_LOG = "Read the end of its log."


@dataclass(frozen=True)
class Expectation:
    """What was asked for; None or empty where nothing was."""

    alias: str | None = None
    n_ctx: int | None = None  # tokens per slot, or of a request
    slots: int | None = None
    listen: tuple[tuple[str, int], ...] = ()  # addresses and ports: all of them, and no other
    gpus: tuple[str, ...] = ()  # UUIDs of GPUs and MIG devices
    gpu_layers: str | None = None  # a number or "all"
    gpu_memory_mib: int | None = None  # on all of them together, at least
    metrics: bool = False
    kv_cache_tokens: tuple[int, int] | None = None  # the least and the most that were planned


@dataclass
class Report:
    checks: list[Check] = field(default_factory=list)
    timings: dict[str, float | None] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "load_seconds",
                "time_to_first_token_ms",
                "prompt_tokens_per_second",
                "tokens_per_second",
                "prompt_tokens",
                "completion_tokens",
            )
        )
    )
    server: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]

    @property
    def healthy(self) -> bool:
        return not self.failed

    def message(self, subject: str) -> str:
        """What the operator reads first: the check that failed, why, and what to do."""
        first, *others = self.failed
        also = f" Also failed: {', '.join(check.name for check in others)}." if others else ""
        return f"{subject} fails the check '{first.name}': {first.detail}. {first.remedy}{also}"


def dig(data: Any, *path: str | int) -> Any:
    """A value deep in somebody else's JSON, or None."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def positive(value: Any) -> float | None:
    """A measurement to one decimal; None for what is not a usable number, such as the speed of a single token."""
    usable = isinstance(value, (int, float)) and math.isfinite(value) and value > 0
    return round(value, 1) if usable else None
