# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One check of a running service, and what came of it."""

from __future__ import annotations

from typing import NamedTuple


class Check(NamedTuple):
    name: str
    ok: bool
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, object]:
        return {"name": self.name, "ok": self.ok, "detail": self.detail}
