#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: inference_plan
short_description: What a deployment would meet on a host, before anything is touched
version_added: 0.1.0
description:
  - Looks on the host which files of the models are there, what disk and memory it has, and plans the memory of the services whose models
    are there (see M(baremetal.llm.memory_plan)). The model of a service of vLLM is a directory, or a whole repository of the hub.
  - For models that are still to come, it reads their headers on the controller, from the files that are to be copied or from the hub, and
    plans with those. A header that belongs to a commit is kept below C(~/.cache/baremetal.llm) and read once.
  - It fails with all errors at once, or returns them together with everything else that M(baremetal.llm.plan_report) shows.
  - Nothing is changed, and all that is asked of the host is asked in one task. Of a service nothing goes to the host but what a plan needs,
    so neither its key nor its environment.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
attributes:
  check_mode:
    details:
      - Headers are kept on the controller in check mode, too.
options:
  services:
    description: The services, as in the variable C(inference_services).
    type: list
    elements: dict
    required: true
  problems:
    description: What has been found already, as from P(baremetal.llm.service_problems#filter); its errors fail the task as well.
    type: list
    elements: dict
    default: []
  gpus:
    description:
      - The GPUs of the host, as RV(baremetal.llm.gpu_info#module:gpus) has them.
      - Without an index they are counted in their order; the memory of common ones is known by their name.
    type: list
    elements: dict
    default: []
  driver:
    description: Its driver, as O(baremetal.llm.plan_report#module:hosts) takes it.
    type: dict
  toolkit:
    description: Its CUDA toolkit, as O(baremetal.llm.plan_report#module:hosts) takes it.
    type: dict
  local_files:
    description: GGUF files on the controller that M(baremetal.llm.model_upload) is to copy into O(directory).
    type: list
    elements: path
    default: []
  directory:
    description: Where O(local_files) go on the host.
    type: path
    default: /var/lib/inference/models
  locked:
    description:
      - What a lock settles of the models of the hub, by the names of their services, each with C(expected) as
        O(baremetal.llm.hf_model#module:expected).
    type: dict
    default: {}
  cache_dir:
    description: The hub's cache on the host.
    type: path
    default: /var/lib/inference/hub
  group:
    description: As O(baremetal.llm.hf_model#module:group).
    type: str
  endpoint:
    description: The address of the hub.
    type: str
    default: https://huggingface.co
  token:
    description: Access token for models that are gated or private.
    type: str
  offline:
    description: Whether to ask the hub for nothing, neither from the host nor from the controller.
    type: bool
    default: false
  python:
    description: As O(baremetal.llm.hf_model#module:python).
    type: path
  client_directory:
    description: As O(baremetal.llm.hf_model#module:client_directory).
    type: path
    default: /opt/huggingface-hub
  timeout:
    description: Seconds after which a request to the hub is given up.
    type: int
    default: 30
  bundle:
    description: As O(baremetal.llm.hf_model#module:bundle). Headers of models that the host lacks are read there.
    type: str
  binary:
    description: The installed C(llama-server), to be asked about models that are there, as O(baremetal.llm.memory_plan#module:binary).
    type: path
  groups:
    description: The groups that the host is shown with. By default those of the inventory that it is directly in.
    type: list
    elements: str
  reachable:
    description: Whether to look on the host. If not, it is planned from these parameters alone.
    type: bool
    default: true
  fail_on_errors:
    description: Whether to fail where there is an error. If not, a host that can't be reached is planned from the parameters alone, too.
    type: bool
    default: true
  uploads:
    description: What is known of O(local_files). The action plugin of this module sets it.
    type: list
    elements: dict
    default: []
seealso:
  - module: baremetal.llm.plan_report
  - module: baremetal.llm.memory_plan
  - module: baremetal.llm.hf_model
"""

EXAMPLES = r"""
- name: Stop before anything is changed where a service would not fit
  baremetal.llm.inference_plan:
    services: "{{ inference_services }}"
    problems: "{{ inference_services | baremetal.llm.service_problems }}"
    gpus: "{{ host.gpus }}"
  register: plan

- name: Bring the models if some are missing
  ansible.builtin.include_role:
    name: baremetal.llm.models
  when: plan.models_due
"""

RETURN = r"""
plan:
  description:
    - The host as an entry of O(baremetal.llm.plan_report#module:hosts).
    - "Beside what M(baremetal.llm.memory_plan) and M(baremetal.llm.plan_report) find, there are the errors V(model_missing),
      V(local_file_missing), V(model_incomplete) (a directory lacks what vLLM reads), V(model_unavailable) (the hub does not give the model)
      and V(model_not_bundled) (nor does the O(bundle)), and the warnings V(model_unknown) (it can't be asked now), V(memory_unknown) and
      V(host_unreachable)."
  returned: always
  type: dict
models_due:
  description: Whether the role C(models) has something to do.
  returned: always
  type: bool
gpu_memory_mib:
  description:
    - What the weights and the cache of each service take of its GPUs, by its name, as O(baremetal.llm.inference_probe#module:expect) takes
      it. Of vLLM, whose cache takes what is left, that is the least. A service is left out that has no GPUs, that nobody can plan, or that
      lets go of its model at times (C(sleep_idle_seconds)).
  returned: always
  type: dict
  sample: {"qwen2-vl": 5721}
kv_cache_tokens:
  description:
    - Between which numbers of tokens the cache of each service of vLLM will lie, by its name, as
      O(baremetal.llm.inference_probe#module:expect) takes it.
  returned: always
  type: dict
  sample: {"mistral": {"low": 115104, "high": 123552}}
msg:
  description: All errors, one a line.
  returned: when it fails
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._hub_parameters import PLACE_SPEC
from ansible_collections.baremetal.llm.plugins.module_utils._models_there import look

ARGUMENT_SPEC: dict[str, t.Any] = {
    **PLACE_SPEC,
    "services": {"type": "list", "elements": "dict", "required": True},
    "problems": {"type": "list", "elements": "dict", "default": []},
    "gpus": {"type": "list", "elements": "dict", "default": []},
    "driver": {"type": "dict"},
    "toolkit": {"type": "dict"},
    "local_files": {"type": "list", "elements": "path", "default": []},
    "directory": {"type": "path", "default": "/var/lib/inference/models"},
    "locked": {"type": "dict", "default": {}},
    "binary": {"type": "path"},
    "groups": {"type": "list", "elements": "str"},
    "reachable": {"type": "bool", "default": True},
    "fail_on_errors": {"type": "bool", "default": True},
    "uploads": {"type": "list", "elements": "dict", "default": []},
}


def main() -> t.NoReturn:
    """What is to be seen on the host. The plan is the action plugin's."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.exit_json(changed=False, **look(module.params, module.tmpdir))


if __name__ == "__main__":
    main()
