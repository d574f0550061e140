# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._problems import error, errors, failure_message, warning, warnings

BAD = error("port_invalid", "port: 0 is not a TCP port", "Use a number from 1 to 65535")
ODD = warning("no_api_key", "chat has no api_key", "Set one")
TYPO = error("option_unknown", "options.ctx_sise is unknown", "Did you mean ctx_size?")


def test_an_entry_of_problems() -> None:
    entry = {"code": "port_invalid", "severity": "error", "message": "port: 0 is not a TCP port", "remedy": "Use a number from 1 to 65535"}
    assert BAD.as_dict() == entry
    assert type(BAD.as_dict()["severity"]) is str


def test_errors_and_warnings_are_told_apart() -> None:
    assert errors([BAD, ODD, TYPO]) == [BAD, TYPO]
    assert warnings([BAD, ODD, TYPO]) == [ODD]


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        ([BAD, ODD], "port: 0 is not a TCP port. Use a number from 1 to 65535."),
        ([TYPO], "options.ctx_sise is unknown. Did you mean ctx_size?"),
        (
            [BAD, TYPO],
            "2 problems:\n- port: 0 is not a TCP port. Use a number from 1 to 65535.\n- options.ctx_sise is unknown. Did you mean ctx_size?",
        ),
    ],
)
def test_a_failure_tells_every_error_once(problems: list, message: str) -> None:
    assert failure_message(problems) == message
