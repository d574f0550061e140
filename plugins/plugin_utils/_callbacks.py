# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads what Ansible prints."""

from __future__ import annotations

from typing import Any

from ansible import constants as C
from ansible.module_utils.parsing.convert_bool import boolean

_FOR_PROGRAMS = frozenset({"json", "jsonl", "null"})


def people_read_along() -> bool:
    """Whether the stdout callback is one for people; the whole output of the others is read by a program."""
    return str(C.config.get_config_value("DEFAULT_STDOUT_CALLBACK")).rpartition(".")[2] not in _FOR_PROGRAMS


def audience(task: Any, task_vars: dict[str, Any]) -> str:
    """What to call the target of ``task`` when telling how far it is; empty where nobody wants to know (``inference_progress``)."""
    wanted = people_read_along() and boolean(task_vars.get("inference_progress", True), strict=False)
    return str(task.delegate_to or task_vars.get("inventory_hostname", "")) if wanted else ""
