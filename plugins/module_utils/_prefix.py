# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that something is installed below, and removed from without asking: not one that can only be a slip."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def check_path(prefix: Path, example: str) -> None:
    if not prefix.is_absolute() or len(prefix.parts) < 3 or ".." in prefix.parts:
        raise UserError(f"prefix: {prefix} is refused; give an absolute path of at least two levels, such as {example}")
