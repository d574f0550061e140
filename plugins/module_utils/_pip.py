# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pip on the host says when it can't bring something."""

from __future__ import annotations

import re

_UNREACHABLE = re.compile(r"connection broken|Max retries|Could not fetch URL|ConnectionError|Name or service not known|ReadTimeoutError")
_NOT_OFFERED = re.compile(r"No matching distribution found for (\S+)|Could not find a version that satisfies the requirement (\S+)")
_MISMATCH = re.compile(r"^\s+(\S+)\s+from \S.*:\n\s+Expected sha256 ([0-9a-f]{64})(?:.*\n)+?\s+Got\s+([0-9a-f]{64})", re.MULTILINE)


def index_unreachable(output: str) -> bool:
    return bool(_UNREACHABLE.search(output))


def not_offered(output: str) -> str | None:
    """The requirement that the index has nothing for."""
    match = _NOT_OFFERED.search(output)
    return (match[1] or match[2]) if match else None


def hash_mismatch(output: str) -> tuple[str, str, str] | None:
    """Which requirement is another file than its hash says: the requirement, the hash that was expected and that of the file."""
    match = _MISMATCH.search(output)
    return (match[1], match[2], match[3]) if match else None
