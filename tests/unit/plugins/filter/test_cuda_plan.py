# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.filter.cuda_plan import FilterModule

cuda_plan = FilterModule().filters()["cuda_plan"]


def test_it_is_the_plan_of_the_module() -> None:
    plan = cuda_plan([{"name": "NVIDIA A10", "index": 0}, {"compute_capability": "12.0"}], toolkit_version="13.0", driver_version="580")

    assert plan["cuda_architectures"] == ["86-real", "120a-real"]
    assert plan["toolkit"]["chosen"] == "13.0"
    assert plan["problems"] == []


def test_conflicts_are_data() -> None:
    plan = cuda_plan([{"name": "NVIDIA GeForce RTX 5090"}], toolkit_version="12.2")

    assert [problem["code"] for problem in plan["problems"]] == ["toolkit_too_old"]


@pytest.mark.parametrize("gpus", [None, "NVIDIA A10", ["NVIDIA A10"]])
def test_what_is_no_list_of_gpus_is_refused(gpus: object) -> None:
    with pytest.raises(AnsibleFilterError, match="list of dicts"):
        cuda_plan(gpus)


def test_what_cannot_be_understood_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="driver_version is 'newest'"):
        cuda_plan([{"name": "NVIDIA A10"}], driver_version="newest")
