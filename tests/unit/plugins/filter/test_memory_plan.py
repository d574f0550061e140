# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.filter.memory_plan import FilterModule
from ansible_collections.baremetal.llm.tests import model_blueprints as models

memory_plan = FilterModule().filters()["memory_plan"]
MISTRAL = models.mistral().info()


def test_it_is_the_plan_of_the_module() -> None:
    plan = memory_plan(MISTRAL, options={"ctx_size": 32768, "parallel": 8}, gpus=[{"name": "NVIDIA A10", "memory_mib": 23028}])

    assert plan["fits"] is True
    assert plan["gpus"][0]["kv_cache_mib"] == 4096
    assert plan["problems"] == []


def test_what_nobody_has_set_is_left_out() -> None:
    assert memory_plan(MISTRAL, options=None, gpus=None, mmproj="", resources={}, quantisations=[]) == memory_plan(MISTRAL)


@pytest.mark.parametrize("model", [None, "/srv/m.gguf", []])
def test_what_is_no_header_is_refused(model: object) -> None:
    with pytest.raises(AnsibleFilterError, match="memory_plan: model is"):
        memory_plan(model)
