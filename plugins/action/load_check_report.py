# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_baseline import WORSE, compare, dump, find, load, merged
from ansible_collections.baremetal.llm.plugins.plugin_utils._callbacks import people_read_along
from ansible_collections.baremetal.llm.plugins.plugin_utils._load_check_rows import LEGEND, failure, remarks, table

ARGUMENTS = {
    "results": {"type": "list", "elements": "dict", "required": True},
    "services": {"type": "list", "elements": "str", "default": []},
    "baseline": {"type": "path"},
    "save": {"type": "bool", "default": False},
    "tolerance_percent": {"type": "float", "default": 10.0},
    "json": {"type": "path"},
    "fail_on_worse": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True  # one table for all hosts
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self.validate_argument_spec(ARGUMENTS)[1]
        rows, save = args["results"], args["save"]
        if save and not args["baseline"]:
            raise AnsibleActionFail("load_check_save is set, but load_check_baseline is empty: name the file that is to hold the results.")
        if args["tolerance_percent"] < 0:
            raise AnsibleActionFail(f"load_check_tolerance is {args['tolerance_percent']:g}: give a percentage from 0 on.")
        missed = [] if self._task.check_mode else sorted(set(args["services"]) - {row["service"] for row in rows})
        if missed:
            raise AnsibleActionFail(f"load_check_services: no host that was asked has a service called {', '.join(missed)}.")
        try:
            text = read_text_or_none(args["baseline"]) if args["baseline"] else None
            kept = [] if text is None else load(text, args["baseline"])
        except OSError as error:
            raise AnsibleActionFail(f"load_check_baseline: {args['baseline']} cannot be read: {error.strerror}") from None
        except UserError as error:
            raise AnsibleActionFail(error.msg) from None
        comparisons = [compare(row, find(kept, row["host"], row["service"]), args["tolerance_percent"]) for row in rows]
        told = [{**row, "comparison": comparison.as_dict()} for row, comparison in zip(rows, comparisons, strict=True)]
        why = failure(rows, comparisons, on_worse=[WORSE] if args["fail_on_worse"] else [])
        wanted = dump(merged(kept, rows))
        changed = bool(save and rows and not why and wanted != text)
        if not self._task.check_mode:
            if args["json"]:
                _write("load_check_json", args["json"], dump(told))
            if changed:
                _write("load_check_baseline", args["baseline"], wanted)
        if rows and people_read_along():
            compared = comparisons if kept else None
            # Printed as text: in the result, a callback would show the table as one escaped string.
            self._display.display("\n".join([*table(rows, compared), LEGEND, *remarks(rows, compared)]))
        if why:  # with nothing else: Ansible prints all of a failure, and everything has been said
            return {**result, "failed": True, "msg": why}
        return {**result, "changed": changed, "results": told}


def _write(option: str, path: str, text: str) -> None:
    target = Path(os.path.abspath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, text.encode(), 0o644)
    except OSError as error:
        what = f"{option}: {target} cannot be written: {error.strerror}. Give the path of a file that you may write."
        raise AnsibleActionFail(what) from None  # the text of the cause would be added
