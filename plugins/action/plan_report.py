# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import fold
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import Host, Summary, summary_of
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Severity
from ansible_collections.baremetal.llm.plugins.plugin_utils._plan_page import page
from ansible_collections.baremetal.llm.plugins.plugin_utils._plan_table import Block, blocks
from ansible_collections.baremetal.llm.plugins.plugin_utils._plan_words import message
from ansible_collections.baremetal.llm.plugins.plugin_utils._report import ReportAction, write

ARGUMENTS = {
    "hosts": {"type": "list", "elements": "dict", "required": True},
    "html": {"type": "path"},
    "json": {"type": "path"},
    "fail_on_errors": {"type": "bool", "default": False},
}


class ActionModule(ReportAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self.validate_argument_spec(ARGUMENTS)[1]
        try:
            hosts = parse_hosts(args["hosts"])
        except UserError as error:
            raise AnsibleActionFail(error.msg) from None
        groups, summary = fold(hosts), summary_of(hosts)
        # Also in check mode: a report is what is said of the hosts, and no change to one.
        html = args["html"] and write("html", args["html"], page(groups, summary, datetime.now(timezone.utc)))
        plain = args["json"] and write("json", args["json"], _as_json(hosts, summary))
        if hosts:
            self._show(blocks(groups, summary, self._display.columns), html)
        errors = message(groups)
        failure = {"failed": True, "msg": errors} if errors and args["fail_on_errors"] else {}
        return {
            **result,
            "changed": False,
            "problems": [{"host": host.name, **finding.as_dict()} for host in hosts for finding in host.findings],
            "summary": summary.as_dict(),
            "message": errors,
            "html": html,
            "json": plain,
            **failure,
        }

    def _show(self, paragraphs: Sequence[Block], html: str | None) -> None:
        colours = {Severity.ERROR: C.COLOR_ERROR, Severity.WARNING: C.COLOR_WARN, None: None}
        for paragraph in paragraphs:
            self._tell(paragraph.lines, color=colours[paragraph.severity])
        if html:
            self._tell([f"All of it: {html}"])


def _as_json(hosts: Sequence[Host], summary: Summary) -> str:
    told = {"summary": summary.as_dict(), "hosts": [host.as_dict() for host in hosts]}
    return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
