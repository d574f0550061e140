# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that tells of all hosts at once, on the controller: to people who read along, and into files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.baremetal.llm.plugins.module_utils._files import write_atomic
from ansible_collections.baremetal.llm.plugins.plugin_utils._callbacks import people_read_along


class ReportAction(ActionBase):
    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True
    _requires_connection = False

    def _tell(self, lines: Iterable[str], color: str | None = None) -> None:
        # Printed as text: in the result, a callback would show a table as one escaped string.
        if people_read_along():
            self._display.display("\n".join(lines), color=color)


def write(option: str, path: str, text: str) -> str:
    """The absolute path of what was written; `option` is where the operator gave it."""
    target = Path(os.path.abspath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, text.encode(), 0o644)
    except OSError as error:
        what = f"{option}: {target} cannot be written: {error.strerror}. Give the path of a file that you may write."
        raise AnsibleActionFail(what) from None  # the text of the cause would be added
    return str(target)
