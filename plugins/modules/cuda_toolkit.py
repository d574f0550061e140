#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cuda_toolkit
short_description: Install a CUDA toolkit from the Python package index
version_added: 0.1.0
description:
  - Makes a CUDA toolkit out of the wheels that NVIDIA publishes as Python packages, with what compiling and linking llama.cpp takes. That
    is nvcc, the CUDA runtime, cuBLAS and CCCL.
  - Every toolkit lies in a directory of its own under O(prefix), side by side with others, and appears there complete or not at all, even
    if the installation is killed. Neither a driver, nor NVIDIA's package repository, nor root is needed.
  - The wheels of each version are known by their sha256. They are found as C(pip) on the host is configured to find packages, so that a
    mirror will do, and a file with another checksum is refused.
  - A toolkit that is there is not touched and nothing is asked for over the network. One that lacks a file is made anew.
  - What the wheels lack is added, which is the names that a linker looks for, C(lib64), a C(version.json), and C(lib64/stubs/libcuda.so) to
    link with where no driver is installed.
  - While it downloads, the operator sees how far it is; set the variable C(inference_progress) to V(false) to silence that.
extends_documentation_fragment:
  - baremetal.llm.attributes
  - baremetal.llm.bundle
options:
  version:
    description:
      - The version of the toolkit, such as V(13.0.3).
      - With O(state=present) one that this release of the collection knows the wheels of. The packages of CUDA 12 and older hold no
        compiler.
      - With O(state=absent) it may be left out, which is all versions.
    type: str
  prefix:
    description: The directory that holds the toolkits. The user that the module runs as must be able to write to it, or to create it.
    type: path
    default: /opt/cuda
  state:
    description:
      - With V(present) the toolkit is installed unless it is there.
      - With V(absent) this version is removed, or all that this module has made where no O(version) is given. A directory that it has not
        made is left alone; naming one is an error.
    type: str
    choices: [present, absent]
    default: present
  offline:
    description: Ask no network. A toolkit that is neither there nor in a O(bundle) is an error, before anything is changed.
    type: bool
    default: false
requirements:
  - a C compiler on the host, and pip unless O(offline) is set
seealso:
  - module: baremetal.llm.llama_build
  - module: baremetal.llm.cuda_plan
author:
  - The baremetal.llm maintainers (@baremetal-llm)
"""

EXAMPLES = r"""
- name: Install a CUDA toolkit
  baremetal.llm.cuda_toolkit:
    version: 13.0.3

- name: Install one without root
  become: false
  baremetal.llm.cuda_toolkit:
    version: 13.0.3
    prefix: "{{ ansible_facts.env.HOME }}/cuda"

- name: Remove it
  baremetal.llm.cuda_toolkit:
    version: 13.0.3
    state: absent

- name: Remove all that earlier upgrades have left
  baremetal.llm.cuda_toolkit:
    state: absent
"""

RETURN = r"""
version:
  description: The version of the toolkit; null where all were to be removed.
  returned: success
  type: str
  sample: 13.0.3
root:
  description: Its directory, or the one that holds all of them.
  returned: success
  type: str
  sample: /opt/cuda/13.0.3
packages:
  description: The packages that it is made of, with their versions.
  returned: success
  type: dict
  sample:
    nvidia-cuda-nvcc: 13.0.88
reasons:
  description: Why something was to be installed.
  returned: success
  type: list
  elements: str
  sample: [/opt/cuda/13.0.3 is not there]
download_mib:
  description: How much there was to download, in MiB; V(0) when the toolkit was there.
  returned: success
  type: int
  sample: 504
progress_file:
  description: Where a watcher finds how far the installation is while it runs.
  returned: when something was installed, or in check mode would be
  type: str
  sample: /opt/cuda/.baremetal-llm/progress.json
log:
  description: The file with what pip said.
  returned: when the installation failed
  type: str
  sample: /opt/cuda/.baremetal-llm/install.log
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import ARGUMENTS, asks_for, delivery_of
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_install import Outcome, ensure_absent, ensure_present
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_store import ToolkitStore


def result_of(outcome: Outcome, store: ToolkitStore, version: str | None) -> dict[str, Any]:
    root = str(store.root(version) if version else store.prefix)
    return {
        "changed": outcome.changed,
        "version": version,
        "root": root,
        "packages": dict(outcome.packages),
        "reasons": list(outcome.reasons),
        "download_mib": outcome.download_mib,
        **({"progress_file": str(store.progress)} if outcome.reasons else {}),
        **(asks_for(store.wheels_of(version), outcome.asks_for) if version else {}),
        "diff": diff_of(outcome, root),
    }


def diff_of(outcome: Outcome, root: str) -> dict[str, Any]:
    after: dict[str, Any] = {"packages": dict(outcome.packages)}
    # One that is made anew may be made of the same packages.
    before = {"packages": dict(outcome.packages_before), "reasons": list(outcome.reasons)} if outcome.changed else after
    return {"before_header": f"{root} before", "after_header": f"{root} after", "before": before, "after": after}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str"},
            "prefix": {"type": "path", "default": "/opt/cuda"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "offline": {"type": "bool", "default": False},
            **ARGUMENTS,
        },
        required_if=[("state", "present", ["version"])],
        supports_check_mode=True,
    )
    # Whoever compiles with it need not be the user who installs it.
    os.umask(0o022)
    params, version, store = module.params, module.params["version"], ToolkitStore(module.params["prefix"])
    try:
        if params["state"] == "absent":
            outcome = ensure_absent(store, version, check_mode=module.check_mode)
        else:
            outcome = ensure_present(store, version, check_mode=module.check_mode, offline=params["offline"], delivery=delivery_of(params))
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    if module.check_mode:
        for warning in outcome.warnings:
            module.warn(warning)
    module.exit_json(**result_of(outcome, store, version))


if __name__ == "__main__":
    main()
