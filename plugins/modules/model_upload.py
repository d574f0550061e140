#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_upload
short_description: Copy a model file from the controller to the host
version_added: 0.1.0
description:
  - For model files that the controller holds and no hub does. A file on the host with the same size and time of modification is taken for
    the same, so a run that changes nothing reads no file, where M(ansible.builtin.copy) would hash all of it on both sides.
  - A file that is sent arrives beside its place, is proven there by its sha256, and is renamed. What a run that was cut short has sent
    is not sent again.
  - While it is sent, the operator sees how far it is; set the variable C(inference_progress) to V(false) to silence that.
author:
  - the baremetal.llm contributors (@baremetal-llm)
extends_documentation_fragment:
  - baremetal.llm.attributes
options:
  src:
    description: The file on the controller.
    type: path
    required: true
  dest:
    description: The file on the host. Its directory is created if it is not there.
    type: path
    required: true
  size:
    description: Size of O(src) in bytes. The action plugin of this module sets it.
    type: int
  modified:
    description: Time of modification of O(src), in seconds since 1970. The action plugin of this module sets it.
    type: int
  sha256:
    description: Checksum of O(src), once it has been sent. The action plugin of this module sets it.
    type: str
seealso:
  - module: ansible.builtin.copy
"""

EXAMPLES = r"""
- name: Copy a model that was trained here
  baremetal.llm.model_upload:
    src: /srv/models/ours-q4_k_m.gguf
    dest: /var/lib/inference/models/ours-q4_k_m.gguf
"""

RETURN = r"""
dest:
  description: The file on the host.
  type: str
  returned: success
size:
  description: Its size in bytes.
  type: int
  returned: success
sha256:
  description: Its checksum.
  type: str
  returned: when it was sent
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._received_file import Version, check_room, install, prepare, version_of


def shown(version: Version | None) -> str:
    return f"size: {version.size} bytes\nmodified: {version.modified}\n" if version else ""


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "size": {"type": "int"},
            "modified": {"type": "int"},
            "sha256": {"type": "str"},
        },
        required_together=[("size", "modified")],
        supports_check_mode=True,
    )
    params = module.params
    dest = Path(params["dest"])
    if params["size"] is None:
        module.fail_json(msg="model_upload has to be run by its action plugin, which knows the file on the controller.")
    if dest.is_dir():
        module.fail_json(msg=f"dest: {dest} is a directory; give the path of the file.", path=str(dest))
    wanted, there = Version(params["size"], params["modified"]), version_of(dest)
    try:
        if there != wanted:
            check_room(dest, wanted.size)
            if not module.check_mode:
                prepare(dest)
        if params["sha256"] and not module.check_mode:
            install(dest, wanted.modified, params["sha256"])
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    module.exit_json(
        changed=there != wanted,
        dest=str(dest),
        size=wanted.size,
        diff={"before": shown(there), "after": shown(wanted), "before_header": str(dest), "after_header": str(dest)},
        **({"sha256": params["sha256"]} if params["sha256"] else {}),
    )


if __name__ == "__main__":
    main()
