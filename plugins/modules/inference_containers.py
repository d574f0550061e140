#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: inference_containers
short_description: Stop the containers of inference services, or put them on trial
version_added: 0.1.0
description:
  - Does to containers of services with C(manager=compose) what Compose has no command for, or not for a container that may not be there.
  - C(community.docker.docker_compose_v2) makes and starts them.
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  services:
    description: Names of services, as in C(inference_services), in the order in which they start. They stop in the reverse order.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(stopped) stops those that run. Docker does not start them again with the host; the role C(inference) does.
      - V(on_trial) gives containers the restart policy V(no), so that one whose configuration is wrong does not start again and again.
        M(baremetal.llm.inference_service) ends the trial with its O(baremetal.llm.inference_service#module:state=accepted).
    type: str
    choices:
      - stopped
      - on_trial
    required: true
author:
  - the baremetal.llm contributors (@baremetal-llm)
seealso:
  - module: baremetal.llm.inference_service
  - module: baremetal.llm.inference_units
"""

EXAMPLES = r"""
- name: Stop two services before maintenance, the last one first
  baremetal.llm.inference_containers:
    services: [chat, embeddings]
    state: stopped
"""

RETURN = r"""
containers:
  description: The containers that were changed.
  type: list
  elements: str
  returned: success
  sample: [inference-chat]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import ON_TRIAL, project_name
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def due(docker: Docker, services: t.Sequence[str], state: str) -> list[str]:
    """The containers that are not as they are to be, in the order in which they are to be changed."""
    there = {name: docker.container(name) for name in map(project_name, services)}
    if state == "stopped":
        return [name for name in reversed(there) if there[name].state in ("running", "restarting", "paused")]
    return [name for name, status in there.items() if status.state and status.restart != ON_TRIAL]


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["stopped", "on_trial"], "required": True},
        },
        supports_check_mode=True,
    )
    docker, state = Docker(), module.params["state"]
    problem = docker.problem()
    # Without Docker there is nothing to change.
    if problem and problem.code != "docker_missing":
        module.fail_json(msg=str(problem))
    try:
        containers = due(docker, module.params["services"], state)
        for name in [] if module.check_mode else containers:
            if state == "stopped":
                docker.stop(name)
            else:
                docker.set_restart(name, ON_TRIAL)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    diff = {"before": "", "after": "".join(f"{state}: {name}\n" for name in containers)}
    module.exit_json(changed=bool(containers), diff=diff, containers=containers)


if __name__ == "__main__":
    main()
