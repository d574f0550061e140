# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def deploy_lock(text: str | None, wanted: Mapping[str, Any], name: str = "deploy.lock.yml", required: bool = False) -> dict[str, Any]:
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


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"deploy_lock": deploy_lock}
