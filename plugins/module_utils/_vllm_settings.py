# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a service as vLLM takes them, for rules to ask.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._vllm_flags import RELEASES
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import Flag, flags_of, option
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_values import human_readable_int_or_auto


class Settings:
    """Another name of a flag is the flag, and its negative form is the flag with false."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {}
        for key, value in options.items():
            flag, name = _known(key), _name(key)
            negative = flag is not None and name in flag.negatives and isinstance(value, bool)
            self._values[canonical(key)] = not value if negative else value

    def get(self, name: str) -> Any:
        return self._values.get(name)

    def on(self, name: str) -> bool:
        return self.get(name) is True

    def off(self, name: str) -> bool:
        return self.get(name) is False

    def whole(self, name: str) -> int | None:
        """A whole number, 32K included; None also for auto, and for what is no number, which is told elsewhere."""
        value = self.get(name)
        if value is None or isinstance(value, bool):
            return None
        try:
            number = human_readable_int_or_auto(str(value))
        except (ValueError, argparse.ArgumentTypeError):
            return None
        return None if number < 0 else number

    def number(self, name: str) -> float | None:
        value = self.get(name)
        try:
            return None if value is None or isinstance(value, bool) else float(str(value))
        except ValueError:
            return None


def canonical(key: str) -> str:
    """The option by the first of its flag's names, whichever of them it is written with."""
    flag = _known(key)
    return option(key) if flag is None else flag.option


def gpu_memory_utilization(settings: Settings) -> float:
    """The share of each of its GPUs that vLLM wants to find free, and takes if it is not told the size of its cache."""
    given = settings.number("gpu_memory_utilization")
    return float(flags_of()["--gpu-memory-utilization"].default) if given is None else given


def _name(key: str) -> str:
    return f"--{key.lstrip('-').replace('_', '-')}"


def _known(key: str) -> Flag | None:
    """The flag in the newest release that has it."""
    name = _name(key)
    return next((flags_of(release)[name] for release in reversed(RELEASES) if name in flags_of(release)), None)
