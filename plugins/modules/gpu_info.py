#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: The NVIDIA GPUs of a host, their driver, the CUDA toolkits, and the container runtime
version_added: 0.1.0
description:
  - Tells which GPUs are in a host, which driver runs and which is installed, which CUDA toolkits and which container runtime
    are there, and what is wrong with them.
  - It works with a driver, without one, and with a broken one. It asks C(nvidia-smi), the kernel, C(modinfo) and the files of the driver's
    libraries, and without a driver goes by the PCI ids of the GPUs, from Volta to Blackwell.
  - A GPU that is bound to a driver for virtual machines, such as C(vfio-pci), is not counted.
  - The module does not fail because of what it finds. See RV(problems).
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
options:
  toolkit_prefixes:
    description:
      - Directories in which toolkits are looked for, besides C(/usr/local/cuda*), C(/opt/cuda*) and the C(nvcc) in C(PATH).
      - Each is a toolkit, or holds toolkits or Python environments with NVIDIA's wheels of the toolkit.
    type: list
    elements: path
    default: []
  timeout:
    description:
      - Seconds after which C(nvidia-smi) is given up.
      - Without the persistence daemon it has to start every GPU first, which takes seconds for each.
    type: float
    default: 30
notes:
  - Run it as C(root). Others see the same where the device files of the driver are open to them.
author:
  - the baremetal.llm contributors (@baremetal-llm)
seealso:
  - module: baremetal.llm.cuda_plan
  - module: baremetal.llm.llama_build
  - module: baremetal.llm.nvidia_driver
"""

EXAMPLES = r"""
- name: Look what GPUs are there
  baremetal.llm.gpu_info:
  register: gpu_info

- name: Stop where a GPU or its driver is broken
  ansible.builtin.assert:
    that: gpu_info.problems | selectattr('severity', 'eq', 'error') | length == 0
    fail_msg: "{{ gpu_info.problems | map(attribute='message') | join('; ') }}"

- name: Look for toolkits in a place of our own, too
  baremetal.llm.gpu_info:
    toolkit_prefixes: [/srv/cuda]
"""

RETURN = r"""
gpus:
  description:
    - The GPUs, in the order of RV(gpus[].index).
    - Those that the driver does not show come last.
  type: list
  elements: dict
  returned: success
  contains:
    index:
      description:
        - The number that C(nvidia-smi) gives it. Without an answer of C(nvidia-smi), its place in the order of the PCI bus, by which
          C(nvidia-smi) counts.
        - It is null for a GPU that the driver does not show beside others that it does.
      type: int
      returned: always
      sample: 0
    uuid:
      description: Its UUID. It is null while no driver is loaded.
      type: str
      returned: always
      sample: GPU-8b89b58e-b427-108d-ac50-06138d78fe78
    name:
      description: Its name. A GPU that neither the driver nor this module knows is called by its PCI id.
      type: str
      returned: always
      sample: NVIDIA A10
    pci_bus_id:
      description: Its PCI address, as the kernel writes it.
      type: str
      returned: always
      sample: "0000:17:00.0"
    pci_id:
      description: Its vendor and device id.
      type: str
      returned: always
      sample: "10de:2236"
    compute_capability:
      description: Its compute capability. It is null for a GPU that neither the driver nor this module knows.
      type: str
      returned: always
      sample: "8.6"
    memory_mib:
      description:
        - Its memory in MiB. It is null without an answer of C(nvidia-smi), and for GPUs that share the memory of the host.
      type: int
      returned: always
      sample: 23028
    mig_devices:
      description: The devices into which it is divided.
      type: list
      elements: dict
      returned: always
      contains:
        uuid:
          description: UUID of the device.
          type: str
          returned: always
        profile:
          description: Its share of the GPU.
          type: str
          returned: always
          sample: 1g.5gb
driver:
  description: The driver.
  type: dict
  returned: success
  contains:
    loaded_version:
      description: The version that the kernel runs, or null.
      type: str
      returned: always
      sample: 580.126.09
    installed_version:
      description: The version of the libraries, or of the kernel module where there are no libraries, or null.
      type: str
      returned: always
      sample: 580.126.09
    kernel_module:
      description:
        - Whether the kernel module that is loaded is V(open) or V(proprietary). While none is loaded, what the one is that is
          installed for the kernel that runs.
        - V(none) if there is none.
      type: str
      returned: always
      sample: open
    reboot_required:
      description: Whether the host waits for a reboot, because of the driver or of other packages.
      type: bool
      returned: always
    pinned_version:
      description: The version that M(baremetal.llm.nvidia_driver) keeps the driver at, or null.
      type: str
      returned: always
      sample: 580.126.09
cuda_toolkits:
  description: The toolkits that can compile. The one that the C(nvcc) in C(PATH) belongs to is the first.
  type: list
  elements: dict
  returned: success
  contains:
    version:
      description: Its version, of two or three parts.
      type: str
      returned: always
      sample: "13.0"
    root:
      description: Its directory, links followed.
      type: str
      returned: always
      sample: /usr/local/cuda-13.0
