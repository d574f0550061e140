# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.baremetal.llm.plugins.module_utils._received_file import staged_path, version_of
from ansible_collections.baremetal.llm.plugins.plugin_utils._callbacks import audience
from ansible_collections.baremetal.llm.plugins.plugin_utils._sending import Sender


class ActionModule(ActionBase):
    """Asks the host whether it has the file, and sends it only if not."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        src = os.path.expanduser(str(self._task.args.get("src", "")))
        version = version_of(src)
        if version is None or not os.path.isfile(src):
            raise AnsibleActionFail(f"src: {src!r} is not a file on the controller; correct the path, or make the file first")
        arguments = {**self._task.args, "src": src, "size": version.size, "modified": version.modified}
        asked = self._execute_module(module_args=arguments, task_vars=task_vars)
        if asked.get("failed") or not asked.get("changed") or self._task.check_mode:
            return {**result, **asked}
        sender = Sender(self, audience(self._task, task_vars or {}))
        sha256 = sender.send(Path(src), str(staged_path(Path(asked["dest"]))), os.path.basename(src))
        return {**result, **self._execute_module(module_args={**arguments, "sha256": sha256}, task_vars=task_vars)}
