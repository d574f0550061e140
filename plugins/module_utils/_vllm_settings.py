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
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_parser import human_readable_int_or_auto
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import Flag, flags_of, option


class Settings:
    """Another name of a flag is the flag, and its negative form is the flag with false."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {}
        for key, value in options.items():
            name = f"--{key.lstrip('-').replace('_', '-')}"
            flag = _known(name)
            if flag is None:
                self._values[option(name)] = value
            else:
                self._values[flag.option] = not value if name in flag.negatives and isinstance(value, bool) else value

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


def _known(name: str) -> Flag | None:
    """The flag in the newest release that has it."""
    return next((flags_of(release)[name] for release in reversed(RELEASES) if name in flags_of(release)), None)
