#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_probe
short_description: Prove that an inference service really serves
version_added: 0.1.0
description:
  - Waits until the server is healthy, then checks on the running process what was asked for, and asks it a real question.
  - The checks are, in this order, C(health), C(listeners), C(auth), C(model), C(context), C(slots), C(metrics), C(kv_cache), C(gpu),
    C(completion) and C(streaming). Those for which nothing is expected are left out, C(slots) is for llama-server, C(metrics) and
    C(kv_cache) are for vLLM. After a failed C(gpu) the server is not asked a question, because the CPU may take minutes for the answer.
  - The module fails when a check fails. It then returns all checks and the end of the log.
  - Of a vLLM that does not start, what its log says is recognised where the reason is a known one, and the message says what to do.
  - Run it on the host that serves, as C(root), so that it sees which process holds which port.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
attributes:
  check_mode:
    details:
      - In check mode nothing is probed, because the service may not be there yet. The task is then skipped.
options:
  base_url:
    description:
      - Where the server answers, such as V(http://127.0.0.1:8080) or V(http://[::1]:8080), with or without C(/v1) at its end.
    type: str
    required: true
  engine:
    description: The engine that answers there.
    type: str
    choices: [llama_server, vllm]
    default: llama_server
  api_key:
    description:
      - The API key that the server was given. With it, requests without a key and with a wrong key have to be refused.
      - Without it, the server has to answer everybody.
      - vLLM asks for its key at C(/v1) only; C(/health), C(/metrics) and C(/version) are for everybody.
    type: str
  validate_certs:
    description: Whether the certificate of an C(https) server has to be valid.
    type: bool
    default: true
  timeout:
    description:
      - Seconds that the server may take to become healthy. Loading a large model from a slow disk takes minutes.
      - A unit or container that has failed, has ended or does not stay up is reported at once.
    type: int
    default: 300
  request_timeout:
    description: Seconds that each single request may take once the server is healthy.
    type: int
    default: 120
  unit:
    description:
      - The systemd unit that runs the server. It has to hold the asked sockets itself, and its journal is returned on failure.
    type: str
  container:
    description:
      - The Docker container that runs the server, by its name. Its state is what Docker tells, its sockets are the ports that Docker
        publishes for it, and its log is returned on failure.
      - Mutually exclusive with O(unit).
    type: str
  expect:
    description: What was asked for. Each key that is left out is not checked.
    type: dict
    default: {}
    suboptions:
      alias:
        description: The name of the model. A vLLM may have more names for it.
        type: str
      n_ctx:
        description:
          - The context of each slot in tokens, which llama-server may round up to a multiple of 256.
          - For vLLM its C(max_model_len), the length of a request with its answer, exactly.
        type: int
      slots:
        description: How many requests are served at the same time. For llama-server.
        type: int
      metrics:
        description: Whether C(/metrics) has to show metrics of vLLM, which its option C(disable_log_stats) takes away.
        type: bool
        default: false
      kv_cache_tokens:
        description:
          - How many tokens the cache of vLLM was planned to hold, as C(kv_cache_tokens_low) and C(kv_cache_tokens_high) in
            RV(baremetal.llm.memory_plan#module:capacity). It is compared with what vLLM says when it has measured what it can have.
          - A cache that holds less than the least is a warning, and one with less than half of that fails the check. Two instances that
            start at the same time on one GPU are the usual reason.
        type: dict
        suboptions:
          low:
            description: The least.
            type: int
            required: true
          high:
            description: The most.
            type: int
            required: true
      listen:
        description:
          - Every socket that the server listens on, as C(ADDRESS:PORT). One more or one less fails the check; so does a wider address.
        type: list
        elements: str
        default: []
      gpus:
        description:
          - UUIDs of the GPUs and MIG devices that the server has to compute on, as RV(baremetal.llm.inference_service#module:expect) gives
            them. A process of O(unit) or O(container), one of which is then required, has to hold memory on each of them.
          - For a MIG device, C(nvidia-smi) may show memory on the GPU that it is a part of; that counts.
        type: list
        elements: str
        default: []
      gpu_layers:
        description:
          - How many layers of the model are to be on the GPUs, a number or V(all). It is compared with what the server says while it loads,
            which llama.cpp does with C(--verbosity 4) and more only. vLLM has all of them there.
        type: str
      gpu_memory_mib:
        description:
          - How much the server has to hold on all O(expect.gpus) together, at least, such as what is planned for the weights and the cache
            there. Where C(nvidia-smi) does not tell it, it is not compared.
          - A server that sees a GPU, but has the model on the CPU, holds some hundred MiB there all the same.
        type: int
  prompt:
    description: What is asked.
    type: str
    default: Name one colour.
  max_tokens:
    description: How many tokens the answer has.
    type: int
    default: 8
seealso:
  - module: baremetal.llm.inference_service
"""

EXAMPLES = r"""
- name: Prove that the service serves what was asked for
  baremetal.llm.inference_probe:
    base_url: http://127.0.0.1:8080
    api_key: "{{ vault_api_key }}"
    unit: inference-chat.service
    expect:
      alias: chat
      n_ctx: 4096
      slots: 8
      listen:
        - 127.0.0.1:8080
  register: probe

- name: Prove that vLLM in a container serves, with the cache that was planned
  baremetal.llm.inference_probe:
    base_url: http://127.0.0.1:8000
    engine: vllm
    api_key: "{{ vault_api_key }}"
    container: inference-mistral
    expect:
      alias: mistral
      n_ctx: 32768
      metrics: true
      kv_cache_tokens:
        low: "{{ plan.capacity.kv_cache_tokens_low }}"
        high: "{{ plan.capacity.kv_cache_tokens_high }}"
      listen:
        - 127.0.0.1:8000

- name: Show how fast it answers
  ansible.builtin.debug:
    msg: "{{ probe.timings.tokens_per_second }} tokens/s, the first after {{ probe.timings.time_to_first_token_ms }} ms"
"""

RETURN = r"""
healthy:
  description: Whether every check has passed.
  returned: when not in check mode
  type: bool
  sample: true
checks:
  description: The checks that were made, in order.
  returned: when not in check mode
  type: list
  elements: dict
  contains:
    name:
      description: The name of the check.
      type: str
      sample: completion
    ok:
      description: Whether it has passed.
      type: bool
      sample: true
    detail:
      description: What was found.
      type: str
      sample: 8 tokens at 93.4 tokens/s
timings:
  description: What was measured. A value is V(null) where there was nothing to measure.
  returned: when not in check mode
  type: dict
  contains:
    load_seconds:
      description: Seconds until the server was healthy; V(null) when it already was.
      type: float
      sample: 12.4
    time_to_first_token_ms:
      description: Milliseconds from the request to the first token of the streamed answer, measured by the client.
      type: float
      sample: 41.7
    prompt_tokens_per_second:
      description:
        - How fast the prompt was processed, measured by the server.
        - For vLLM it is the prompt divided by the time to the first token, on the client's clock.
      type: float
      sample: 812.5
    tokens_per_second:
      description:
        - How fast the answer was generated, measured by the server.
        - For vLLM it is what came after the first token of the streamed answer, on the client's clock.
      type: float
      sample: 93.4
    prompt_tokens:
      description: The length of the prompt in tokens, with what the chat template adds.
      type: float
      sample: 14
    completion_tokens:
      description: The length of the answer in tokens.
      type: float
      sample: 8
server:
  description: What the server says about itself.
  returned: when it answers
  type: dict
  contains:
    alias:
      description: The name of the model.
      type: str
      sample: chat
    model_path:
      description: The model file, or the model as vLLM was given it.
      type: str
      sample: /srv/models/chat.gguf
    tokens_per_slot:
      description: The context of each slot in tokens, of llama-server.
      type: int
      sample: 4096
    slots:
      description: How many requests are served at the same time, by llama-server.
      type: int
      sample: 8
    build:
      description: The build of llama.cpp that runs.
      type: str
      sample: b0-832db0699007
    max_model_len:
      description: The most tokens that a request and its answer may have, of vLLM.
      type: int
      sample: 32768
    version:
      description: The version of vLLM that runs.
      type: str
      sample: 0.33.0
    kv_cache_tokens:
      description: How many tokens the cache of vLLM holds.
      type: int
      sample: 129360
    max_concurrency:
      description: How many requests of full length that is.
      type: float
      sample: 3.95
journal:
  description: The last lines of the unit's journal, or of the container's log.
  returned: on failure, when O(unit) or O(container) is given
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import EngineOnGpu, GpuUse
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_host import NvidiaHost
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import parse_mig, parse_names
from ansible_collections.baremetal.llm.plugins.module_utils._probe import ENGINES, Surroundings, probe
from ansible_collections.baremetal.llm.plugins.module_utils._probe_listeners import parse_endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import Expectation
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Nobody, Runner
from ansible_collections.baremetal.llm.plugins.module_utils._running_container import Container
from ansible_collections.baremetal.llm.plugins.module_utils._running_unit import Unit


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "base_url": {"type": "str", "required": True},
            "engine": {"type": "str", "choices": ["llama_server", "vllm"], "default": "llama_server"},
            "api_key": {"type": "str", "no_log": True},
            "validate_certs": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 300},
            "request_timeout": {"type": "int", "default": 120},
            "unit": {"type": "str"},
            "container": {"type": "str"},
            "expect": {
                "type": "dict",
                "default": {},
                "options": {
                    "alias": {"type": "str"},
                    "n_ctx": {"type": "int"},
                    "slots": {"type": "int"},
                    "metrics": {"type": "bool", "default": False},
                    "kv_cache_tokens": {
                        "type": "dict",
                        "options": {"low": {"type": "int", "required": True}, "high": {"type": "int", "required": True}},
                        "no_log": False,  # its name looks like a secret
                    },
                    "listen": {"type": "list", "elements": "str", "default": []},
                    "gpus": {"type": "list", "elements": "str", "default": []},
                    "gpu_layers": {"type": "str"},
                    "gpu_memory_mib": {"type": "int"},
                },
            },
            "prompt": {"type": "str", "default": "Name one colour."},
            "max_tokens": {"type": "int", "default": 8, "no_log": False},  # its name looks like a secret
        },
        mutually_exclusive=[("unit", "container")],
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(skipped=True, msg="Nothing is probed in check mode: the service may not be there yet.")
    try:
        run(module)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)


