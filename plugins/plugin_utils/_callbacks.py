# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads what Ansible prints."""

from __future__ import annotations

from ansible import constants as C

_FOR_PROGRAMS = frozenset({"json", "jsonl", "null"})


def people_read_along() -> bool:
    """Whether the stdout callback is one for people; the whole output of the others is read by a program."""
    return str(C.config.get_config_value("DEFAULT_STDOUT_CALLBACK")).rpartition(".")[2] not in _FOR_PROGRAMS
