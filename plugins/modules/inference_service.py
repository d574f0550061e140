#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: inference_service
short_description: The files of one inference service, checked before they go live
version_added: 0.1.0
description:
  - Turns one service into a hardened systemd unit, or into a Compose project with one hardened container; and, with an API key, into a file
    that the process is given as a systemd credential or as a secret of Compose, and that nobody else can read but root.
  - Everything is checked before anything is changed. The options are checked against what the engine itself lists (for C(llama-server), the
    C(--help) of the very binary, also of that in an image), the model is looked at, the port must be free, and what the manager is to read
    has to pass its own checker (C(systemd-analyze verify), C(docker compose config)).
  - It tells with RV(restart_required) when a service has to be started anew, and does not do so itself.
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  service:
    description: The service, one entry of the inventory variable C(inference_services).
    type: dict
    required: true
    suboptions:
      name:
        description:
          - Its name, of lower-case letters, digits, C(-), C(_) and, with O(service.manager=systemd), C(.). The unit is called
            C(inference-<name>.service), the Compose project and its container C(inference-<name>).
          - The API presents the model under this name unless O(service.options) has an C(alias).
        type: str
        required: true
      engine:
        description: What serves the model. V(vllm) runs with O(service.manager=compose) only.
        type: str
        choices: [llama_server, vllm]
        default: llama_server
      manager:
        description:
          - What runs the engine.
          - V(compose) needs Docker with Compose 2.18 or newer on the host. From 2.30 on, GPUs are given in the short form.
        type: str
        choices: [systemd, compose]
        default: systemd
      model:
        description: The model. Required with O(state=present).
        type: dict
        suboptions:
          file:
            description:
              - Absolute path of the GGUF file on the host, or its path in O(service.model.repo_id); of a split model, the first shard.
              - With O(service.engine=vllm) the absolute path of a directory, unless O(service.model.repo_id) is given, which is then taken
                as a whole.
            type: str
          mmproj:
            description: The multimodal projector of a vision model, named like O(service.model.file).
            type: str
          repo_id:
            description: Repository on the Hugging Face hub. Its files are taken from O(hub_cache), where M(baremetal.llm.hf_model) has
              brought them.
            type: str
          revision:
            description: Commit, branch or tag of O(service.model.repo_id), V(main) by default. What a branch or tag names is what it named
              when it was last fetched.
            type: str
      gpus:
        description:
          - The GPUs that the service sees, by index or UUID (C(GPU-…), or C(MIG-…) for a MIG device); none for a service on the CPU.
          - An index is looked up when the unit is written, and the unit names UUIDs, so that a GPU that fails or changes its slot never
            makes the service compute on another one.
          - The unit starts the engine only once these GPUs answer. Until then systemd tries again, ever more slowly.
          - A container is given them by CDI, which has to list them, and is made anew when what CDI gives has changed, as with another
            driver.
          - In check mode, a host without a driver is taken for one that will have it, and only warned of.
        type: list
        elements: str
        default: []
      host:
        description: IP addresses to listen on, separated by commas.
        type: str
        default: 127.0.0.1
      port:
        description: TCP port to listen on. Required with O(state=present).
        type: int
      api_key:
        description: The key that clients have to send. Without one, whoever reaches the port can use the service.
        type: str
      options:
        description:
          - The engine's own long flags, with underscores for dashes.
          - V(true) gives the flag and V(false) its negative form as listed by C(--help); a flag that takes V(on) and V(off) gets these.
          - A list is written as the flag takes lists, with commas or by repeating the flag, and a dict as JSON.
        type: dict
        default: {}
      environment:
        description: Environment variables of the process. They are readable by every user of the host, so secrets are refused.
        type: dict
        default: {}
      resources:
        description: What the service may use at most.
        type: dict
        default: {}
        suboptions:
          cpus:
            description: Number of CPUs.
            type: float
          memory:
            description: Memory, such as V(128GiB) or V(512MiB). In a container, C(/dev/shm) counts as well.
            type: str
          shm_size:
            description: Size of C(/dev/shm) in a container. It has no effect with O(service.manager=systemd).
            type: str
          ulimits:
            description: Limits of the process by their names in Docker, such as C(memlock) or C(nofile); V(-1) is no limit.
            type: dict
            default: {}
      image:
        description:
          - Container image, with O(service.manager=compose) only. It is fetched if it is not on the host.
          - Without one, C(llama-server) is that of O(binary), which is mounted into O(base_image) with the shared libraries that it needs.
        type: str
  binary:
    description:
      - Absolute path of C(llama-server). Links are followed, so that the unit is bound to one release.
      - In check mode it may still be missing; the options are then not checked against it.
      - Required with O(state=present), unless O(service.image) brings the engine.
    type: path
  base_image:
    description:
      - The image that O(binary) runs in with O(service.manager=compose). It needs a C library no older than the host's, and C(bash), by
        which the container's health is checked.
    type: str
    default: debian:trixie-slim
  pull:
    description: Whether an image that is not on the host may be fetched. If not, it has to be there.
    type: bool
    default: true
  state:
    description:
      - V(present) writes the files.
      - V(on_trial) gives a container that has been made anew, and not been started, the restart policy V(no), so that one whose
        configuration is wrong does not start again and again. It never counts as a change.
      - V(accepted) keeps a copy of the files as they are, once the service has been proven to serve with them, and gives a container the
        restart policy V(unless-stopped). It never counts as a change.
      - V(reverted) puts back the files that were last accepted, if there are any; a deployment does so when new ones turn out not to serve.
      - V(started) starts the service as it is, if there is one that does not run.
      - V(stopped) stops the service if it runs. A unit stays enabled, so it starts with the host again; a container does not.
      - V(absent) stops the service and removes its files, its state included.
    type: str
    choices: [present, on_trial, accepted, reverted, started, stopped, absent]
    default: present
  user:
    description:
      - The user that the process runs as. It is created as a system account if it is not there, and removed with the last service if it was
        created here.
    type: str
    default: inference
  group:
    description: The group that the process runs as. By default the one that is called like the user.
    type: str
  unit_directory:
    description: Where units go.
    type: path
    default: /etc/systemd/system
  config_directory:
    description: Where the directory of the service goes that holds the API key and the files kept for O(state=reverted).
    type: path
    default: /etc/inference
  state_directory:
    description: Where the home of the service goes, the only place where it can write. It has to be below C(/var/lib).
    type: path
    default: /var/lib/inference
  hub_cache:
    description: The cache of the Hugging Face hub, for a model with O(service.model.repo_id).
    type: path
    default: /var/lib/inference/hub
