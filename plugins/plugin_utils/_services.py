# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as they come from the inventory, whose texts are templated only when they are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from jinja2.exceptions import UndefinedError

_PLANNED = ("name", "engine", "manager", "model", "gpus", "host", "port", "options", "resources", "image")


def planned_service(service: Any) -> Any:
    """The service with what a plan needs of it and nothing else, so without its key and its environment, which are not even read."""
    if not isinstance(service, Mapping):
        return service
    return {key: service[key] for key in _PLANNED if key in service}


def with_readable_key(service: Any) -> tuple[Any, str | None]:
    """The service, with a key of no meaning where its own can't be read, and why that is."""
    try:
        if isinstance(service, Mapping):
            service.get("api_key")
    except (UndefinedError, AnsibleError) as reason:
        return {**{key: service[key] for key in service if key != "api_key"}, "api_key": "unreadable"}, str(reason)
    return service, None
