#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_bundle
short_description: Everything that a lock names in one directory, for hosts without a network
version_added: 0.1.0
description:
  - Packs what hosts would fetch, which is the files of models, the sources of llama.cpp and the wheels of CUDA toolkits, into plain files
    below one directory. Any file system carries them, and C(sha256sum --check --strict SHA256SUMS) proves them anywhere.
  - It runs on a machine that has a network, usually the controller, and needs neither root nor the hosts.
  - Each file is proven by its checksum before it appears under its name. The proof is remembered with size, time and inode of the file;
    while these stay the same, a run reads no content. A run that was killed goes on from what had arrived.
  - What the lock no longer names is removed. C(SHA256SUMS) is written last, so it never promises what is not there.
  - While it works, the operator sees how far it is; set the variable C(inference_progress) to V(false) to silence that.
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  path:
    description: The directory. It is created where it is not there, and has to be empty or a bundle.
    type: path
    required: true
  lock:
    description: What C(deploy.lock.yml) says, which M(baremetal.llm.deploy_lock) writes. A copy of it is part of the bundle.
    type: dict
    required: true
  machines:
    description: The kinds of machine, such as V(x86_64) and V(aarch64), that the wheels are for. By default the kind that this runs on.
    type: list
    elements: str
    default: []
  state:
    description:
      - With V(present) the bundle holds all of it.
      - With V(verified) each file is read again, whatever was proven before, and it is an error when one is damaged or missing. No network
        is asked. With V(present) such files are fetched again afterwards.
    type: str
    choices: [present, verified]
    default: present
  endpoint:
    description: Address of the model hub, or of a mirror.
    type: str
    default: https://huggingface.co
  token:
    description: Access token, for models that are gated or private.
    type: str
  python:
    description:
      - An interpreter that has C(huggingface_hub), 0.36 or newer.
      - Without it, a client is installed below O(client_directory) when models are to be fetched.
    type: path
  client_directory:
    description: Where the hub's client is installed.
    type: path
    default: ~/.cache/baremetal-llm/huggingface-hub
  timeout:
    description: Seconds that the hub may take to answer, or to go on with a download, before it is asked again.
    type: int
    default: 30
requirements:
  - pip for C(pypi) sources, wheels and the hub's client; git for C(git) sources
seealso:
  - module: baremetal.llm.hf_model
  - module: baremetal.llm.llama_build
  - module: baremetal.llm.cuda_toolkit
author:
  - The baremetal.llm maintainers (@baremetal-llm)
"""

EXAMPLES = r"""
- name: Pack what the hosts need
  baremetal.llm.deploy_bundle:
    path: /media/usb/bundle
    lock: "{{ lookup('ansible.builtin.file', 'deploy.lock.yml') | from_yaml }}"
  delegate_to: localhost
  run_once: true

- name: See that nothing was damaged on the way
  baremetal.llm.deploy_bundle:
    path: /media/usb/bundle
    lock: "{{ lookup('ansible.builtin.file', '/media/usb/bundle/deploy.lock.yml') | from_yaml }}"
    state: verified
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The directory.
  returned: success
  type: str
  sample: /media/usb/bundle
files:
  description: The sha256 of each file in it, by its place; in check mode of those that are there.
  returned: success
  type: dict
  sample: {deploy.lock.yml: 4f1e7f3b0b6ad2b9e0f1e5f3c6c8b1a5d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5}
fetched:
  description: The files that were fetched, or that would be.
  returned: success
  type: list
  elements: str
  sample: [models/acme/tiny/0123456789abcdef0123456789abcdef01234567/tiny-q4_k_m.gguf]
removed:
  description: The files that were removed, or that would be.
  returned: success
  type: list
  elements: str
downloaded_bytes:
  description: How much was downloaded; in check mode, how much there is to download as far as that is known before.
  returned: success
  type: int
  sample: 4683072032
damaged:
  description: The files that are damaged or missing.
  returned: when O(state=verified) fails
  type: list
  elements: str
progress_file:
  description: Where a watcher finds how far it is while it runs.
  returned: when there was something to fetch or to read, or in check mode would be
  type: str
  sample: /media/usb/bundle/.baremetal-llm/progress.json
"""

import os
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._bundle import Outcome, ensure_packed, verify
from ansible_collections.baremetal.llm.plugins.module_utils._bundle_plan import Bundle, Request
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import parse
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_environment import HubEnvironment
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import DEFAULT_ENDPOINT, check_endpoint, check_token
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubClient

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "lock": {"type": "dict", "required": True},
    "machines": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
    "endpoint": {"type": "str", "default": DEFAULT_ENDPOINT},
    "token": {"type": "str", "no_log": True},
    "python": {"type": "path"},
    "client_directory": {"type": "path", "default": "~/.cache/baremetal-llm/huggingface-hub"},
    "timeout": {"type": "int", "default": 30},
}
_STATES = {"present": ensure_packed, "verified": verify}


def environment_of(params: t.Mapping[str, t.Any], scratch: str) -> HubEnvironment:
    check_endpoint(params["endpoint"])
    if params["token"]:
        check_token(params["token"])
    client = HubClient(params["python"] or "", params["endpoint"].rstrip("/"), params["token"] or None, params["timeout"], Path(scratch))
    return HubEnvironment(Path(params["client_directory"]), client)


def result_of(outcome: Outcome, bundle: Bundle, before: dict[str, str]) -> dict[str, t.Any]:
    path = str(bundle.root)
    after = {place: sha256 for place, sha256 in before.items() if place not in outcome.removed}
    after |= dict.fromkeys(outcome.fetched, "to be fetched") | outcome.sums
    return {
        "changed": outcome.changed,
        "path": path,
        "files": outcome.sums,
        "fetched": list(outcome.fetched),
        "removed": list(outcome.removed),
        "downloaded_bytes": outcome.downloaded_bytes,
        **({"progress_file": str(bundle.progress)} if outcome.plan.long else {}),
        "diff": {
            "before_header": f"{path} before",
            "after_header": f"{path} after",
            "before": before,
            "after": after if outcome.changed else before,
        },
    }


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params, bundle = module.params, Bundle(module.params["path"])
    request = Request(parse(params["lock"], "lock"), tuple(params["machines"] or [os.uname().machine]))
    environment, before = environment_of(params, module.tmpdir), bundle.sums()
    outcome = _STATES[params["state"]](bundle, request, environment, check_mode=module.check_mode)
    for warning in outcome.warnings:
        module.warn(warning)
    return result_of(outcome, bundle, before)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o022)  # whoever carries it need not be who has made it
    try:
        result = run(module)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
