# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_baseline import compare, dump, find, load, merged
from ansible_collections.baremetal.llm.plugins.plugin_utils._load_check_rows import LEGEND, failure, remarks, table
from ansible_collections.baremetal.llm.plugins.plugin_utils._report import ReportAction, write

ARGUMENTS = {
    "results": {"type": "list", "elements": "dict", "required": True},
    "services": {"type": "list", "elements": "str", "default": []},
    "baseline": {"type": "path"},
    "save": {"type": "bool", "default": False},
    "tolerance_percent": {"type": "float", "default": 10.0},
    "json": {"type": "path"},
    "fail_on_worse": {"type": "bool", "default": False},
}


class ActionModule(ReportAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self.validate_argument_spec(ARGUMENTS)[1]
        rows, check_mode = args["results"], self._task.check_mode
        try:
            _check(args, check_mode)
            text = _read(args["baseline"]) if args["baseline"] else None
            kept = [] if text is None else load(text, args["baseline"])
        except UserError as error:
            raise AnsibleActionFail(error.msg) from None
        comparisons = [compare(row, find(kept, row["host"], row["service"]), args["tolerance_percent"]) for row in rows]
        told = [{**row, "comparison": comparison.as_dict()} for row, comparison in zip(rows, comparisons, strict=True)]
        why = failure(rows, comparisons, on_worse=args["fail_on_worse"])
        wanted = dump(merged(kept, rows))
        changed = bool(args["save"] and rows and not why and wanted != text)
        if args["json"] and not check_mode:
            write("load_check_json", args["json"], dump(told))
        if changed and not check_mode:
            write("load_check_baseline", args["baseline"], wanted)
        if rows:
            compared = comparisons if kept else None
            self._tell([*table(rows, compared), LEGEND, *remarks(rows, compared)])
        if why:  # with nothing else: Ansible prints all of a failure, and everything has been said
            return {**result, "failed": True, "msg": why}
        return {**result, "changed": changed, "results": told}


def _check(args: Mapping[str, Any], check_mode: bool) -> None:
    """Refuse what an operator cannot mean, in the words of the playbook's variables."""
    if args["save"] and not args["baseline"]:
        raise UserError("load_check_save is set, but load_check_baseline is empty: name the file that is to hold the results.")
    if args["tolerance_percent"] < 0:
        raise UserError(f"load_check_tolerance is {args['tolerance_percent']:g}: give a percentage from 0 on.")
    # In check mode nothing was asked, so nobody knows what there is.
    missed = set() if check_mode else set(args["services"]) - {row["service"] for row in args["results"]}
    if missed:
        raise UserError(f"load_check_services: no host that was asked has a service called {', '.join(sorted(missed))}.")


def _read(baseline: str) -> str | None:
    try:
        return read_text_or_none(baseline)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"load_check_baseline: {baseline} cannot be read: {reason}") from None
