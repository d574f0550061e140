# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def deploy_lock(text: str | None, wanted: Mapping[str, Any], name: str = "deploy.lock.yml", required: bool = False) -> dict[str, Any]:
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.plugin_utils._lock_for_host import settled_for

    return settled_for(text, wanted, name, required)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"deploy_lock": deploy_lock}
