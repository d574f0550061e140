# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: load_check_targets
short_description: Where the services of a host are asked by a load check
version_added: 0.1.0
description:
  - Tells the base URL of each service. Their C(api_key) and their C(environment) are not even read.
author:
  - the baremetal.llm contributors (@baremetal-llm)
options:
  _input:
    description: The services, as in the variable C(inference_services).
    type: list
    elements: dict
    required: true
  names:
    description: The names of those that are wanted; all of them if it is empty. A name that this host does not have is passed over.
    type: list
    elements: str
    default: []
  host:
    description:
      - The name or address by which others reach the host. Without it, the URL is for the host itself.
      - With it, a service that listens on the loopback only is an error.
    type: str
seealso:
  - plugin: baremetal.llm.load_check
    plugin_type: module
"""

EXAMPLES = r"""
- name: Measure each service on its own host
  baremetal.llm.load_check:
    base_url: "{{ item.base_url }}"
  loop: "{{ inference_services | baremetal.llm.load_check_targets }}"
"""

RETURN = r"""
_value:
  description: For each service its name as C(service) and its C(base_url).
  type: list
  elements: dict
"""

from collections.abc import Callable, Sequence
from typing import Any


def load_check_targets(services: Any, names: Sequence[str] = (), host: str | None = None) -> list[dict[str, str]]:
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.plugin_utils._load_check_rows import targets

    return targets(services, names, host)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"load_check_targets": load_check_targets}
