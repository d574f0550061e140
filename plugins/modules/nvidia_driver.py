#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver
short_description: NVIDIA's driver from apt, at one version, changed only on purpose
version_added: 0.1.0
description:
  - Installs NVIDIA's driver from the repositories that the host has, at exactly one version, and keeps it there.
  - Before anything is changed, apt simulates the installation. What would be removed, a version that is not on offer, a full C(/boot),
    missing kernel headers and the like are told as RV(problems), and the module fails.
  - A driver that is installed is not changed for another, whatever O(version) says, unless O(upgrade=true).
  - With O(upgrade=true), what was there is written to C(/var/lib/baremetal-llm/driver-upgrade.json) and its package files are kept beside
    it, until O(state=accepted) or O(state=reverted). A run that is killed, even by a power cut, is finished by the next one, in either
    direction.
  - The version is kept by a pin in C(/etc/apt/preferences.d) and a list in C(/etc/apt/apt.conf.d) for unattended-upgrades. The packages
    that NVIDIA has for pinning (C(nvidia-driver-pinning-...)) are not used, because other repositories do not have them. Nor is
    C(apt-mark hold), which would also stop the way back.
  - Services that use the driver are not stopped, and the host is not rebooted. See RV(reboot_required).
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  version:
    description:
      - The driver, as a full version such as V(580.126.09), or a branch such as V(580).
      - A branch is the newest version of it that is on offer when a driver is installed or upgraded. After that, any version of the branch
        will do.
      - Empty is the driver that is installed. Where none is, it is the newest on offer that fits O(gpus) and O(toolkit_version). With
        O(upgrade=true), it is the newest of the branch that is installed.
    type: str
    default: ''
  kernel_module:
    description:
      - The flavour of the kernel modules.
      - By default the installed one. Where none is installed, what O(gpus) need, and V(open) where they work with both.
    type: str
    choices: [open, proprietary]
  repository:
    description:
      - Whose packages to install, which are called differently.
      - V(nvidia) is NVIDIA's CUDA repository or a mirror of it, and V(distribution) the archive of Debian or Ubuntu. Neither is set up
        here.
      - Of Ubuntu's archive the server drivers with signed modules are taken, which start with Secure Boot.
    type: str
    choices: [nvidia, distribution]
    default: nvidia
  compute_only:
    description: Leave out what is for screens. It decides about the packages of a new driver only.
    type: bool
    default: true
  gpus:
    description:
      - The GPUs of the host, each with a C(name), a C(compute_capability) or both, as RV(baremetal.llm.gpu_info#module:gpus) has them.
      - A driver that does not fit them is refused.
    type: list
    elements: dict
    default: []
  toolkit_version:
    description: The CUDA toolkit of which the programs of this host are built. A driver that is too old for it is refused.
    type: str
    default: ''
  upgrade:
    description: Whether a driver that is installed may be changed for another version, newer or older, or another flavour.
    type: bool
    default: false
  lock_timeout:
    description: For how many seconds to wait while another program installs packages.
    type: int
    default: 300
  state:
    description:
      - V(present) installs the driver, finishes what was interrupted, and writes pin and lists.
      - V(planned) changes nothing and does not fail, and tells what V(present) would do and what speaks against it.
      - V(downloaded) fetches what V(present) would install and, with O(upgrade=true), the package files of what is installed, for the way
        back. So what takes long with a slow network is done while the services still run.
      - V(accepted) ends an upgrade, so that there is no way back any more.
      - V(reverted) puts back the driver from before an upgrade that is not accepted. Without one it does nothing.
    type: str
    choices: [planned, downloaded, present, accepted, reverted]
    default: present
notes:
  - The packages are handled with C(apt-get) itself, since M(ansible.builtin.apt) cannot tell what it would do before it does it.
author:
  - the baremetal.llm contributors (@baremetal-llm)
seealso:
  - module: baremetal.llm.gpu_info
  - module: baremetal.llm.cuda_plan
  - plugin: baremetal.llm.driver_check
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look what GPUs are there
  baremetal.llm.gpu_info:
  register: gpu_info

- name: Install the newest driver of branch 580
  baremetal.llm.nvidia_driver:
    version: '580'
    gpus: "{{ gpu_info.gpus }}"
  register: driver

- name: Start it
  ansible.builtin.reboot:
  when: driver.reboot_required

- name: Would an upgrade work?
  baremetal.llm.nvidia_driver:
    version: 590.48.01
    upgrade: true
    state: planned
  register: plan

- name: Fetch its packages, and those for the way back, before the services are stopped
  baremetal.llm.nvidia_driver:
    version: 590.48.01
    upgrade: true
    state: downloaded

- name: Upgrade, with a way back
  baremetal.llm.nvidia_driver:
    version: 590.48.01
    upgrade: true

- name: Go back
  baremetal.llm.nvidia_driver:
    state: reverted

- name: Stay
  baremetal.llm.nvidia_driver:
    state: accepted
"""

RETURN = r"""
installed_version:
  description: The version that is installed after this, or null. With O(state=planned) and O(state=downloaded), the one that is now.
  type: str
  returned: always
  sample: 580.126.09
target_version:
  description: The version that shall be there, or null where none was found.
  type: str
  returned: always
  sample: 580.126.09
previous_version:
  description: The version that O(state=reverted) goes back to, or null.
  type: str
  returned: always
  sample: 580.95.05
kernel_module:
  description: The flavour of the kernel modules that shall be there.
  type: str
  returned: always
  sample: open
packages:
  description: The packages of the driver that are installed after this, with their versions. With O(state=planned), those that are now.
  type: list
  elements: str
  returned: always
  sample: [nvidia-driver-cuda=580.126.09-1, nvidia-kernel-open-dkms=580.126.09-1]
changes:
  description: What apt does, or would do. With O(state=downloaded), what it would do then.
  type: list
  elements: str
  returned: always
  sample: [install nvidia-driver-cuda 580.126.09-1]
offered:
  description: The versions that apt offers with this flavour, oldest first. Empty where apt did not have to be asked.
  type: list
  elements: str
  returned: always
installs:
  description: Whether packages are to be installed, so that the repository has to be there and apt's lists have to be new.
  type: bool
  returned: with O(state=planned)
message:
  description: The errors of RV(problems) in a text, to fail with; empty where there is none.
  type: str
  returned: with O(state=planned)
due:
  description: Whether O(state=present) has something to do, be it to fail, or the host has to be rebooted.
  type: bool
  returned: with O(state=planned)
reboot_required:
  description: Whether the driver that is installed only runs after a reboot.
  type: bool
  returned: always
problems:
  description:
    - What was found. The C(code) of each stays the same for good.
    - "Errors: V(other_version) and V(other_flavour) (another driver is installed, and O(upgrade) is not set), V(version_not_offered),
      V(repository_missing) (a warning in check mode and with O(state=planned)), V(not_from_apt) (there is a driver of NVIDIA's C(.run)
      installer), V(upgrade_unfinished), V(apt_refuses), V(would_remove) (something that is not NVIDIA's driver), V(mixed_versions),
      V(on_hold), V(boot_full), V(var_full), V(no_kernel_headers), V(secure_boot), and those of M(baremetal.llm.cuda_plan) about the
      driver."
    - "Warnings: V(left_behind), V(nouveau_loaded), V(upgrade_not_accepted), V(cannot_go_back)."
  type: list
  elements: dict
  returned: always
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
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import transaction_diff
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Repository
from ansible_collections.baremetal.llm.plugins.module_utils._driver_change import DriverChange, Outcome
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import Needs, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._driver_host import DriverHost
from ansible_collections.baremetal.llm.plugins.module_utils._driver_work import Request
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import FileChange
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import ProblemsError, errors, failure_message, warnings

_STATES = {
    "planned": DriverChange.planned,
    "downloaded": DriverChange.downloaded,
    "present": DriverChange.present,
    "accepted": DriverChange.accepted,
    "reverted": DriverChange.reverted,
}


def request_of(params: dict[str, t.Any]) -> Request:
    flavour = Flavour(params["kernel_module"]) if params["kernel_module"] else None
    return Request(
        wish=Wish(params["version"], flavour, params["upgrade"]),
        needs=Needs(params["gpus"], params["toolkit_version"]),
        repository=Repository(params["repository"]),
        compute_only=params["compute_only"],
    )


def result_of(outcome: Outcome) -> dict[str, t.Any]:
    return {
        "changed": outcome.changed,
        "installed_version": outcome.installed,
        "target_version": outcome.target,
        "previous_version": outcome.previous,
        "kernel_module": outcome.flavour.value,
        "packages": list(outcome.packages),
        "changes": [str(change) for change in outcome.changes],
        "offered": list(outcome.offered),
        "reboot_required": outcome.reboot_required,
        "problems": [problem.as_dict() for problem in outcome.problems],
    }


def plan_of(outcome: Outcome) -> dict[str, t.Any]:
    message = failure_message(outcome.problems) if errors(outcome.problems) else ""
    return {"installs": outcome.installs, "due": outcome.due, "message": message}


def diff_of(outcome: Outcome) -> list[dict[str, str]]:
    before, after = transaction_diff(outcome.changes)
    packages = [FileChange("packages", before, after)] if outcome.changes else []
    return [change.diff() for change in (*packages, *outcome.files)]


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "default": ""},
            "kernel_module": {"type": "str", "choices": ["open", "proprietary"]},
            "repository": {"type": "str", "choices": ["nvidia", "distribution"], "default": "nvidia"},
            "compute_only": {"type": "bool", "default": True},
            "gpus": {"type": "list", "elements": "dict", "default": []},
            "toolkit_version": {"type": "str", "default": ""},
            "upgrade": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 300},
            "state": {"type": "str", "choices": list(_STATES), "default": "present"},
        },
        supports_check_mode=True,
    )
    state = module.params["state"]
    try:
        host = DriverHost(lock_timeout=module.params["lock_timeout"])
        outcome = _STATES[state](DriverChange(host, request_of(module.params), check_mode=module.check_mode))
    except ProblemsError as failure:
        module.fail_json(msg=str(failure), problems=[problem.as_dict() for problem in failure.problems])
    except UserError as failure:
        module.fail_json(msg=failure.msg, **failure.details)
    result = {**result_of(outcome), "diff": [] if state == "downloaded" else diff_of(outcome)}
    if state == "planned":
        module.exit_json(**result, **plan_of(outcome))
    for problem in warnings(outcome.problems):
        module.warn(str(problem))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
