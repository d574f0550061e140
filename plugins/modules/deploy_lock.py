#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Settle what the names in an inventory stand for, in one file beside it
version_added: 0.1.0
description:
  - Asks what each model of the hub is now that the services name (its commit, and size and sha256 of each file that they need), and what
    the sources of llama.cpp and the images of containers are, and writes that into one file for all hosts. Versions of CUDA toolkits and
    NVIDIA drivers are noted.
  - What the file has already stays as it is, unless O(update) is set. It is compared with the hub all the same, and what nobody wants any
    more goes.
  - Everything is sorted, so that two files differ only where something moved. Without a change the file is not touched, and if something
    goes wrong it stays as it was.
  - Registries of images are asked with the logins that C(docker login) has noted for the user in C(~/.docker/config.json).
  - Everything is asked from the controller, with no root and no client of the hub. Of a model, no more is downloaded than its small files
    outside LFS, of which the hub tells no sha256.
  - This is an action plugin. It runs once for all hosts and connects to none. C(playbooks/lock.yml) gives it what it needs.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  path:
    description: The file, on the controller.
    type: path
    required: true
  hosts:
    description: What is wanted, host by host.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The name of the host.
        type: str
        required: true
      services:
        description:
          - The services, as in the variable C(inference_services), of which P(baremetal.llm.planned_services#filter) leaves enough.
          - Of models with a C(repo_id), the files that the service names are locked; for vLLM, those that it reads of the whole repository
            (see O(baremetal.llm.hf_model#module:files)).
          - Of services with C(manager=compose), the image is locked, as the digest that the registry has under its tag. One that has a
            digest already needs none.
        type: list
        elements: dict
      base_image:
        description: The image that services of Compose without one of their own run in.
        type: str
      insecure_registries:
        description: Registries that are spoken to without TLS, as C(NAME:PORT). Those of this machine always are.
        type: list
        elements: str
      endpoint:
        description: Address of the hub, or of a mirror.
        type: str
        default: https://huggingface.co
      llama_cpp_source:
        description: Where the sources of llama.cpp come from, as O(baremetal.llm.llama_build#module:source).
        type: dict
      cuda_toolkit:
        description: The version of the CUDA toolkit that is built with, if one is.
        type: str
      nvidia_driver:
        description: The version of the NVIDIA driver, if one is chosen.
        type: str
  tokens:
    description: Access tokens for models that are gated or private, by the names of the hosts. They are never written to a file.
    type: dict
    default: {}
  update:
    description:
      - Whether to ask anew for what branches and tags stand for, of models, of images and of sources.
      - To take one model anew and leave the others, remove its entry from the file.
    type: bool
    default: false
  keep:
    description: Whether to leave in the file what none of these hosts wants, because they are not all.
    type: bool
    default: false
seealso:
  - plugin: baremetal.llm.deploy_lock
    plugin_type: filter
  - module: baremetal.llm.hf_model
"""

EXAMPLES = r"""
- name: Lock what one host gets
  baremetal.llm.deploy_lock:
    path: "{{ inventory_dir }}/deploy.lock.yml"
    hosts:
      - host: gpu1
        services:
          - name: qwen2-vl
            model:
              repo_id: ggml-org/Qwen2-VL-7B-Instruct-GGUF
              file: Qwen2-VL-7B-Instruct-Q4_K_M.gguf
              mmproj: mmproj-Qwen2-VL-7B-Instruct-f16.gguf
          - name: mistral
            engine: vllm
            manager: compose
            image: vllm/vllm-openai:v0.33.0
            model:
              repo_id: solidrust/Mistral-7B-Instruct-v0.3-AWQ
        llama_cpp_source:
          kind: git
          repo: https://github.com/ggml-org/llama.cpp
          version: master
"""

RETURN = r"""
path:
  description: The file, as an absolute path.
  returned: success
  type: str
  sample: /home/operator/inventory/deploy.lock.yml
moved:
  description: For people, a line for each entry that is new, gone or other than before.
  returned: success
  type: list
  elements: str
  sample: ["ggml-org/Qwen2-VL-7B-Instruct-GGUF@main: 0123456789ab, 2 files for qwen2-vl → 89abcdef0123, 2 files for qwen2-vl"]
lock:
  description: What the file says, or in check mode would say.
  returned: success
  type: dict
  sample:
    lock: 1
    models:
      ggml-org/Qwen2-VL-7B-Instruct-GGUF@main:
        commit: 0123456789abcdef0123456789abcdef01234567
        files:
          - {path: model-q4_k_m.gguf, size: 4683072032, sha256: 4f1e7f3b0b6ad2b9e0f1e5f3c6c8b1a5d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5}
        services: [qwen2-vl]
"""
