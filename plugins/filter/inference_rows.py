# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: inference_rows
short_description: What a run did on one host, as rows for inference_summary
version_added: 0.1.0
description:
  - Makes one row of each inference service of a host, from the results that the roles of this collection have registered there.
author:
  - the baremetal.llm contributors (@baremetal-llm)
options:
  _input:
    description: The variables of the host, as in C(hostvars). Only the few that are needed are templated.
    type: dict
    required: true
seealso:
  - plugin: baremetal.llm.inference_summary
    plugin_type: module
"""

EXAMPLES = r"""
- name: Report
  baremetal.llm.inference_summary:
    rows: "{{ ansible_play_hosts | map('extract', hostvars) | map('baremetal.llm.inference_rows') | flatten }}"
"""

RETURN = r"""
_value:
  description: The rows, as O(baremetal.llm.inference_summary#module:rows) takes them.
  type: list
  elements: dict
"""

from collections.abc import Callable

from ansible_collections.baremetal.llm.plugins.plugin_utils._summary import rows_of


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"inference_rows": rows_of}
