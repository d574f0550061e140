#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_model
short_description: Exactly these files of a model on the Hugging Face hub, proven by sha256
version_added: 0.1.0
description:
  - Brings files of one repository at one revision into the hub's cache in its standard layout, which llama.cpp, vLLM and the hub's own
    tools read too, so that all of them share one copy.
  - The hub's own client downloads them. It is installed into a virtual environment of pinned wheels when something is to be fetched and
    it is not there, as C(pip) on the host is configured to find packages.
  - Every file is proven by the checksum that the hub or O(expected) has of it, whatever the client said, before it appears in the cache.
    One that arrived damaged is fetched once more.
  - A proof is remembered with size, time and inode of the file. While these stay the same, a run reads no content, and with a commit (as
    O(revision) or from O(expected)) it does not ask the hub either.
  - A download that was cut short, even by a kill or a power cut, goes on from what had arrived. Two runs at once wait for each other.
  - While it downloads, the operator sees how far it is; set the variable C(inference_progress) to V(false) to silence that.
extends_documentation_fragment:
  - baremetal.llm.attributes
  - baremetal.llm.bundle
options:
  repo_id:
    description: The repository, such as V(Qwen/Qwen2.5-0.5B-Instruct-GGUF).
    type: str
    required: true
  revision:
    description:
      - A commit (40 hexadecimal digits), a branch or a tag. Only a commit never changes.
      - What a branch or tag names is asked with each run, unless O(expected) settles it or O(offline) is set. While the hub can't be
        reached, the last known commit is taken if it is complete, with a warning.
      - By default V(main); with O(state=absent) all revisions.
    type: str
  files:
    description:
      - Names of files, or globs such as V(*q4_k_m*.gguf); all files of the repository without it.
      - One shard of a split GGUF brings all of them.
      - "V(@vllm) stands for what vLLM reads of a repository: configuration, tokenizer, chat templates, and the weights as safetensors,
        once. Where they are there in both formats, those of Hugging Face's are taken, and with V(@vllm-mistral) those of Mistral's own
        (C(params.json), C(consolidated*.safetensors)). Copies in other forms are not (pickles, GGUF, ONNX, C(original/))."
    type: list
    elements: str
    default: []
  cache_dir:
    description: The cache, which is what C(HF_HUB_CACHE) names for other programs. It is created where it is not there.
    type: path
    default: /var/lib/inference/hub
  group:
    description:
      - Group that may read the model, for services with users of their own. What is new can then be read by nobody else.
      - Without it, every user of the host can read the model.
    type: str
  endpoint:
    description: Address of the hub, or of a mirror.
    type: str
    default: https://huggingface.co
  token:
    description:
      - Access token, for repositories that are gated or private.
      - It is given to the client in the environment of its process, and never written to a file. A token of the host's user is not used.
    type: str
  expected:
    description:
      - What a lock says about the model. What differs from it is refused, whatever the hub says.
      - With it, a branch or tag in O(revision) is taken for this commit, without a question to the hub.
    type: dict
    suboptions:
      commit:
        description: The commit, 40 hexadecimal digits.
        type: str
        required: true
      files:
        description: The files, of which O(files) chooses.
        type: list
        elements: dict
        required: true
        suboptions:
          path:
            description: Path in the repository.
            type: str
            required: true
          size:
            description: Size in bytes.
            type: int
            required: true
          sha256:
            description: Checksum of the content.
            type: str
            required: true
  offline:
    description: Ask the hub for nothing. What is neither there nor in a O(bundle) is an error.
    type: bool
    default: false
  state:
    description:
      - With V(present) the files are there and proven.
      - With V(verified) each of them is read again, whatever was proven before. One that is damaged is fetched again. Check mode reads
        nothing, and goes by what was proven before.
      - With V(absent) the files are removed, with all contents that no other revision and no other model needs.
      - With V(planned) nothing is changed, and what V(present) would do is returned.
    type: str
    choices: [present, verified, absent, planned]
    default: present
  python:
    description:
      - An interpreter on the host that has C(huggingface_hub), 0.36 or newer.
      - Without it, a client is installed below O(client_directory).
    type: path
  client_directory:
    description: Where the hub's client is installed.
    type: path
    default: /opt/huggingface-hub
  timeout:
    description: Seconds that the hub may take to answer, or to go on with a download, before it is asked again.
    type: int
    default: 30
requirements:
  - pip on the host, unless O(python) is given
notes:
  - Files of more than 50 GB, which the hub does not give over plain HTTP, can't be fetched. Models of this size come in shards as well.
seealso:
  - module: baremetal.llm.model_upload
  - module: baremetal.llm.inference_service
author:
  - The baremetal.llm maintainers (@baremetal-llm)
"""

EXAMPLES = r"""
- name: A quantisation and the projector of a vision model
  baremetal.llm.hf_model:
    repo_id: ggml-org/Qwen2-VL-7B-Instruct-GGUF
    revision: 0123456789abcdef0123456789abcdef01234567
    files:
      - Qwen2-VL-7B-Instruct-Q4_K_M.gguf
      - mmproj-Qwen2-VL-7B-Instruct-f16.gguf
  register: model

- name: Where the file is
  ansible.builtin.debug:
    msg: "{{ model.snapshot_path }}/Qwen2-VL-7B-Instruct-Q4_K_M.gguf"

- name: As a lock has it, on a host without a way out
  baremetal.llm.hf_model:
    repo_id: ggml-org/Qwen2-VL-7B-Instruct-GGUF
    expected: "{{ lock.models['qwen2-vl'] }}"
    offline: true

