# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lock settles of one host, and whether that is enough: what the filter deploy_lock gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._lock_applied import (
    applied_base_image,
    applied_models,
    applied_services,
    applied_source,
)
from ansible_collections.baremetal.llm.plugins.module_utils._lock_wanted import lock_problems, parse_wanted
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error
from ansible_collections.baremetal.llm.plugins.plugin_utils._lock_file import read_lock


def settled_for(text: str | None, wanted: Mapping[str, Any], name: str, required: bool) -> dict[str, Any]:
    """From the text of the lock, None where there is none."""
    lock: DeployLock | None = None
    try:
        lock = None if text is None else read_lock(str(text), name)
        problems = _problems(lock, wanted, name, required)
    except UserError as wrong:
        what, _semicolon, remedy = wrong.msg.rpartition("; ")
        problems = [error("lock_invalid", what, remedy[:1].upper() + remedy[1:])]
    known = lock or DeployLock()
    return {
        "problems": [problem.as_dict() for problem in problems],
        "models": applied_models(known, wanted),
        "services": applied_services(known, wanted),
        "base_image": applied_base_image(known, wanted),
        "llama_cpp_source": applied_source(known, wanted.get("llama_cpp_source")),
        "lock": known.as_dict() if lock else {},
    }


def _problems(lock: DeployLock | None, wanted: Mapping[str, Any], name: str, required: bool) -> list[Problem]:
    try:
        return list(lock_problems(lock, parse_wanted(wanted), name, required=required))
    except UserError:  # of which service_problems and the build tell
        return []
