# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.plugin_utils._services import planned_service


def planned_services(services: t.Any) -> list[t.Any]:
    if not isinstance(services, list):
        raise AnsibleFilterError(f"planned_services: inference_services has to be a list of services, not {type(services).__name__}")
    return [planned_service(service) for service in services]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"planned_services": planned_services}
