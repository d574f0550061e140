# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.baremetal.llm.plugins.module_utils._table import render


def test_columns_are_aligned_and_lines_end_without_blanks() -> None:
    assert render(["NAME", "SPEED", "NOTE"], [["a-longer-name", "9.5", ""], ["b", "10241.0", "slow"]], numeric={"SPEED"}) == [
        "NAME             SPEED  NOTE",
        "a-longer-name      9.5",
        "b              10241.0  slow",
    ]


def test_a_table_without_rows_is_its_heading() -> None:
    assert render(["A", "B"], []) == ["A  B"]
