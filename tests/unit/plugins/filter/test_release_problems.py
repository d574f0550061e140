# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.filter.release_problems import FilterModule

release_problems = FilterModule().filters()["release_problems"]
CPU = {"build_key": "c0", "backend": "cpu", "toolkit": None, "used_by": "inference-chat.service"}
CUDA_12 = {"build_key": "a12", "backend": "cuda", "toolkit": "12.8.1", "used_by": None}
CUDA_13 = {"build_key": "b13", "backend": "cuda", "toolkit": "13.0.3", "used_by": "inference-chat.service"}


@pytest.mark.parametrize(
    ("driver", "stays", "found"),
    [
        ("580.126.09", "b13", []),
        ("590.48.01", None, []),
        ("570.211.01", "a12", [("release_left_behind", "b13")]),
        ("570.211.01", "b13", [("release_unfit", "b13")]),
        ("570", "b13", [("release_unfit", "b13")]),
        ("470.256.02", "c0", [("release_left_behind", "a12"), ("release_left_behind", "b13")]),
    ],
)
def test_what_was_built_for_a_newer_driver_is_told(driver: str, stays: str | None, found: list[tuple[str, str]]) -> None:
    problems = release_problems([CPU, CUDA_12, CUDA_13], driver, stays=stays)
    assert [(problem["code"], problem["message"].split()[1]) for problem in problems] == found


def test_the_message_says_what_needs_what() -> None:
    (problem,) = release_problems([CUDA_13], "570.211.01", stays="b13")
    assert "CUDA 13.0.3" in problem["message"] and "580" in problem["message"] and "570.211.01" in problem["message"]


@pytest.mark.parametrize(("releases", "driver"), [(None, "580"), ([{}], "580"), ([CUDA_13], "newest")])
def test_what_makes_no_sense_is_refused(releases: object, driver: str) -> None:
    with pytest.raises(AnsibleFilterError):
        release_problems(releases, driver)
