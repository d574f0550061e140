# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def cuda_plan(gpus: t.Any, **parameters: t.Any) -> dict[str, object]:
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import plan_for

    if not isinstance(gpus, list) or not all(isinstance(gpu, dict) for gpu in gpus):
        raise AnsibleFilterError("cuda_plan: give the GPUs as a list of dicts with a name, a compute_capability or both")
    try:
        return plan_for(gpus, **parameters).as_dict()
    except UserError as error:
        raise AnsibleFilterError(f"cuda_plan: {error.msg}") from error


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"cuda_plan": cuda_plan}
