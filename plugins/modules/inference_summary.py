#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_summary
short_description: Print what a run did as one table
version_added: 0.1.0
description:
  - Prints one line for each service of all hosts, on the terminal where Ansible runs. It runs once for all hosts and connects to none.
  - With a stdout callback for machines, such as C(ansible.posix.json), nothing is printed; the rows are in the result all the same.
  - This is an action plugin. There is nothing to run on the host.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
attributes:
  check_mode:
    details:
      - In check mode the last column says what would change.
options:
  rows:
    description: The lines, in the order in which they are printed. P(baremetal.llm.inference_rows#filter) makes those of a host.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The name of the host.
        type: str
        required: true
      service:
        description: The name of the service.
        type: str
        required: true
      url:
        description: Where it is reached.
        type: str
        required: true
      model:
        description: The name of its model.
        type: str
        default: ''
      release:
        description: The release of llama.cpp that it runs.
        type: str
        default: ''
      tokens_per_second:
        description: How fast it answered when it was proven; left out where it was not.
        type: float
      changed:
        description: What was changed for it.
        type: list
        elements: str
        default: []
seealso:
  - plugin: baremetal.llm.inference_rows
    plugin_type: filter
  - module: baremetal.llm.inference_probe
"""

EXAMPLES = r"""
- name: Report
  baremetal.llm.inference_summary:
    rows: "{{ ansible_play_hosts | map('extract', hostvars) | map('baremetal.llm.inference_rows') | flatten }}"
"""

RETURN = r"""
rows:
  description: The rows as they were given, with their defaults.
  returned: success
  type: list
  elements: dict
  sample:
    - host: gpu1
      service: chat
      url: http://gpu1:8080
      model: chat
      release: 4be1c04d5e3c
      tokens_per_second: 93.4
      changed: [configuration, restarted]
"""
