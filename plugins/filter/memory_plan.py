# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def memory_plan(
    model: t.Any,
    engine: str = "llama_server",
    mmproj: t.Any = None,
    options: t.Mapping[str, t.Any] | None = None,
    gpus: t.Sequence[t.Any] | None = None,
    resources: t.Mapping[str, t.Any] | None = None,
    quantisations: t.Sequence[t.Any] | None = None,
) -> dict[str, object]:
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for

    try:
        plan = plan_for(model, engine=engine, mmproj=mmproj, options=options, gpus=gpus, resources=resources, quantisations=quantisations)
    except UserError as error:
        raise AnsibleFilterError(f"memory_plan: {error.msg}") from error
    return plan.as_dict()


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"memory_plan": memory_plan}
