# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shlex
import typing as t

from ansible.errors import AnsibleFilterError


def service_of_command(command: t.Any) -> dict[str, t.Any]:
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.module_utils._service import parse
    from ansible_collections.baremetal.llm.plugins.module_utils._vllm_command import service_of
    from ansible_collections.baremetal.llm.plugins.module_utils._vllm_options import static_problems

    if not isinstance(command, str):
        raise AnsibleFilterError(f"service_of_command: the command has to be a text, not {type(command).__name__}")
    try:
        words = shlex.split(command.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise AnsibleFilterError(f"service_of_command: a shell could not read the command: {error}") from error
    raw, told = service_of(words)
    service, found = parse(raw)
    found += static_problems(service) if service is not None else ()
    return {"service": raw, "problems": [problem.as_dict() for problem in [*told, *found]]}


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"service_of_command": service_of_command}
