#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_plan
short_description: Whether a model fits, on which GPU, and with what left
version_added: 0.1.0
description:
  - Plans the memory of an inference service before anything is downloaded or started, from the header of its model and the options of its
    engine.
  - For C(llama-server), the weights and the cache of keys and values are what llama.cpp allocates, byte for byte. What it computes in, the
    projector's buffers and CUDA's own share are estimates, and RV(estimates) says how wide they are.
  - For vLLM, which takes a share of the GPU whatever the model needs, it says how many tokens its cache will hold.
  - It only calculates, and needs no GPU. With O(binary), the installed llama.cpp is asked as well.
  - What would fail or disappoint is returned in RV(problems), each with its remedy, and doesn't fail the module, so that a whole plan can
    be shown. Only a parameter that can't be understood does.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
options:
  engine:
    description: What serves the model.
    type: str
    choices: [llama_server, vllm]
    default: llama_server
  model:
    description:
      - The model, as the path of its first GGUF file on this host, or as what M(baremetal.llm.gguf_info) returns for it.
      - With O(engine=vllm), the directory of the model on this host, or a dict with its C(config.json) as C(config), and its
        C(model.safetensors.index.json) as C(index), its C(files) with their C(path) and C(size), or the bytes of its weights as
        C(tensor_bytes).
    type: raw
    required: true
  mmproj:
    description: The projector of a vision model, as O(model). Only with O(engine=llama_server).
    type: raw
  options:
    description: The options of the service, as in C(inference_services).
    type: dict
    default: {}
  gpus:
    description:
      - The GPUs of the service, each with its C(memory_mib), as RV(baremetal.llm.gpu_info#module:gpus) has them; none for the CPU.
      - The memory of a few common GPUs is known by their C(name), for hosts whose driver is still to come.
    type: list
    elements: dict
    default: []
  resources:
    description: The limits of the service, as in C(inference_services). C(memory) is compared with what the service needs on the host.
    type: dict
    default: {}
  quantisations:
    description:
      - Other files of the same model, each with its C(path) and its C(size) in bytes.
      - If the model doesn't fit, the largest of them that does is suggested.
    type: list
    elements: dict
    default: []
  binary:
    description:
      - Path of the installed C(llama-server). The program C(llama-fit-params) beside it is asked what the model takes.
      - It needs the model on this host, at the path that is the first of its C(files).
    type: path
seealso:
  - module: baremetal.llm.gguf_info
  - module: baremetal.llm.gpu_info
  - plugin: baremetal.llm.memory_plan
    plugin_type: filter
  - module: baremetal.llm.inference_service
"""

EXAMPLES = r"""
- name: Does the model fit on the GPUs of this host?
  baremetal.llm.memory_plan:
    model: "{{ header }}"
    gpus: "{{ host.gpus }}"
    options:
      ctx_size: 32768
      parallel: 8
      cache_type_k: q8_0
      cache_type_v: q8_0
  register: plan
  failed_when: plan.problems | selectattr('severity', 'equalto', 'error') | length > 0

- name: How many requests of 32768 tokens can vLLM serve at once?
  baremetal.llm.memory_plan:
    engine: vllm
    model: /srv/models/mistral-7b-instruct-v0.3-awq
    gpus:
      - name: NVIDIA A10
        memory_mib: 23028
    options:
      max_model_len: 32768
      gpu_memory_utilization: 0.9
      kv_cache_dtype: fp8
  register: plan
"""

RETURN = r"""
fits:
  description:
    - Whether all that the options ask for fits, by the estimates' middle.
    - It is null where what the architecture keeps beside its weights is not known, and the weights alone do fit.
  returned: always
  type: bool
  sample: true
gpus:
  description: What is on each GPU, in the order of O(gpus). Sizes are in MiB, rounded up; unknown ones are null.
  returned: always
  type: list
  elements: dict
  contains:
    gpu:
      description: Its index and name.
      type: str
      sample: GPU 0 (NVIDIA A10)
    memory_mib:
      description: Its memory.
      type: int
      sample: 23028
    weights_mib:
      description: The weights of the layers that are on it.
      type: int
      sample: 4089
    mmproj_mib:
      description: The projector, and what encoding the largest image takes.
      type: int
      sample: 1668
    kv_cache_mib:
      description:
        - The cache of keys and values, and the states of recurrent layers.
        - With O(engine=vllm), what vLLM will use for it.
      type: int
      sample: 1792
    compute_mib:
      description: What is computed in.
      type: int
      sample: 174
    overhead_mib:
      description: What the driver keeps back, and what the process takes beside its buffers, the CUDA context above all.
      type: int
      sample: 1144
    driver_mib:
      description: The part of C(overhead_mib) that the driver keeps back, once for all services on the GPU.
      type: int
      sample: 494
    claim_mib:
      description:
        - What has to be free before the service starts, besides what the driver keeps back.
        - For vLLM, that is its C(gpu_memory_utilization) and a CUDA context; for C(llama-server), 0.
      type: int
      sample: 0
    free_mib:
      description: What is left. It is negative by what is missing.
      type: int
      sample: 14311
host:
  description: What the service keeps in the host's memory. Sizes are in MiB, rounded up.
  returned: always
  type: dict
  contains:
    weights_mib:
      description: The weights that are not on a GPU. They are pages of the file, which can be dropped, unless C(load_mode) says otherwise.
      type: int
      sample: 416
    mmproj_mib:
      description: The projector, where it is not on a GPU.
      type: int
      sample: 0
    kv_cache_mib:
      description: The cache of layers that are not on a GPU; with O(engine=vllm), what the cache may spill to.
      type: int
      sample: 0
    compute_mib:
      description: What is computed in; with O(engine=vllm), what its processes take.
      type: int
      sample: 24
    prompt_cache_mib:
      description: What the cache of earlier prompts may grow to. It is null where it has no limit.
      type: int
      sample: 8192
kv_bytes_per_token:
  description:
    - By how many bytes the cache grows with each token of context, over all layers and GPUs.
    - Layers with a sliding window don't grow, and don't count. It is null for an unknown architecture.
  returned: always
  type: int
  sample: 57344
tokens_per_slot:
  description: How many tokens one request may have, image, text and answer together. It is null where that is unknown.
  returned: always
  type: int
  sample: 4096
slots:
  description: How many requests are served at once.
  returned: always
  type: int
  sample: 8
context_tokens:
  description: How many tokens the cache holds in all. It is null where that is unknown.
  returned: always
  type: int
  sample: 32768
layers:
  description: How many layers the model has, the output layer included. It is null with O(engine=vllm), as is RV(layers_on_gpus).
  returned: always
  type: int
  sample: 29
layers_on_gpus:
  description: How many of them are on GPUs.
  returned: always
  type: int
  sample: 29
capacity:
  description: How much vLLM can keep. It is null with O(engine=llama_server).
  returned: always
  type: dict
  contains:
    kv_cache_tokens:
      description: How many tokens the cache holds.
      type: int
      sample: 119280
    kv_cache_tokens_low:
      description: The same if all estimates are at their most.
      type: int
      sample: 111072
    kv_cache_tokens_high:
      description: The same if all estimates are at their least.
      type: int
      sample: 124688
    sequences_of_full_length:
      description: How many requests of C(max_model_len) tokens that are.
      type: float
      sample: 3.64
estimates:
  description: Which of the figures are not exact, and between what they lie.
  returned: always
  type: list
  elements: dict
  contains:
    figure:
      description: Its place in the result.
      type: str
      sample: gpus[0].compute_mib
    low_mib:
      description: The least.
      type: int
      sample: 148
    high_mib:
      description: The most.
      type: int
      sample: 201
    basis:
      description: What it was made from.
      type: str
      sample: from the widths of the model, compared with llama.cpp's own compute buffers
calibrated:
  description: Whether C(llama-fit-params) was asked.
  returned: always
  type: bool
  sample: false
problems:
  description: What would fail or disappoint.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description:
        - Stable name of the kind of problem.
        - "The GPUs: V(gpu_memory), V(gpu_memory_tight), V(left_on_host), V(split_mode_row), V(too_few_gpus),
          V(utilisation_too_high)."
        - "The host: V(host_memory), V(host_memory_tight)."
        - "The context: V(context_reduced), V(slot_too_small_for_image), V(image_may_fill_slot), V(cache_below_length),
          V(sequences_exceed_cache)."
        - "The cache: V(cache_type_unfit), V(cache_type_unknown), V(cache_types_differ), V(cache_type_without_cache),
          V(swa_full_without_effect)."
        - "The model: V(architecture_unknown), V(projector_unknown), V(draft_not_counted), V(experts_without_effect),
          V(calibration_failed)."
        - "An option that can't be read: V(option_value)."
        - What the options and resources tell without a model has the codes of M(baremetal.llm.inference_service).
      type: str
      sample: slot_too_small_for_image
    severity:
      description: V(error) or V(warning).
      type: str
      sample: error
    message:
      description: What is.
      type: str
      sample: a slot has 1024 tokens, and an image of 1024x1024 pixels takes 1024 of them, so that none are left for text
    remedy:
      description: What to do.
      type: str
      sample: Give each slot at least 2048 tokens (ctx_size, or fewer slots with parallel)
suggestions:
  description: What would make it fit, each on its own, those that cost least first. None where it fits.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description:
        - Stable name of the kind of change.
        - V(flash_attention), V(quantised_cache), V(smaller_images), V(fewer_slots), V(less_context), V(smaller_quantisation),
          V(experts_on_host), V(fewer_gpu_layers), V(quantised_cache_and_less_context) and V(higher_utilisation).
      type: str
      sample: quantised_cache
    message:
      description: What to do, and at what price.
      type: str
      sample: Keep keys and values as q8_0 (hardly worse, all slots as they are)
    options:
      description: The options to set.
      type: dict
      sample: {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}
    file:
      description: The file to take, null where the model stays.
      type: str
      sample: Qwen2-VL-7B-Instruct-Q3_K_M.gguf
    free_mib:
      description: What is then left on the fullest GPU.
      type: int
      sample: 812
msg:
  description: All errors in one text, for a task that fails because of them.
  returned: when there is an error among RV(problems)
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._memory_fit_params import FitParams
from ansible_collections.baremetal.llm.plugins.module_utils._memory_plan import plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._memory_snapshot import read_snapshot
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors, failure_message


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "choices": ["llama_server", "vllm"], "default": "llama_server"},
            "model": {"type": "raw", "required": True},
            "mmproj": {"type": "raw"},
            "options": {"type": "dict", "default": {}},
            "gpus": {"type": "list", "elements": "dict", "default": []},
            "resources": {"type": "dict", "default": {}},
            "quantisations": {"type": "list", "elements": "dict", "default": []},
            "binary": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = dict(module.params)
    binary = params.pop("binary")
    try:
        params |= {option: _read(params["engine"], option, params[option]) for option in ("model", "mmproj")}
        plan = plan_for(**params, measure=FitParams(binary, params["gpus"]) if binary else None)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    message = {"msg": failure_message(plan.problems)} if errors(plan.problems) else {}
    module.exit_json(changed=False, **plan.as_dict(), **message)


def _read(engine: str, option: str, given: object) -> object:
    """A path is read here. The domain takes what is in the model's files."""
    if not isinstance(given, str) or not given:
        return given
    return read_snapshot(given) if engine == "vllm" else read_model(LocalFiles(option), given).as_dict()


if __name__ == "__main__":
    main()
