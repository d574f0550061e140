# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: load_check_rows
short_description: What load checks have measured on one host, as results for load_check_report
version_added: 0.1.0
description:
  - Makes one result of each service that was asked in a loop over what P(baremetal.llm.load_check_targets#filter) gives.
author:
  - the baremetal.llm contributors (@baremetal-llm)
options:
  _input:
    description: The variables of the host, as in C(hostvars). Only the registered results are templated.
    type: dict
    required: true
seealso:
  - plugin: baremetal.llm.load_check_report
    plugin_type: module
"""

EXAMPLES = r"""
- name: Report
  baremetal.llm.load_check_report:
    results: "{{ ansible_play_hosts | map('extract', hostvars) | map('baremetal.llm.load_check_rows') | flatten }}"
"""

RETURN = r"""
_value:
  description: The results, as O(baremetal.llm.load_check_report#module:results) takes them.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any


def load_check_rows(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Not above: Ansible loads every filter of a collection in each worker that uses one of them.
    from ansible_collections.baremetal.llm.plugins.plugin_utils._load_check_rows import rows_of

    return rows_of(host)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"load_check_rows": load_check_rows}
