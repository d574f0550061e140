# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that tools/lock_cuda_wheels.py writes, and that tool's choice of versions."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import TOOLKITS, parse_toolkit_version
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_wheels import WHEELS

TOOL = Path(__file__).resolve().parents[4] / "tools" / "lock_cuda_wheels.py"


def test_every_toolkit_is_the_same_packages_on_every_machine() -> None:
    for version, machines in WHEELS.items():
        assert sorted(machines) == ["aarch64", "x86_64"], version
        assert len({tuple((package, of) for package, of, _sha256, _size in wheels) for wheels in machines.values()}) == 1, version
        for package, _of, sha256, size in (wheel for wheels in machines.values() for wheel in wheels):
            assert package.startswith("nvidia-") and re.fullmatch("[0-9a-f]{64}", sha256) and size > 100_000, (version, package)


def test_it_holds_the_toolkits_that_a_plan_may_name() -> None:
    planned = {toolkit.version for toolkit in TOOLKITS if toolkit.pypi}
    assert {parse_toolkit_version(version)[:2] for version in WHEELS} == planned


def test_versions_are_kept_and_the_newest_patch_of_each_minor_is_added() -> None:
    tool = runpy.run_path(str(TOOL))
    tool["chosen"].__globals__["in_the_table"] = lambda: {"13.0.2"}
    offered = ["13.1.10", "13.1.9", "13.0.3.0", "13.0.2", "12.9.2.0"]
    assert tool["chosen"](offered, set()) == {"13.0.2": "13.0.2", "13.0.3": "13.0.3.0", "13.1.10": "13.1.10"}
    assert tool["chosen"](offered, {"13.1.9"}) == {"13.1.9": "13.1.9"}


def test_the_table_is_as_the_tool_writes_it() -> None:
    tool = runpy.run_path(str(TOOL))
    assert tool["rendered"](WHEELS) == tool["TABLE"].read_text("utf-8")
    assert tool["in_the_table"]() == set(WHEELS)
