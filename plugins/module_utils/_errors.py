# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception the domain raises when the operator has something to put right."""

from __future__ import annotations


class UserError(Exception):
    """What went wrong and what to do about it, in a sentence or two to the operator.

    ``details`` are the further keys of the module's failure: ``cmd``, ``rc``, ``stdout``, ``stderr``, ``path`` …
    A module turns it into a failure with ``module.fail_json(msg=error.msg, **error.details)``.
    """

    def __init__(self, msg: str, **details: object) -> None:
        super().__init__(msg)
        self.msg = msg
        self.details: dict[str, object] = details


class UnavailableError(UserError):
    """Somebody else does not answer now. The same may well work later, so a plan goes on without the answer."""
