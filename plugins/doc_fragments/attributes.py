# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module says about check mode, diff mode and idempotence; one that only reads adds C(.info_module)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what it would change, without changing it.
    support: full
  diff_mode:
    description: Returns what it changed, or in check mode would change, when in diff mode.
    support: full
  idempotent:
    description: Run twice in a row without outside changes in between, it changes nothing the second time.
    support: full
  platform:
    description: The operating systems this works on.
    support: full
    platforms: Debian, Ubuntu
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing, with or without check mode.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing, so there is nothing to show.
"""
