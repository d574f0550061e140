# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the range says when it cannot do what you asked."""

from __future__ import annotations


class RangeError(Exception):
    """One sentence or two for the person at the terminal."""

    exit_code = 1


class Unsupported(RangeError):
    """This machine can never do it as it is; another host has to."""

    exit_code = 2
