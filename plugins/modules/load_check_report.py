#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_check_report
short_description: Show what load checks have measured, and compare it with a baseline
version_added: 0.1.0
description:
  - Prints what was measured for all services of all hosts as one table, on the terminal where Ansible runs, with the errors by kind below
    it. It runs once for all hosts and connects to none.
  - Compares it with what was kept as a baseline, and says what is better or worse by how much.
  - With a stdout callback for machines, such as C(ansible.posix.json), nothing is printed; the files are written all the same.
  - It fails if a service has answered not a single request, after everything else is done.
  - This is an action plugin. There is nothing to run on the host.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes
attributes:
  check_mode:
    details:
      - In check mode no file is written.
  diff_mode:
    support: none
    details:
      - Every figure of a baseline is another one each time.
  idempotent:
    details:
      - The same O(results) change nothing the second time.
  platform:
    platforms: posix
options:
  results:
    description:
      - What was measured, one for each service. P(baremetal.llm.load_check_rows#filter) makes those of a host.
      - Each has C(host) and C(service), and what M(baremetal.llm.load_check) returns as C(base_url), C(model), C(parameters), C(figures),
        C(problems) and C(message).
    type: list
    elements: dict
    required: true
  services:
    description: Names of services that have to be among O(results), on any host; for a name that nobody has.
    type: list
    elements: str
    default: []
  baseline:
    description:
      - The file of the baseline, on the controller; a relative path begins where Ansible was started. Without such a file, nothing is
        compared.
    type: path
  save:
    description:
      - Whether O(results) become the baseline, after they were compared with what it was. Services that are not among them stay in it.
      - A run that fails saves nothing.
    type: bool
    default: false
  tolerance_percent:
    description:
      - By how much a figure may be another one and still count as the same. For the 95th percentiles, which vary more, it is twice as much,
        and a few milliseconds always count as the same.
      - The share of requests that fail may rise by one percentage point.
    type: float
    default: 10.0
  json:
    description:
      - Where the results go with their comparison as JSON, on the controller, as O(baseline). It can serve as a baseline itself.
    type: path
  fail_on_worse:
    description: Whether to fail if a service is worse than its baseline in anything.
    type: bool
    default: false
seealso:
  - module: baremetal.llm.load_check
  - plugin: baremetal.llm.load_check_rows
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show it, and stop where it has become worse
  baremetal.llm.load_check_report:
    results: "{{ ansible_play_hosts | map('extract', hostvars) | map('baremetal.llm.load_check_rows') | flatten }}"
    baseline: load-check.baseline.json
    fail_on_worse: true
"""

RETURN = r"""
results:
  description: The results as they were given, each with its comparison.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The name of the host.
      type: str
      sample: gpu1
    service:
      description: The name of the service.
      type: str
      sample: chat
    figures:
      description: As RV(baremetal.llm.load_check#module:figures).
      type: dict
    comparison:
      description: What has become of it since the baseline.
      type: dict
      contains:
        verdict:
          description:
            - V(worse) if it is worse in anything, otherwise V(better) if it is better in anything, otherwise V(same).
            - V(new) if the baseline does not have it, V(not comparable) if it was asked something else then, V(failed) if it has answered
              nothing.
          type: str
          sample: worse
        reason:
          description: Why it can't be compared, or has failed.
          type: str
        changes:
          description: Each figure that was compared, with C(metric), C(before), C(now), C(percent) and its own C(verdict).
          type: list
          elements: dict
          sample:
            - {metric: tokens/s, before: 878.9, now: 610.0, percent: -30.6, verdict: worse}
"""