container_runtime:
  description: Docker, or else Podman, and what containers can have of the GPUs.
  type: dict
  returned: success
  contains:
    engines:
      description: The versions of the engines whose command line is installed, by name, C(docker) or C(podman).
      type: dict
      returned: always
      sample: {"docker": "26.1.5+dfsg1"}
    engine:
      description: The one that the rest is about, V(docker) where both are there, or null.
      type: str
      returned: always
      sample: docker
    version:
      description: The version of Docker's engine, or of its command line where the engine does not answer.
      type: str
      returned: always
      sample: 26.1.5+dfsg1
    running:
      description: Whether Docker's engine runs.
      type: bool
      returned: always
      sample: true
    reachable:
      description: Whether it answers this user on its socket. What follows is only known then.
      type: bool
      returned: always
      sample: true
    compose_version:
      description: The version of Compose v2, or null.
      type: str
      returned: always
      sample: 2.26.1-4
    cgroup_driver:
      description: The cgroup driver, or null.
      type: str
      returned: always
      sample: systemd
    storage_driver:
      description: The storage driver, or null.
      type: str
      returned: always
      sample: overlay2
    default_runtime:
      description: The runtime of containers that name none, or null.
      type: str
      returned: always
      sample: runc
    runtimes:
      description: The runtimes that containers can name.
      type: list
      elements: str
      returned: always
      sample: [nvidia, runc]
    live_restore:
      description: Whether containers go on running while the engine restarts.
      type: bool
      returned: always
      sample: true
    cdi:
      description: Whether CDI is on. It is null where the engine has none, or does not answer.
      type: bool
      returned: always
      sample: true
    cdi_devices:
      description: The devices of all CDI specifications.
      type: list
      elements: str
      returned: always
      sample: ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-8b89b58e-b427-108d-ac50-06138d78fe78", "nvidia.com/gpu=all"]
    cdi_driver_version:
      description: The driver that the CDI specification of the GPUs was written for, or null.
      type: str
      returned: always
      sample: 580.126.09
    toolkit_version:
      description: The version of NVIDIA's container toolkit, or null.
      type: str
      returned: always
      sample: 1.20.1
problems:
  description:
    - What is wrong. The C(code) of each stays the same for good.
    - "Errors, with which no program can use the GPU: V(no_driver), V(no_kernel_module) (the driver has none for the kernel that runs),
      V(nouveau_loaded), V(driver_not_loaded), V(driver_mismatch) (the kernel runs another version than that of the libraries),
      V(wrong_module_flavour) (the GPU needs open kernel modules and there are proprietary ones, or the other way round), V(gpu_lost),
      V(gpu_needs_reset), V(gpu_not_visible) (the driver does not show a GPU), V(no_permission), V(nvidia_smi_hangs),
      V(nvidia_smi_failed)."
    - "Warnings: V(no_gpu), V(unknown_gpu) (its compute capability is not known), V(gpu_passed_through), V(no_nvidia_smi),
      V(mig_without_devices), V(reboot_required)."
    - "Warnings about Docker, where it is installed: V(container_runtime_unreachable), V(compose_missing), V(compose_too_old),
      V(cdi_unsupported), V(cdi_disabled), V(legacy_gpu_hook) (containers lose their GPUs at a C(systemctl daemon-reload)),
      V(cdi_spec_missing), V(cdi_spec_stale) (another driver runs, other GPUs are there, or files are gone), V(cdi_spec_unreadable)."
  type: list
  elements: dict
  returned: success
  contains:
    code:
      description: What it is.
      type: str
      returned: always
    severity:
      description: V(error) or V(warning).
      type: str
      returned: always
    message:
      description: What it is, in a sentence.
      type: str
      returned: always
    remedy:
      description: What to do about it.
      type: str
      returned: always
  sample:
    - code: driver_mismatch
      severity: error
      message: "The kernel runs NVIDIA driver 580.95.05, the libraries are of 580.126.09: nothing that starts now can use a GPU"
      remedy: Reboot; so that it does not happen again, pin the driver and keep unattended upgrades away from it
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._container_host import ContainerHost
from ansible_collections.baremetal.llm.plugins.module_utils._container_runtime import Gpus, runtime_problems
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import survey
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_host import NvidiaHost


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "toolkit_prefixes": {"type": "list", "elements": "path", "default": []},
            "timeout": {"type": "float", "default": 30.0},
        },
        supports_check_mode=True,
    )
    host = NvidiaHost(timeout=module.params["timeout"])
    found = survey(host.evidence())
    runtime = ContainerHost().runtime()
    shown = Gpus.shown([gpu.uuid for gpu in found.gpus if gpu.index is not None], found.driver.loaded_version)
    module.exit_json(
        changed=False,
        gpus=[gpu.as_dict() for gpu in found.gpus],
        driver=found.driver.as_dict(),
        cuda_toolkits=[toolkit._asdict() for toolkit in host.toolkits(module.params["toolkit_prefixes"])],
        container_runtime=runtime.as_dict(),
        problems=[problem.as_dict() for problem in (*found.problems, *runtime_problems(runtime, shown))],
    )


if __name__ == "__main__":
    main()
