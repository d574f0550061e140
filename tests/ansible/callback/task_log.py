# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: task_log
type: aggregate
short_description: One JSON line per task result, for tests
description: Appends one line per host and task to the file that E(TASK_LOG) names.
options:
  path:
    description: The file to append to. Without it nothing is written.
    type: path
    env:
      - name: TASK_LOG
"""

import json
import time
import typing as t
import uuid

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_log"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._run = str(uuid.uuid4())

    def _record(self, result: t.Any, status: str) -> None:
        path = self.get_option("path")
        if not path:
            return
        entry = {
            "run": self._run,
            "time": time.time(),
            "task": result._task.get_name(),
            "action": result._task.action,
            "check": bool(result._task.check_mode),
            "host": result._host.get_name(),
            "status": status,
            "changed": bool(result._result.get("changed")),
            "result": json.loads(self._dump_results(result._result, indent=0)),
        }
        with open(path, "a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")

    def v2_runner_on_ok(self, result: t.Any, **kwargs: t.Any) -> None:
        self._record(result, "ok")

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False, **kwargs: t.Any) -> None:
        self._record(result, "failed")

    def v2_runner_on_skipped(self, result: t.Any, **kwargs: t.Any) -> None:
        self._record(result, "skipped")

    def v2_runner_on_unreachable(self, result: t.Any, **kwargs: t.Any) -> None:
        self._record(result, "unreachable")
