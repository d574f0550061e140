# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error
from ansible_collections.baremetal.llm.plugins.plugin_utils._services import with_readable_key

if t.TYPE_CHECKING:
    from ansible_collections.baremetal.llm.plugins.module_utils._service import Service


def service_problems(
    services: t.Any, ignore: t.Sequence[str] = (), gpus: t.Sequence[t.Mapping[str, t.Any]] | None = None
) -> list[dict[str, str]]:
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.module_utils import _llama_server_options as llama_server
    from ansible_collections.baremetal.llm.plugins.module_utils import _vllm_options as vllm
    from ansible_collections.baremetal.llm.plugins.module_utils._service import list_problems
    from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import gpu_problems
    from ansible_collections.baremetal.llm.plugins.module_utils._vllm_rules import shared_gpu_problems

    of_vllm: list[Service] = []

    def engine_problems(service: Service) -> t.Iterator[Problem]:
        if service.engine == "vllm":
            yield from vllm.static_problems(service)
            yield from shared_gpu_problems(service, of_vllm)
            of_vllm.append(service)
        else:
            yield from llama_server.static_problems(service)
        if gpus is not None:
            yield from gpu_problems(service, gpus)

    if not isinstance(services, list):
        raise AnsibleFilterError(f"service_problems: inference_services has to be a list of services, not {type(services).__name__}")
    readable = [with_readable_key(service) for service in services]
    unread = [_key_problem(service, reason) for service, reason in readable if reason]
    found = [*unread, *list_problems([service for service, _reason in readable], engine_problems)]
    return [problem.as_dict() for problem in found if problem.code not in ignore]


def _key_problem(service: t.Mapping[str, t.Any], reason: str) -> Problem:
    name = service.get("name") or "inference_services"
    message = f"{name}: api_key can't be read: {reason.rstrip('.')}"
    return error("api_key_undefined", message, "Define it, such as in a vault beside the inventory")


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"service_problems": service_problems}
