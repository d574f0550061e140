# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of a host have registered, from its variables, which are templated only when they are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def registered(variables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Empty where the task was not there."""
    result: Mapping[str, Any] = variables.get(name, {})
    return result


def results(variables: Mapping[str, Any], name: str, key: str) -> list[Mapping[str, Any]]:
    """What the items of a loop returned. Those that did nothing, as those that are skipped in check mode, lack the key."""
    return [result for result in registered(variables, name).get("results", ()) if key in result]