def gpu_use(runner: Runner, asked: list[str], engine: EngineOnGpu) -> GpuUse:
    host = NvidiaHost()
    apps = host.apps()
    mine = frozenset(app.pid for app in apps.found if runner.owns(app.pid))
    # Names are for messages, and what belongs to which GPU is for MIG devices.
    plain = set(asked) <= {app.gpu for app in apps.found if app.pid in mine}
    listing = "" if plain else host.listing()
    return GpuUse(
        apps=apps,
        mine=mine,
        journal=runner.log_of_start(),
        names=parse_names(listing),
        parents={device.uuid: gpu for gpu, devices in parse_mig(listing).items() for device in devices},
        engine=engine,
    )


def runner_of(params: dict[str, t.Any]) -> Runner:
    if params["container"]:
        return Container(params["container"])
    return Unit(params["unit"]) if params["unit"] else Nobody()


def expectation(expect: dict[str, t.Any]) -> Expectation:
    layers, cache = expect["gpu_layers"], expect["kv_cache_tokens"]
    if layers is not None and layers != "all" and not layers.isdecimal():
        raise UserError(f"expect.gpu_layers is {layers!r}: give a number of layers, or all.")
    return Expectation(
        alias=expect["alias"],
        n_ctx=expect["n_ctx"],
        slots=expect["slots"],
        listen=tuple(parse_endpoint(text) for text in expect["listen"]),
        gpus=tuple(expect["gpus"]),
        gpu_layers=layers,
        gpu_memory_mib=expect["gpu_memory_mib"],
        metrics=expect["metrics"],
        kv_cache_tokens=(cache["low"], cache["high"]) if cache else None,
    )


def run(module: AnsibleModule) -> t.NoReturn:
    params = module.params
    api_key, runs = params["api_key"], params["unit"] or params["container"]
    expect, engine, runner = expectation(params["expect"]), ENGINES[params["engine"]], runner_of(params)
    if expect.gpus and not runs:
        raise UserError(
            "expect.gpus is given without unit or container: name it, so that its processes can be told from others on the GPUs."
        )
    report = probe(
        Client(params["base_url"], api_key=api_key, timeout=params["request_timeout"], validate_certs=params["validate_certs"]),
        engine,
        expect,
        Surroundings(runner, lambda: gpu_use(runner, list(expect.gpus), engine.on_gpu)),
        has_key=bool(api_key),
        timeout=params["timeout"],
        prompt=params["prompt"],
        max_tokens=params["max_tokens"],
    )
    for warning in report.warnings:
        module.warn(warning)
    result = {
        "healthy": report.healthy,
        "checks": [check.as_dict() for check in report.checks],
        "timings": report.timings,
        "server": report.server,
    }
    if not report.healthy:
        if runs:
            result["journal"] = runner.log()
        module.fail_json(msg=report.message(f"{runs} ({params['base_url']})" if runs else params["base_url"]), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
