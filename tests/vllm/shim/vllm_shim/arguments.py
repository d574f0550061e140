# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vLLM's own parser would say of a command line: the table that was extracted from the released package is the collection's."""

from __future__ import annotations

from collections.abc import Sequence

VERSION = "0.33.0"


def refusal(words: Sequence[str]) -> str:
    """Nothing, until the table is there."""
    return ""
