# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.baremetal.llm.plugins.module_utils._header_cache import HeaderCache, default_directory
from ansible_collections.baremetal.llm.plugins.modules.inference_plan import ARGUMENT_SPEC
from ansible_collections.baremetal.llm.plugins.plugin_utils._host_plan import HostPlan, uploads_of
from ansible_collections.baremetal.llm.plugins.plugin_utils._model_headers import HubHeaders
from ansible_collections.baremetal.llm.plugins.plugin_utils._services import planned_service

# What the host is asked with. The rest is the controller's.
_FOR_THE_HOST = (
    "gpus",
    "locked",
    "binary",
    "cache_dir",
    "group",
    "endpoint",
    "token",
    "offline",
    "python",
    "client_directory",
    "timeout",
    "bundle",
)


class ActionModule(ActionBase):
    """Asks the host what is there, plans what is still to come, and fails with all that is wrong."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        params = self.validate_argument_spec(ARGUMENT_SPEC)[1]
        params["services"] = [planned_service(service) for service in params["services"]]
        headers = HubHeaders(
            params["endpoint"].rstrip("/"),
            params["token"] or None,
            params["offline"],
            params["timeout"],
            HeaderCache(default_directory(os.environ)),
            params["bundle"],
        )
        plan = HostPlan(params, uploads_of(params["local_files"], params["directory"]), headers)
        seen, unreachable = self._ask(plan, variables)
        if seen and seen.get("failed"):
            return {**result, **seen}
        measured = {name: self._measure(arguments, variables) for name, arguments in plan.measuring(seen)}
        entry = plan.entry(variables.get("inventory_hostname", ""), _groups(params, variables), seen, unreachable, measured)
        told = {
            **result,
            "changed": False,
            "plan": entry,
            "models_due": plan.models_due(seen),
            "gpu_memory_mib": plan.gpu_memory_mib(entry),
            "kv_cache_tokens": plan.kv_cache_tokens(entry),
        }
        if not params["fail_on_errors"]:
            return told
        errors, warnings = plan.findings(entry)
        if errors:
            return {**told, "failed": True, "msg": "\n".join(errors)}
        return {**told, "warnings": warnings} if warnings else told

    def _ask(self, plan: HostPlan, variables: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """What the host says, or why it can't be reached."""
        if not plan.params["reachable"]:
            return None, "it does not answer"
        arguments = {name: plan.params[name] for name in _FOR_THE_HOST if plan.params[name] is not None}
        asked = {**arguments, "services": plan.params["services"], "uploads": plan.uploads}
        try:
            return self._execute_module(module_name="baremetal.llm.inference_plan", module_args=asked, task_vars=variables), ""
        except AnsibleConnectionFailure as failure:
            if plan.params["fail_on_errors"]:
                raise
            return None, str(failure).strip().splitlines()[0]

    def _measure(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any] | None:
        """The plan as the host makes it with its own llama.cpp; None where it can't, and then the calculated one stands."""
        found: dict[str, Any] = self._execute_module(module_name="baremetal.llm.memory_plan", module_args=arguments, task_vars=variables)
        return None if found.get("failed") else {key: value for key, value in found.items() if key not in ("invocation", "changed", "msg")}


def _groups(params: Mapping[str, Any], variables: Mapping[str, Any]) -> list[str]:
    given: list[str] | None = params["groups"]
    return variables.get("group_names", []) if given is None else given