author:
  - the baremetal.llm contributors (@baremetal-llm)
seealso:
  - module: baremetal.llm.hf_model
  - module: baremetal.llm.inference_units
  - module: baremetal.llm.inference_probe
  - plugin: baremetal.llm.service_problems
    plugin_type: filter
"""

EXAMPLES = r"""
- name: A chat model on the CPU, for this host only
  baremetal.llm.inference_service:
    service:
      name: chat
      model:
        file: /srv/models/chat-q4_k_m.gguf
      port: 8080
      options:
        ctx_size: 16384
        parallel: 2
    binary: /opt/llama.cpp/current/bin/llama-server
  register: chat

- name: A vision model on the first GPU, for the network
  baremetal.llm.inference_service:
    service:
      name: vision
      model:
        file: /srv/models/vision-q4_k_m.gguf
        mmproj: /srv/models/vision-mmproj-f16.gguf
      gpus: [0]
      host: 0.0.0.0
      port: 8008
      api_key: "{{ vault_vision_api_key }}"
      options:
        ctx_size: 32768
        parallel: 8
        flash_attn: 'on'
        load_mode: mmap+mlock
        metrics: true
      resources:
        memory: 64GiB
    binary: /opt/llama.cpp/current/bin/llama-server

- name: It has been proven, so this is what to go back to
  baremetal.llm.inference_service:
    service:
      name: chat
    state: accepted

- name: Back to what was accepted last
  baremetal.llm.inference_service:
    service:
      name: chat
    state: reverted

- name: Stop two services before maintenance, the last one first
  baremetal.llm.inference_service:
    service:
      name: "{{ item }}"
    state: stopped
  loop: [embeddings, chat]

- name: Gone
  baremetal.llm.inference_service:
    service:
      name: chat
    state: absent
