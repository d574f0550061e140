#!/usr/bin/python
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: debian_packages
short_description: Check that Debian packages are installed
version_added: 0.1.0
description:
  - For hosts that ask no network, where M(ansible.builtin.apt) would wait for its sources and then not say what helps.
  - It asks C(dpkg) alone, and fails with the packages that are not installed.
extends_documentation_fragment:
  - baremetal.llm.attributes
  - baremetal.llm.attributes.info_module
options:
  names:
    description: The packages. One that another package provides counts as well, such as V(c-compiler).
    type: list
    elements: str
    required: true
author:
  - the baremetal.llm contributors (@baremetal-llm)
"""

EXAMPLES = r"""
- name: A compiler is there
  baremetal.llm.debian_packages:
    names:
      - cmake
      - g++
"""

RETURN = r"""
missing:
  description: The packages that are not installed.
  returned: always
  type: list
  elements: str
  sample: [cmake]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.llm.plugins.module_utils._command import check
from ansible_collections.baremetal.llm.plugins.module_utils._debian_packages import QUERY, missing
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec={"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True)
    try:
        absent = missing(module.params["names"], check(QUERY, what="asking dpkg for its packages").stdout)
    except UserError as error:
        module.fail_json(msg=error.msg, **error.details)
    if absent:
        module.fail_json(
            msg=f"names: not installed: {', '.join(absent)}; with inference_offline nothing is fetched, so install them from a mirror "
            f"within reach (apt-get install {' '.join(absent)}), or into the image of this host",
            missing=absent,
        )
    module.exit_json(changed=False, missing=[])


if __name__ == "__main__":
    main()
