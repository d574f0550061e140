# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.baremetal.llm.plugins.plugin_utils._callbacks import people_read_along
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


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True  # one table for all hosts
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self.validate_argument_spec({"rows": {"type": "list", "elements": "dict", "required": True, "options": ROW}})[1]
        rows = args["rows"]
        # Printed as text: in the result, a callback would show the table as one escaped string.
        if rows and people_read_along():
            self._display.display("\n".join(table(rows, check_mode=self._task.check_mode)))
        return {**result, "changed": False, "rows": rows}
