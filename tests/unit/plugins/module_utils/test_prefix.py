# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import ReleaseStore
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_store import ToolkitStore


@pytest.mark.parametrize(("store", "example"), [(ReleaseStore, "/opt/llama.cpp"), (ToolkitStore, "/opt/cuda")])
@pytest.mark.parametrize("prefix", ["/", "/usr", "relative/path", "/opt/../etc/x"])
def test_a_prefix_that_can_only_be_a_slip(prefix: str, store: type[ReleaseStore | ToolkitStore], example: str) -> None:
    with pytest.raises(UserError, match=f"^prefix: {prefix} is refused; .* such as {example}$"):
        store(prefix).check_prefix()


@pytest.mark.parametrize("store", [ReleaseStore, ToolkitStore])
def test_a_prefix_that_is_not_there_yet(store: type[ReleaseStore | ToolkitStore]) -> None:
    store("/opt/of-no-host/x").check_prefix()