- name: Read every file again, after a crash of the disk
  baremetal.llm.hf_model:
    repo_id: ggml-org/Qwen2-VL-7B-Instruct-GGUF
    revision: 0123456789abcdef0123456789abcdef01234567
    state: verified

- name: Remove a revision
  baremetal.llm.hf_model:
    repo_id: ggml-org/Qwen2-VL-7B-Instruct-GGUF
    revision: 0123456789abcdef0123456789abcdef01234567
    state: absent
"""

RETURN = r"""
commit:
  description: The commit that O(revision) is; none where only the hub could tell and its client is still to be installed.
  returned: unless O(state=absent)
  type: str
  sample: 0123456789abcdef0123456789abcdef01234567
snapshot_path:
  description: The directory with the files, by their paths in the repository.
  returned: unless O(state=absent)
  type: str
  sample: /var/lib/inference/hub/models--org--name/snapshots/0123456789abcdef0123456789abcdef01234567
files:
  description: The files. Of those that are still to come, the hub does not tell the checksum where they are small.
  returned: unless O(state=absent)
  type: list
  elements: dict
  contains:
    path:
      description: Path in the repository.
      type: str
    size:
      description: Size in bytes.
      type: int
    sha256:
      description: Checksum of the content.
      type: str
  sample: [{path: model-q4_k_m.gguf, size: 4683072032, sha256: 4f1e7f3b0b6ad2b9e0f1e5f3c6c8b1a5d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5}]
downloaded_bytes:
  description: How much was downloaded; in check mode and with O(state=planned), how much there is to download.
  returned: unless O(state=absent)
  type: int
  sample: 4683072032
fetched:
  description: The files that were fetched, or that would be.
  returned: unless O(state=absent)
  type: list
  elements: str
  sample: [model-q4_k_m.gguf]
removed:
  description: The files that were removed, or that would be.
  returned: with O(state=absent)
  type: list
  elements: str
due:
  description: Whether O(state=present) would have something to do.
  returned: with O(state=planned)
  type: bool
client_due:
  description: Whether O(state=present) would install the hub's client.
  returned: with O(state=planned)
  type: bool
progress_file:
  description: Where a watcher finds how far it is while it runs.
  returned: when there was something to fetch or to read, or in check mode would be
  type: str
  sample: /var/lib/inference/hub/models--org--name/.baremetal-llm/progress.json
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import ARGUMENTS, asks_for
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_parameters import (
    MODEL_SPEC,
    PLACE_SPEC,
    checked_cache,
    environment_of,
    request_of,
)
from ansible_collections.baremetal.llm.plugins.module_utils._hub_plan import Request
from ansible_collections.baremetal.llm.plugins.module_utils._hub_present import Outcome, ensure_present
from ansible_collections.baremetal.llm.plugins.module_utils._hub_removal import Removal, ensure_absent

_STATES = ["present", "verified", "absent", "planned"]
ARGUMENT_SPEC: dict[str, t.Any] = {
    **MODEL_SPEC,
    **PLACE_SPEC,
    **ARGUMENTS,
    "state": {"type": "str", "choices": _STATES, "default": "present"},
}


def result_of(outcome: Outcome, request: Request) -> dict[str, t.Any]:
    cache, plan = request.cache, outcome.plan
    files = [{"path": file.path, "size": file.size, "sha256": file.sha256 or file.wanted.sha256} for file in outcome.files]
    return {
        "changed": outcome.changed,
        "commit": plan.commit,
        "snapshot_path": plan.commit and str(cache.snapshot(plan.commit)),
        "files": files,
        "downloaded_bytes": outcome.downloaded_bytes,
        "fetched": list(outcome.fetched),
        **({"progress_file": str(cache.progress)} if plan.long else {}),
        **asks_for(cache.own, outcome.asks_for),
        "diff": diff_of(outcome, request.repo_id, files),
    }


def diff_of(outcome: Outcome, repo_id: str, files: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Commit and checksums before and after. A file that is there already and becomes proven, or readable, is no difference."""
    plan = outcome.plan
    after: dict[str, t.Any] = {"commit": plan.commit, "files": {file["path"]: file["sha256"] for file in files}}
    before: dict[str, t.Any] = {"commit": plan.commit_before, "files": dict(plan.before)}
    if outcome.changed:
        before["unreadable"], after["unreadable"] = [str(path) for path in plan.lacking], []
    else:
        before = after
    return {"before_header": f"{repo_id} before", "after_header": f"{repo_id} after", "before": before, "after": after}


def removal_result(removal: Removal, repo_id: str) -> dict[str, t.Any]:
    header = {"before_header": f"{repo_id} before", "after_header": f"{repo_id} after"}
    return {"changed": removal.due, "removed": removal.paths, "diff": {**header, "before": removal.pointers, "after": {}}}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params, state = module.params, module.params["state"]
    cache = checked_cache(params)
    if state == "absent":
        return removal_result(ensure_absent(cache, params["revision"], params["files"], check_mode=module.check_mode), params["repo_id"])
    request, environment = request_of(params, cache, trust=state != "verified"), environment_of(params, module.tmpdir)
    planned = state == "planned"
    outcome = ensure_present(request, environment, check_mode=module.check_mode or planned)
    result = result_of(outcome, request)
    if planned:
        told = {key: value for key, value in result.items() if key not in ("progress_file", "diff")}
        client_due = bool(outcome.plan.blind or outcome.fetched) and not request.offline and environment.ready() is None
        return {**told, "changed": False, "due": outcome.plan.due, "client_due": client_due}
    for warning in outcome.warnings:
        module.warn(warning)
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o022)  # what is not for everybody is said explicitly
    try:
        result = run(module)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
