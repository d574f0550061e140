# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors, failure_message


def driver_check(
    host: t.Any,
    version: t.Any = "",
    kernel_module: str | None = "",
    manage: bool = True,
    before: t.Any = None,
    upgrade: bool = False,
    gpus: t.Sequence[t.Mapping[str, object]] = (),
    toolkit_version: t.Any = "",
    cuda_architectures: t.Sequence[str] | str = (),
    needs_gpu: bool = False,
    toolkit_source: str = "",
    expected: t.Sequence[t.Mapping[str, object]] = (),
) -> dict[str, t.Any]:
    unreachable = before is None and isinstance(host, t.Mapping) and bool(host.get("unreachable"))
    # After an installation gpu_info itself may fail, and what it returned then says why.
    failed = before is not None and isinstance(host, t.Mapping) and "msg" in host
    if not (unreachable or failed or (isinstance(host, t.Mapping) and "driver" in host)):
        raise AnsibleFilterError("driver_check: the input has to be what the module gpu_info returned")
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.module_utils._driver_check import driver_due, driver_failures
    from ansible_collections.baremetal.llm.plugins.module_utils._gpu_gate import Wanted, host_problems, picture, unseen

    unknown = False
    if unreachable:
        host, needs_gpu, unknown = unseen(expected), False, not expected
    seen = "driver" in host
    try:
        if before is not None:
            problems = driver_failures(host, before, version=str(version), kernel_module=kernel_module or "")
            shown: dict[str, t.Any] = {}
        else:
            wanted = Wanted(
                gpus=gpus,
                driver_version=str(version or ""),
                kernel_module=kernel_module or "",
                manage=manage,
                upgrade=upgrade,
                needs_gpu=needs_gpu,
                toolkit_version=str(toolkit_version or ""),
                toolkit_source=toolkit_source,
                # As Ansible takes a text for a list.
                cuda_architectures=cuda_architectures.split(",") if isinstance(cuda_architectures, str) else cuda_architectures,
            )
            problems, shown = host_problems(host, wanted), picture(host, wanted)
    except UserError as error:
        raise AnsibleFilterError(f"driver_check: {error.msg}") from error
    return {
        "due": seen and driver_due(host, manage=manage),
        "problems": [problem.as_dict() for problem in problems],
        "message": failure_message(problems) if errors(problems) else "",
        **({**shown, "gpus": None} if unknown else shown),
    }


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"driver_check": driver_check}