"""

RETURN = r"""
unit:
  description: Name of the unit.
  type: str
  returned: with O(service.manager=systemd)
  sample: inference-chat.service
project:
  description: Name of the Compose project, and of its container.
  type: str
  returned: with O(service.manager=compose)
  sample: inference-chat
files:
  description: The files of the service; with O(state=absent) what was removed.
  type: list
  elements: str
  returned: always
  sample: [/etc/systemd/system/inference-chat.service, /etc/inference/chat/api-key]
argv:
  description: The command of the unit or the container. It names the file that holds the API key, and never the key.
  type: list
  elements: str
  returned: unless O(state=absent)
restart_required:
  description: Whether the service has to be started or restarted to run as its files say, also when an earlier run was cut short before it
    did so.
  type: bool
  returned: always
enabled:
  description: Whether the unit or the container, as it is, starts with the host.
  type: bool
  returned: unless O(state=absent)
daemon_reload_required:
  description: Whether systemd has yet to read the unit.
  type: bool
  returned: always
pending:
  description: Whether the files are still to be accepted; and the container, where it has to be made anew or is not to be started again.
  type: bool
  returned: unless O(state=absent)
reverted:
  description: Whether there was something to go back to.
  type: bool
  returned: with O(state=reverted)
base_url:
  description: Where the host itself reaches the API.
  type: str
  returned: unless O(state=absent)
  sample: http://127.0.0.1:8080
expect:
  description: What M(baremetal.llm.inference_probe) can check, in the form of its parameter of this name.
  type: dict
  returned: with O(state=present)
  contains:
    alias:
      description: The name of the model in the API.
      type: str
    n_ctx:
      description: Tokens per slot; none where only the running server can tell.
      type: int
    slots:
      description: How many requests are served at once.
      type: int
    listen:
      description: Addresses and ports.
      type: list
      elements: str
    gpus:
      description: UUIDs of the GPUs and MIG devices that the process has to compute on.
      type: list
      elements: str
    gpu_layers:
      description: How many layers of the model are to be on them, a number or V(all); none for a service on the CPU.
      type: str
  sample: {alias: chat, n_ctx: 8192, slots: 2, listen: ["127.0.0.1:8080"], gpus: [], gpu_layers: null}
release:
  description: The directory of the release that O(binary) belongs to, or O(service.image).
  type: str
  returned: with O(state=present)
  sample: /opt/llama.cpp/releases/0a1b2c3d4e5f
journal:
  description: The last lines of the journal of the unit that did not start.
  type: list
  elements: str
  returned: when O(state=started) fails on a unit
