# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of Docker Engine and Compose, and what came with which.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

CDI_SINCE = (25,)
"""Docker Engine can inject CDI devices from here on, if features.cdi is true,"""
CDI_DEFAULT_SINCE = (28, 2)
"""and from here on without that. Engines before it start containers after a boot before they know CDI, so that these stay down."""
OLDEST_COMPOSE = (2, 18)
"""What community.docker takes."""


def numbers(version: str) -> tuple[int, ...]:
    """`26.1.5+dfsg1` → (26, 1, 5); of something without numbers, nothing."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, match[1].split("."))) if match else ()


def dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
