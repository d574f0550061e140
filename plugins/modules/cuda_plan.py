#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cuda_plan
short_description: Which CUDA toolkit, driver and architectures fit these GPUs
version_added: 0.1.0
description:
  - Weighs GPUs, driver, CUDA toolkit, host compiler and CMake against each other before anything is installed. What is left out is taken as
    not there yet.
  - It only calculates. It needs no GPU, looks at nothing on the host, and can run on the controller.
  - What doesn't fit together is returned in RV(problems), each with its remedy, and doesn't fail the module, so that a whole plan can
    be shown. Only a parameter that can't be understood does.
  - The architectures are those of the GPUs that are there and no others, always as real code (C(86-real)) and never C(native), so that
    the same GPUs give the same build on every host. There is no PTX among them, because no GPU here would profit from it, while it has
    to be compiled at the first start by a driver that is not older than the toolkit.
  - Code for GPUs of compute capability 12.x is that of the GPU itself (C(120a-real)), as llama.cpp builds it for the sake of its FP4 tensor
    cores.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
options:
  gpus:
    description:
      - The GPUs of the host, each with its C(name), its C(compute_capability) or both; other keys are ignored, so that
        what M(baremetal.llm.gpu_info) returns can be given as it is.
      - A C(name) is understood as C(nvidia-smi) prints it, such as C(NVIDIA GeForce RTX 5090), C(Tesla V100-SXM2-16GB) or
        C(NVIDIA A10-24Q).
      - A C(compute_capability), such as V(8.6), is believed more than a C(name).
    type: list
    elements: dict
    required: true
  toolkit_version:
    description:
      - The CUDA toolkit that is wanted or installed, such as V(13.0) or V(12.8.1).
      - By default the newest that GPUs, driver and compiler allow is chosen, of those that are there as Python packages (CUDA 13) if
        possible. Set it to keep a newer release of this collection from choosing a newer toolkit.
    type: str
  driver_version:
    description:
      - The NVIDIA driver that is wanted or installed, such as V(580.126.09), or only its branch, such as V(580).
      - By default RV(driver) says which one is needed.
    type: str
  driver_kernel_module:
    description: The flavour of its kernel modules, V(none) where there are none yet.
    type: str
    choices: [open, proprietary, none]
  host_compiler:
    description: The C++ compiler that C(nvcc) will call, such as V(gcc 12) or V(clang 16).
    type: str
  cmake_version:
    description: The CMake that will configure the build, such as V(3.25.1).
    type: str
  cuda_architectures:
    description:
      - Architectures that you want instead of the ones that are found, in CMake's notation, such as V(86-real) or V(120f).
      - They are checked against the GPUs, the toolkit and CMake.
    type: list
    elements: str
seealso:
  - module: baremetal.llm.gpu_info
  - plugin: baremetal.llm.cuda_plan
    plugin_type: filter
  - module: baremetal.llm.llama_build
"""

EXAMPLES = r"""
- name: What does a fresh host with these two GPUs need?
  baremetal.llm.cuda_plan:
    gpus:
      - name: NVIDIA A10
      - name: NVIDIA GeForce RTX 5090
    host_compiler: gcc 12
  register: plan

- name: Would the planned driver do?
  baremetal.llm.cuda_plan:
    gpus:
      - compute_capability: "12.0"
    toolkit_version: "12.8"
    driver_version: "570.172.08"
    driver_kernel_module: open
    host_compiler: gcc 12
    cmake_version: 3.25.1
  register: plan
  failed_when: plan.problems | selectattr('severity', 'equalto', 'error') | length > 0

- name: Build exactly that
  baremetal.llm.llama_build:
    source:
      kind: pypi
      version: 0.3.36
    backend: cuda
    cuda_architectures: "{{ plan.cuda_architectures }}"
"""

RETURN = r"""
cuda_architectures:
  description:
    - What to build for, for C(CMAKE_CUDA_ARCHITECTURES), sorted by compute capability; one for each kind of GPU.
    - O(cuda_architectures) where they were given and will do.
  returned: always
  type: list
  elements: str
  sample: [86-real, 120a-real]
toolkit:
  description: The CUDA toolkits that build for all GPUs, run on the driver and take the compiler.
  returned: always
  type: dict
  contains:
    min:
      description: The oldest, V(null) where there is none.
      type: str
      sample: "12.8"
    max:
      description: The newest, V(null) where there is none.
      type: str
      sample: "13.4"
    chosen:
      description: O(toolkit_version) if it is among them, the preferred one if none was given, and otherwise V(null).
      type: str
      sample: "13.4"
driver:
  description: The NVIDIA drivers for these GPUs and this toolkit.
  returned: always
  type: dict
  contains:
    min:
      description: The oldest, as a branch; V(null) without a GPU.
      type: str
      sample: "580"
    max:
      description: The last branch that drives all GPUs, V(null) where none of them was dropped.
      type: str
      sample: "580"
    open_required:
      description: Whether a GPU works with the open kernel modules only.
      type: bool
      sample: true
gpus:
  description: What O(gpus) were understood as; unknown ones are left out.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name that was given, V(null) where there was none.
      type: str
      sample: NVIDIA GeForce RTX 5090
    family:
      description: Its family.
      type: str
      sample: Blackwell
    compute_capability:
      description: Its compute capability.
      type: str
      sample: "12.0"
problems:
  description: What doesn't fit together. Without an error among them, the plan holds.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description:
        - Stable name of the kind of problem.
        - "The GPUs: V(no_gpus), V(gpu_unknown), V(capability_unknown), V(capability_differs), V(gpus_without_common_toolkit),
          V(gpus_without_common_driver)."
        - "The toolkit: V(toolkit_unknown), V(toolkit_too_old), V(toolkit_too_new), V(toolkit_newer_than_driver)."
        - "The driver: V(driver_too_old), V(driver_too_new), V(open_modules_required), V(proprietary_modules_required)."
        - "The tools: V(host_compiler_too_new), V(cmake_too_old), V(cmake_without_family_architectures)."
        - "The architectures asked for: V(architecture_invalid), V(architecture_missing), V(architecture_unknown_to_toolkit),
          V(architecture_inexact), V(architecture_ptx_only)."
      type: str
      sample: toolkit_too_old
    severity:
      description: V(error) or V(warning).
      type: str
      sample: error
    message:
      description: What is.
      type: str
      sample: CUDA 12.2 doesn't know NVIDIA GeForce RTX 5090 (compute capability 12.0; CUDA 12.8 or newer)
    remedy:
      description: What to do.
      type: str
      sample: Use CUDA 12.8 to 13.4
msg:
  description: All errors in one text, for a task that fails because of them.
  returned: when there is an error among RV(problems)
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors, failure_message


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "gpus": {"type": "list", "elements": "dict", "required": True},
            "toolkit_version": {"type": "str"},
            "driver_version": {"type": "str"},
            "driver_kernel_module": {"type": "str", "choices": ["open", "proprietary", "none"]},
            "host_compiler": {"type": "str"},
            "cmake_version": {"type": "str"},
            "cuda_architectures": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    try:
        plan = plan_for(**module.params)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    message = {"msg": failure_message(plan.problems)} if errors(plan.problems) else {}
    module.exit_json(changed=False, **plan.as_dict(), **message)


if __name__ == "__main__":
    main()