problems:
  description: What was found; errors only when the module fails.
  type: list
  elements: dict
  returned: always
  contains:
    code:
      description:
        - Stable name of the kind of problem.
        - "The service as it is written: V(unknown_key), V(missing_key), V(wrong_type), V(name_invalid), V(path_relative), V(gpu_invalid),
          V(repo_id_invalid), V(revision_invalid), V(path_not_in_repository), V(host_invalid), V(port_invalid), V(size_invalid),
          V(api_key_invalid), V(no_api_key), V(unsafe_text), V(engine_needs_compose), V(image_invalid), V(setting_ignored),
          V(state_directory_invalid)."
        - "Its environment: V(environment_invalid), V(environment_owned), V(environment_secret), V(environment_option),
          V(environment_ignored)."
        - "Its options: V(option_unknown), V(option_removed), V(option_deprecated), V(option_owned), V(option_value), V(parallel_zero),
          V(quantised_v_needs_flash_attention), V(embedding_batch), V(embedding_batch_below_context), V(cache_ram_exceeds_memory),
          V(cache_reuse_without_effect), V(context_shift_without_effect), V(threads_exceed_cpus), V(context_beyond_training),
          V(gpus_without_layers), V(device_without_gpus)."
        - "Options for vLLM: V(image_release_unknown), V(option_release), V(option_incomplete), V(needs_download), V(batch_below_length),
          V(batch_below_sequences), V(block_size), V(enforce_eager), V(metrics_disabled), V(offload_exceeds_shm), V(offload_needs_server),
          V(offload_without_size), V(quantization_given), V(servers_exceed_cpus), V(shm_exceeds_memory), V(shutdown_takes_long),
          V(gpus_needed), V(gpus_unused)."
        - "vLLM on the host: V(dtype_unsupported), V(fp8_cache_stored_only), V(fp8_cache_unsupported), V(gpu_too_old),
          V(image_needs_driver), V(tokenizer_files_missing), V(model_not_directory), V(model_incomplete), V(model_outside),
          V(model_config_invalid)."
        - "Its GPUs: V(gpu_not_there), V(gpu_is_split), V(gpu_twice), V(gpu_mig_alone), V(gpu_not_visible), V(cpu_release),
          V(nvidia_modprobe_missing). What keeps the driver from working has the codes of RV(baremetal.llm.gpu_info#module:problems)."
        - "The host: V(binary_missing), V(binary_unusable), V(binary_hidden), V(model_missing), V(model_is_directory), V(model_not_gguf),
          V(model_unreadable), V(model_hidden), V(port_in_use), V(port_of_other_service),
          V(name_of_other_manager), V(drop_in)."
        - "A container: V(docker_missing), V(docker_unreachable), V(compose_missing), V(compose_too_old), V(image_missing),
          V(cdi_device_missing), V(cpus_exceed_host)."
        - "Only in a list of services, from P(baremetal.llm.service_problems#filter): V(duplicate_name), V(duplicate_port),
          V(gpu_shares_exceed_one)."
      type: str
    severity:
      description: V(error) or V(warning).
      type: str
    message:
      description: What is.
      type: str
    remedy:
      description: What to do.
      type: str
"""

import typing as t
from copy import deepcopy

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import DEFAULT_CACHE
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, ProblemsError, warnings
from ansible_collections.baremetal.llm.plugins.module_utils._service import KEYS
from ansible_collections.baremetal.llm.plugins.module_utils._service_cdi import CdiHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_change import Outcome, ServiceChange
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpu_host import GpuHost
from ansible_collections.baremetal.llm.plugins.module_utils._service_parts import engine_of, manager_of
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd


def request_of(params: dict[str, t.Any]) -> Request:
    return Request(**{**params, "binary": params["binary"] or "", "group": params["group"] or params["user"]})


def result_of(outcome: Outcome) -> dict[str, t.Any]:
    told = {name: value for name, value in vars(outcome).items() if value is not None and name != "diffs"}
    return {**told, "problems": _dicts(outcome.problems)}


def diff_of(outcome: Outcome) -> list[dict[str, str]]:
    return [{"before_header": path, "after_header": path, "before": before, "after": after} for path, before, after in outcome.diffs]


def _dicts(problems: t.Iterable[Problem]) -> list[dict[str, str]]:
    return [problem.as_dict() for problem in problems]


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            # A copy, as Ansible fills in the defaults of defaults.
            "service": {"type": "dict", "required": True, "options": deepcopy(KEYS)},
            "binary": {"type": "path"},
            "state": {
                "type": "str",
                "choices": ["present", "on_trial", "accepted", "reverted", "started", "stopped", "absent"],
                "default": "present",
            },
            "user": {"type": "str", "default": "inference"},
            "group": {"type": "str"},
            "unit_directory": {"type": "path", "default": "/etc/systemd/system"},
            "config_directory": {"type": "path", "default": "/etc/inference"},
            "state_directory": {"type": "path", "default": "/var/lib/inference"},
            "hub_cache": {"type": "path", "default": DEFAULT_CACHE},
            "base_image": {"type": "str", "default": "debian:trixie-slim"},
            "pull": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    request = request_of(module.params)
    docker = Docker()
    change = ServiceChange(
        manager_of(request, Systemd(), docker, CdiHost(), predict=module.check_mode),
        lambda service: engine_of(service, request, docker),
        GpuHost(),
        request,
        check_mode=module.check_mode,
    )
    try:
        outcome = change.run()
    except ProblemsError as failure:
        module.fail_json(msg=str(failure), problems=_dicts(failure.problems))
    except UserError as failure:
        module.fail_json(msg=failure.msg, problems=_dicts(change.problems), **failure.details)
    for problem in warnings(outcome.problems):
        module.warn(str(problem))
    diff = {"diff": diff_of(outcome)} if module._diff else {}
    module.exit_json(**result_of(outcome), **diff)


if __name__ == "__main__":
    main()
