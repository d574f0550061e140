# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.baremetal.llm.plugins.plugin_utils._report import ReportAction
from ansible_collections.baremetal.llm.plugins.plugin_utils._summary import table

ROW = {
    "host": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "model": {"type": "str", "default": ""},
    "release": {"type": "str", "default": ""},
    "tokens_per_second": {"type": "float"},
    "changed": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ReportAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self.validate_argument_spec({"rows": {"type": "list", "elements": "dict", "required": True, "options": ROW}})[1]
        rows = args["rows"]
        if rows:
            self._tell(table(rows, check_mode=self._task.check_mode))
        return {**result, "changed": False, "rows": rows}
