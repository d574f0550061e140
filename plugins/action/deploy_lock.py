# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock, render
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._lock_settle import Mode, moves, settled
from ansible_collections.baremetal.llm.plugins.module_utils._lock_wanted import parse_wanted
from ansible_collections.baremetal.llm.plugins.plugin_utils._lock_file import read_lock
from ansible_collections.baremetal.llm.plugins.plugin_utils._lock_world import Outside
from ansible_collections.baremetal.llm.plugins.plugin_utils._report import ReportAction

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "hosts": {"type": "list", "elements": "dict", "required": True},
    "tokens": {"type": "dict", "default": {}, "no_log": True},
    "update": {"type": "bool", "default": False},
    "keep": {"type": "bool", "default": False},
}


class ActionModule(ReportAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self.validate_argument_spec(ARGUMENTS)[1]
        path = Path(args["path"]).absolute()
        try:
            if not path.parent.is_dir():
                raise UserError(f"path: {path.parent} is not a directory; correct inference_lock_file, or make it")
            text = path.read_text(encoding="utf-8") if path.exists() else None
            before = DeployLock() if text is None else read_lock(text, str(path))
            hosts = [parse_wanted(host, args["tokens"].get(host.get("host")) or "") for host in args["hosts"]]
            after = settled(hosts, before, Outside(), Mode(args["update"], args["keep"]))
            wanted = render(after)
            if wanted != text and not self._task.check_mode:
                write_atomic(path, wanted.encode(), 0o644)
        except UserError as error:
            raise AnsibleActionFail(error.msg) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            what = f"path: {path} can't be read or written ({reason}); give a file that you may write (inference_lock_file)"
            raise AnsibleActionFail(what) from None
        moved = moves(before, after)
        if moved:
            self._tell(moved)
        return {
            **result,
            "changed": wanted != text,
            "path": str(path),
            "moved": moved,
            "lock": after.as_dict(),
            "diff": {"before_header": str(path), "after_header": str(path), "before": text or "", "after": wanted},
        }
