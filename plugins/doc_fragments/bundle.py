# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of modules whose files can come from a bundle."""

    DOCUMENTATION = r"""
options:
  bundle:
    description:
      - A bundle on the controller, as M(baremetal.llm.deploy_bundle) makes it, for hosts that can ask no network. With it, O(offline)
        has to be set.
      - What is missing is sent from there over Ansible's own connection, proven by its sha256 and put into its place in one step. What
        is there already is not looked for in it.
    type: str
  delivered:
    description: What has been sent in this run. The action plugin of this module sets it.
    type: list
    elements: str
    default: []
"""
