#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: inference_units
short_description: Start or restart the units of inference services
version_added: 0.1.0
description:
  - Starts and enables several units with one task, in the order given, and predicts in check mode what it would do even for units that
    another task has yet to write.
  - M(ansible.builtin.systemd_service) handles one unit per task and fails in check mode on a unit that is not there yet.
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  services:
    description: Names of services, as in C(inference_services), in the order in which they start.
    type: list
    elements: str
    required: true
  restart:
    description: Those of O(services) that have to be restarted if they are running, such as those with
      RV(baremetal.llm.inference_service#module:restart_required).
    type: list
    elements: str
    default: []
author:
  - the baremetal.llm contributors (@baremetal-llm)
seealso:
  - module: baremetal.llm.inference_service
  - module: baremetal.llm.inference_probe
"""

EXAMPLES = r"""
- name: Start what is new or changed
  baremetal.llm.inference_units:
    services: "{{ written.results | map(attribute='item') }}"
    restart: "{{ written.results | selectattr('restart_required') | map(attribute='item') }}"
"""

RETURN = r"""
enabled:
  description: Units that were enabled.
  type: list
  elements: str
  returned: success
started:
  description: Units that were started.
  type: list
  elements: str
  returned: success
restarted:
  description: Units that were restarted.
  type: list
  elements: str
  returned: success
journal:
  description: The last lines of the journal of the unit that did not start.
  type: list
  elements: str
  returned: when a unit does not start
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._command import check
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._running_unit import explained
from ansible_collections.baremetal.llm.plugins.module_utils._service import unit_name
from ansible_collections.baremetal.llm.plugins.module_utils._unit_actions import PROPERTIES, Actions, decide, parse_show

# A unit that is restarted may be slow to stop: engines finish what they are at.
SECONDS_PER_UNIT = 180.0


def act(verb: str, unit: str) -> None:
    try:
        check(["systemctl", verb, "--", unit], timeout=SECONDS_PER_UNIT)
    except UserError as error:
        raise explained(error, verb, unit) from error


def perform(actions: Actions) -> None:
    if actions.daemon_reload:
        check(["systemctl", "daemon-reload"], timeout=SECONDS_PER_UNIT)
    if actions.enable:
        check(["systemctl", "enable", "--quiet", "--", *actions.enable], timeout=SECONDS_PER_UNIT)
    for unit in actions.start:
        act("start", unit)
    for unit in actions.restart:
        act("restart", unit)


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "str", "required": True},
            "restart": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    services, restart = module.params["services"], module.params["restart"]
    strangers = [name for name in restart if name not in services]
    if strangers:
        module.fail_json(msg=f"restart names {', '.join(strangers)}, which services does not: name it in both.")
    units = list(map(unit_name, services))
    try:
        shown = check(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *units]).stdout if units else ""
        actions = decide(units, list(map(unit_name, restart)), parse_show(shown))
        if not module.check_mode:
            perform(actions)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    done = {"enabled": actions.enable, "started": actions.start, "restarted": actions.restart}
    module.exit_json(
        changed=bool(actions),
        diff={"before": "", "after": "".join(f"{verb}: {unit}\n" for verb, names in done.items() for unit in names)},
        **{verb: list(names) for verb, names in done.items()},
    )


if __name__ == "__main__":
    main()
