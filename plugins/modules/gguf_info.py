#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: What is in a GGUF model, from its header alone
version_added: 0.1.0
description:
  - Reads the header of a GGUF file and none of its tensors, so it takes milliseconds and little memory for a file of any size, and a model
    can be judged while it is still on the hub.
  - Of a model that is split into several files all headers are read, and what is returned is for the whole model.
  - It fails for what llama.cpp would not load, such as a file that ends too early (it says how many bytes are missing), a file of a split
    model that is not there, and a tensor of a type that llama.cpp has given up. A header without a fault does not prove the tensors.
  - Files of versions 2 and 3 of the format are read, little and big endian. llama.cpp loads only those in the byte order of its host.
extends_documentation_fragment:
  - baremetal.llm.attributes.info_module
  - baremetal.llm.attributes
options:
  path:
    description:
      - The file on the host. Give the first one of a split model, whose name ends in C(-00001-of-00003.gguf); the others have to be beside
        it.
    type: path
  repo_id:
    description: The repository on the hub whose file is read instead, such as V(Qwen/Qwen2-VL-7B-Instruct-GGUF).
    type: str
  revision:
    description:
      - The commit, tag or branch of O(repo_id).
      - All files of a split model are read at the same commit.
    type: str
    default: main
  file:
    description: The name of the file in O(repo_id), with its directories. Give the first one of a split model.
    type: str
  endpoint:
    description: The address of the hub.
    type: str
    default: https://huggingface.co
  token:
    description:
      - A token of the hub, for repositories that are private or gated.
      - It is sent to O(endpoint), and to no other server to which that redirects.
    type: str
  timeout:
    description:
      - Seconds after which a request to the hub is given up.
      - A header takes one request of 256 KiB, and one with a large vocabulary up to eight that grow to 4 MiB.
    type: float
    default: 60
notes:
  - A hub is asked by the host on which the module runs, through the proxy in the environment if there is one.
author:
  - the baremetal.llm contributors (@baremetal-llm)
"""

EXAMPLES = r"""
- name: Look into a model on the host
  baremetal.llm.gguf_info:
    path: /srv/models/qwen2-vl-7b-instruct-q4_k_m.gguf
  register: model

- name: Show how large it is
  ansible.builtin.debug:
    msg: "{{ model.architecture }}, {{ model.file_type }}: {{ (model.tensor_bytes / 1024 ** 3) | round(1) }} GiB of tensors"

- name: Look into one that nobody has downloaded yet
  baremetal.llm.gguf_info:
    repo_id: Qwen/Qwen2-VL-7B-Instruct-GGUF
    revision: 0123456789abcdef0123456789abcdef01234567
    file: qwen2-vl-7b-instruct-q4_k_m.gguf
    token: "{{ vault_hub_token }}"
  delegate_to: localhost
"""

RETURN = r"""
files:
  description: All files of the model, in order; O(path) or O(file) is the first.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: Where it is, on the host or in the repository.
      type: str
      returned: always
      sample: /srv/models/qwen2-vl-7b-instruct-q4_k_m.gguf
    size:
      description: Its size in bytes.
      type: int
      returned: always
size:
  description: The size of all files in bytes.
  type: int
  returned: success
  sample: 4683072032
split:
  description: How the model is split, or null where it is one file.
  type: dict
  returned: success
  contains:
    count:
      description: Into how many files.
      type: int
      returned: always
    "no":
      description: The number of the first of RV(files) among them, which is 0, because a model is loaded by its first file.
      type: int
      returned: always
    files:
      description: The files, in order.
      type: list
      elements: str
      returned: always
commit:
  description: The commit that was read, or null where the hub does not tell it.
  type: str
  returned: when O(repo_id) is given
  sample: 0123456789abcdef0123456789abcdef01234567
kind:
  description:
    - V(model), V(mmproj) (the projector of a model that sees or hears), V(adapter) (LoRA, or a control vector), V(imatrix), or
      V(vocabulary) (a tokenizer without tensors).
  type: str
  returned: success
  sample: model
architecture:
  description: The architecture by llama.cpp's name, or null where the file has none.
  type: str
  returned: success
  sample: qwen2vl
file_type:
  description: The quantisation of the file as a whole, or null where it does not tell one that is known. See RV(tensor_types), too.
  type: str
  returned: success
  sample: Q4_K_M
parameters:
  description: The count of numbers in all tensors.
  type: int
  returned: success
  sample: 7615616512
tensor_bytes:
  description: The size of all tensors in bytes.
  type: int
  returned: success
  sample: 4677120000
tensor_types:
  description: The size in bytes of all tensors of a type, the largest first.
  type: dict
  returned: success
  sample: {"Q4_K": 3650000000, "Q6_K": 1020000000, "F32": 1700000}
tensors:
  description: The size of each tensor in bytes, in the order of the files.
  type: dict
  returned: success
  sample: {"token_embd.weight": 306561024, "blk.0.attn_norm.weight": 14336}
metadata:
  description:
    - The keys and values of the header, which for a split model is that of the first file.
    - An array of more than 1024 values is not read. It is shown as its C(type) and C(length), and so is a text of more than a MiB, with the
      C(type) V(char).
    - Numbers that are infinite or none are null.
  type: dict
  returned: success
  sample:
    general.architecture: qwen2vl
    qwen2vl.block_count: 28
    qwen2vl.rope.dimension_sections: [16, 24, 24, 0]
    tokenizer.ggml.tokens: {type: string, length: 152064}
version:
  description: The version of the format, V(2) or V(3).
  type: int
  returned: success
  sample: 3
byte_order:
  description: V(little) or V(big).
  type: str
  returned: success
  sample: little
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import HubRepo
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import DEFAULT_ENDPOINT


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "repo_id": {"type": "str"},
            "revision": {"type": "str", "default": "main"},
            "file": {"type": "str"},
            "endpoint": {"type": "str", "default": DEFAULT_ENDPOINT},
            "token": {"type": "str", "no_log": True},
            "timeout": {"type": "float", "default": 60.0},
        },
        required_one_of=[("path", "repo_id")],
        mutually_exclusive=[("path", "repo_id")],
        required_together=[("repo_id", "file")],
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **info(module.params))
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)


def info(params: t.Mapping[str, t.Any]) -> dict[str, object]:
    if params["path"]:
        return read_model(LocalFiles(), params["path"]).as_dict()
    repo = HubRepo(params["repo_id"], params["revision"], endpoint=params["endpoint"], token=params["token"], timeout=params["timeout"])
    model = read_model(repo, params["file"])
    return {**model.as_dict(), "commit": repo.commit}


if __name__ == "__main__":
    main()
