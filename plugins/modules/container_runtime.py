#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: container_runtime
short_description: A Docker whose containers keep their GPUs
version_added: 0.1.0
description:
  - Sets up Docker for containers with GPUs. They get them by CDI, and keep them when systemd reloads its units, when Docker is restarted,
    and when the host is.
  - It tells what packages are lacking, and installs none; the role C(container_runtime) does.
  - C(/etc/docker/daemon.json) is merged. What it says already stays, unless O(config) or the options of this module say otherwise; nothing
    is written that C(dockerd --validate) does not take.
  - CDI specifications of the GPUs that are missing, or out of date, are written by C(nvidia-ctk).
  - A drop-in for C(docker.service) writes the specification before Docker starts. A unit that comes after each start of Docker starts the
    containers again that Docker could not give their devices, which engines before 28.2 never can at first.
  - The versions of NVIDIA's four packages, and that of the engine if O(engine_version) is given, are pinned in C(/etc/apt/preferences.d).
  - Docker is restarted only where something that it reads has changed since it was started, and not while that would stop containers. Live
    restore, which it takes without a restart, is turned on before that.
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  source:
    description:
      - Where Docker is from.
      - V(distribution) is C(docker.io) of Debian 13, Ubuntu 22.04 or 24.04. V(docker) is C(docker-ce) of Docker's own repository.
      - With V(existing) nothing is changed, and the module fails where the runtime lacks something.
    type: str
    choices: [distribution, docker, existing]
    default: distribution
  engine_version:
    description: The version of the engine, or the beginning of it, such as V(28.5) or V(28.5.1). Empty is the one that is installed.
    type: str
    default: ''
  toolkit_version:
    description:
      - The version of NVIDIA's container toolkit, or the beginning of it. Empty is the one that is installed, or else the newest on offer.
    type: str
    default: ''
  gpus:
    description: Whether containers of this host use GPUs.
    type: bool
    default: false
  live_restore:
    description: Whether containers go on running while Docker is restarted.
    type: bool
    default: true
  config:
    description:
      - What else C(/etc/docker/daemon.json) shall say. Mappings are merged, lists and values replaced, and null takes a key out.
      - Unless the file or this says something about logs, they are bounded to five files of 50 MB for each container.
    type: dict
    default: {}
  restart:
    description: Whether Docker may be restarted although that stops containers.
    type: bool
    default: false
  state:
    description:
      - V(planned) changes nothing and tells what is to be done.
      - V(present) does it, apart from installing packages.
      - V(absent) removes the pins, the drop-in and the unit. Packages and C(daemon.json) stay, because other containers may need them.
    type: str
    choices: [planned, present, absent]
    default: present
author:
  - the baremetal.llm contributors (@baremetal-llm)
seealso:
  - module: baremetal.llm.gpu_info
"""

EXAMPLES = r"""
- name: See what is to be done
  baremetal.llm.container_runtime:
    gpus: true
    state: planned
  register: runtime

- name: Install the packages
  ansible.builtin.apt:
    name: "{{ runtime.installs }}"

- name: Set up Docker
  baremetal.llm.container_runtime:
    gpus: true
    config:
      registry-mirrors: ["https://mirror.example.org"]
"""

RETURN = r"""
due:
  description: Whether there is, or was, something to do.
  type: bool
  returned: success
reasons:
  description: What there is, or was, to do.
  type: list
  elements: str
  returned: success
  sample: [write /etc/docker/daemon.json]
installs:
  description: What apt is to be asked for.
  type: list
  elements: str
  returned: success
  sample: [docker.io, docker-cli, docker-compose]
restarted:
  description: Whether Docker was, or would be, started or restarted.
  type: bool
  returned: success
container_runtime:
  description: The runtime after this, as RV(baremetal.llm.gpu_info#module:container_runtime) tells it.
  type: dict
  returned: success
problems:
  description:
    - What is wrong. With errors, the module fails before it changes anything. The C(code) of each stays the same for good.
    - "Errors: V(distribution_without_runtime), V(other_engine) (Docker is installed from somewhere else), V(restart_stops_services),
      V(swarm), and after the change, or with O(source=existing), V(no_container_runtime), V(container_runtime_unreachable),
      V(compose_missing), V(compose_too_old), V(cdi_unsupported), V(cdi_disabled), V(cdi_spec_missing), V(cdi_spec_stale)."
    - "Warnings: V(stopped) (containers that a restart of Docker stopped)."
  type: list
  elements: dict
  returned: always, unless it failed for another reason
  contains:
    code:
      description: What it is.
      type: str
    severity:
      description: V(error) or V(warning).
      type: str
    message:
      description: What it is, in a sentence.
      type: str
    remedy:
      description: What to do about it.
      type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._command import without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._container_change import ContainerChange, Outcome
from ansible_collections.baremetal.llm.plugins.module_utils._container_plan import SOURCES, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._container_system import ContainerSystem
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import ProblemsError

_STATES = {"planned": ContainerChange.planned, "present": ContainerChange.present, "absent": ContainerChange.absent}


def result_of(outcome: Outcome) -> dict[str, t.Any]:
    return {
        "due": bool(outcome.reasons),
        "reasons": list(outcome.reasons),
        "installs": list(outcome.installs),
        "restarted": outcome.restarted,
        "container_runtime": outcome.runtime.as_dict(),
        "problems": [problem.as_dict() for problem in outcome.problems],
        # daemon.json may name a proxy with its password.
        "diff": [{side: without_credentials(text) for side, text in change.diff().items()} for change in outcome.files],
    }


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "choices": list(SOURCES), "default": SOURCES[0]},
            "engine_version": {"type": "str", "default": ""},
            "toolkit_version": {"type": "str", "default": ""},
            "gpus": {"type": "bool", "default": False},
            "live_restore": {"type": "bool", "default": True},
            "config": {"type": "dict", "default": {}},
            "restart": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": list(_STATES), "default": "present"},
        },
        supports_check_mode=True,
    )
    state = module.params["state"]
    wish = Wish(**{name: value for name, value in module.params.items() if name != "state"})
    try:
        outcome = _STATES[state](ContainerChange(ContainerSystem(), wish, check_mode=module.check_mode))
    except ProblemsError as failure:
        module.fail_json(msg=str(failure), problems=[problem.as_dict() for problem in failure.problems])
    except UserError as failure:
        module.fail_json(msg=failure.msg, **failure.details)
    for problem in outcome.problems:
        module.warn(str(problem))
    module.exit_json(changed=bool(outcome.reasons) and state != "planned", **result_of(outcome))


if __name__ == "__main__":
    main()
