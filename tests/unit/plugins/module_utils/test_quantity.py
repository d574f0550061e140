# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import Amount, show_bytes, show_gib, show_mib, total

GIB = 2**30


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.00 KiB"),
        (1.75 * GIB, "1.75 GiB"),
        (9.994 * GIB, "9.99 GiB"),
        (9.996 * GIB, "10.0 GiB"),
        (22.488 * GIB, "22.5 GiB"),
        (99.96 * GIB, "100 GiB"),
        (1023 * GIB, "1023 GiB"),
        (5000 * 1024 * GIB, "5000 TiB"),
        (-2.3 * GIB, "-2.30 GiB"),
        (Amount(), "0 bytes"),
        (Amount(GIB), "1.00 GiB"),
        (Amount(GIB, complete=False), "≥ 1.00 GiB"),
        (Amount(complete=False), "unknown"),
    ],
)
def test_bytes_as_people_read_them(count: float | Amount | None, text: str) -> None:
    assert show_bytes(count) == text


@pytest.mark.parametrize(
    ("mib", "text", "column"),
    [
        (None, "unknown", "unknown"),
        (0, "0 bytes", "0.00"),
        (512, "512 MiB", "0.50"),
        (Amount(1792), "1.75 GiB", "1.75"),
        (Amount(1792, complete=False), "≥ 1.75 GiB", "≥ 1.75"),
        (Amount(complete=False), "unknown", "unknown"),
        (-1024, "-1.00 GiB", "-1.00"),
    ],
)
def test_mebibytes_alone_and_in_a_column(mib: float | Amount | None, text: str, column: str) -> None:
    assert (show_mib(mib), show_gib(mib)) == (text, column)


@pytest.mark.parametrize(
    ("terms", "amount", "exact", "empty"),
    [
        ([], Amount(0), 0, True),
        ([0, 0], Amount(0), 0, True),
        ([1, 2.5], Amount(3.5), 3.5, False),
        ([1, None], Amount(1, complete=False), None, False),
        ([None], Amount(0, complete=False), None, False),
    ],
)
def test_a_sum_with_a_term_that_is_not_known_is_not_known(
    terms: list[float | None], amount: Amount, exact: float | None, empty: bool
) -> None:
    assert total(terms) == amount
    assert (amount.exact, amount.empty) == (exact, empty)
    assert amount + Amount(complete=False) == Amount(amount.known, complete=False)
