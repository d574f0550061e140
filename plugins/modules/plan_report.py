#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_report
short_description: Show what a plan found out about all hosts
version_added: 0.1.0
description:
  - Prints what was planned for all hosts as tables, on the terminal where Ansible runs, and writes it as a page of HTML and as JSON if
    you want. It runs once for all hosts and connects to none.
  - The figures are those of other modules, such as M(baremetal.llm.gpu_info) and M(baremetal.llm.cuda_plan). What this one adds is what
    only shows when they are put together, such as two services that fit on a GPU each and not together.
  - Hosts of the same groups with the same figures are told once.
  - With a stdout callback for machines, such as C(ansible.posix.json), nothing is printed; the files are written all the same.
  - This is an action plugin. There is nothing to run on the host.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
attributes:
  check_mode:
    details:
      - O(html) and O(json) are written in check mode, too. Like the tables on the terminal, they are what this module has to say, and no
        change to a host.
options:
  hosts:
    description:
      - What is known of each host. Any figure can be V(null) or left out where it is not known, and is then shown as unknown.
      - Other keys are passed over, so that results of modules can be given as they are.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The name of the host.
        type: str
        required: true
      groups:
        description: The groups that it is shown with. Hosts of different groups are never told as one.
        type: list
        elements: str
      gpus:
        description:
          - Its GPUs, each with C(index), C(name), C(memory_mib), C(uuid) and C(compute_capability), as
            RV(baremetal.llm.gpu_info#module:gpus) has them.
        type: list
        elements: dict
      memory_mib:
        description: Its own memory, beside that of its GPUs.
        type: float
      driver:
        description:
          - Its NVIDIA driver with C(installed_version), V(null) where there is none, the C(wanted_version), the C(kernel_module), and
            the oldest that would do as C(min).
        type: dict
      toolkit:
        description:
          - The CUDA toolkit that is built with, with its C(version), the oldest and the newest that would do as C(min) and C(max), and the
            C(architectures) to build for.
        type: dict
      models:
        description:
          - Its models, each with C(repo_id), C(revision), C(files), the bytes still to fetch as C(missing_bytes), the C(directory) they go
            into and the C(free_bytes) there.
          - Each of the C(files) has a C(path), a C(size) in bytes, and whether it is C(present). Without C(missing_bytes), the sizes of
            those that are not present are added up.
        type: list
        elements: dict
      services:
        description:
          - Its services, each with C(name), C(engine), C(port), C(gpus) as indices or UUIDs, whether it C(fits), and its C(plan), V(null)
            where there is none.
          - A C(plan) is what M(baremetal.llm.memory_plan) returns. It gives C(fits) where the service does not, and its C(problems) are
            those of the service.
          - Each of its C(gpus) has C(weights_mib), C(mmproj_mib), C(kv_cache_mib), C(compute_mib) and C(overhead_mib). They are the GPUs of
            the service in their order, unless they have an C(index). C(memory_mib) counts where the GPU of the host has none, and
            C(driver_mib), a part of the overhead, counts once for all services of a GPU.
          - "Of the rest, these are shown: C(host), C(kv_bytes_per_token), C(tokens_per_slot), C(slots), C(capacity), C(estimates),
            C(calibrated) and C(suggestions)."
        type: list
        elements: dict
      problems:
        description:
          - What is wrong, each with C(code), C(severity) (V(error) or V(warning)), C(message), C(remedy), and the C(service) that it is
            about if it is about one.
        type: list
        elements: dict
  html:
    description:
      - Where the page goes, on the controller; a relative path begins where Ansible was started. Its directory is created if it is not
        there.
      - It is one file that needs nothing beside it, with a bar for each GPU and a row for each problem.
    type: path
  json:
    description:
      - Where the JSON goes, on the controller, as O(html). It has the RV(summary) and the O(hosts), each with all of its problems
        and with what all services together take of each GPU.
      - It holds no time, so that the same plan gives the same file.
    type: path
  fail_on_errors:
    description: Whether to fail with RV(message) if there is an error. The files are written before.
    type: bool
    default: false
seealso:
  - module: baremetal.llm.gpu_info
  - module: baremetal.llm.cuda_plan
  - module: baremetal.llm.inference_summary
"""

EXAMPLES = r"""
- name: Show the plan, and stop where it says that something would fail
  baremetal.llm.plan_report:
    hosts:
      - host: gpu1
        groups: [a10]
        gpus:
          - {index: 0, name: NVIDIA A10, memory_mib: 23028}
        services:
          - name: qwen2-vl
            engine: llama_server
            gpus: [0]
            fits: true
            plan:
              gpus:
                - {weights_mib: 4461, mmproj_mib: 1668, kv_cache_mib: 1792, compute_mib: 174, overhead_mib: 994}
    html: plan.html
    fail_on_errors: true
"""

RETURN = r"""
problems:
  description: What is wrong with all hosts, those that were given and those that only show when figures are put together.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The name of the host.
      type: str
      sample: gpu1
    service:
      description: The service that it is about, or V(null).
      type: str
      sample: qwen2-vl
    code:
      description:
        - Stable name of the kind of problem.
        - "Found here, all of them errors: V(gpu_shared_too_small), V(gpu_claim_unmet) (of services of vLLM on one GPU),
          V(host_memory_too_small), V(disk_too_small), and V(does_not_fit) for a service that does not fit without another error that says
          why. A warning: V(host_memory_short)."
      type: str
      sample: gpu_shared_too_small
    severity:
      description: V(error) or V(warning).
      type: str
      sample: error
    message:
      description: What is.
      type: str
      sample: GPU 0 has 22.5 GiB, which is 1.60 GiB too little for qwen2-vl and chat together
    remedy:
      description: What to do.
      type: str
      sample: Move one of them to another GPU, or give them less context, fewer slots or smaller models
summary:
  description: All hosts in figures.
  returned: success
  type: dict
  contains:
    hosts:
      description: How many hosts there are.
      type: int
      sample: 3
    fit:
      description: On how many all services fit.
      type: int
      sample: 2
    do_not_fit:
      description: On how many they do not.
      type: int
      sample: 1
    unknown:
      description: Of how many it is not known.
      type: int
      sample: 0
    errors:
      description: How many errors there are among RV(problems).
      type: int
      sample: 1
    warnings:
      description: How many warnings there are.
      type: int
      sample: 0
    missing_bytes:
      description: What is still to be fetched, V(null) where not all sizes are known.
      type: int
      sample: 6037235712
message:
  description: All errors in one text, for a task that fails because of them; empty without one.
  returned: success
  type: str
html:
  description: The page that was written, as an absolute path, or V(null).
  returned: success
  type: str
  sample: /home/operator/plan.html
json:
  description: The JSON that was written, as an absolute path, or V(null).
  returned: success
  type: str
"""
