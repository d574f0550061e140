# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools" / "unpack_collections.py"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A distribution of three collections, of which the first depends on the second."""
    path = tmp_path / "ansible-1-py3-none-any.whl"
    with ZipFile(path, "w") as file:
        for name, needs in (("docker", {"community.filter": ">=1"}), ("filter", {}), ("other", {})):
            directory = f"ansible_collections/community/{name}"
            file.writestr(f"{directory}/MANIFEST.json", json.dumps({"collection_info": {"dependencies": needs}}))
            file.writestr(f"{directory}/plugins/modules/{name}.py", "")
    return path


def unpack(wheel: Path, target: Path, *collections: str) -> subprocess.CompletedProcess[str]:
    target.mkdir(exist_ok=True)
    return subprocess.run([sys.executable, TOOL, wheel, target, *collections], capture_output=True, text=True, check=False)


def test_what_is_wanted_comes_with_what_it_needs_and_replaces_what_was_there(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "collections"
    stale = target / "ansible_collections" / "community" / "docker" / "plugins" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert unpack(wheel, target, "community.docker").returncode == 0
    found = {str(path.relative_to(target / "ansible_collections" / "community")) for path in target.rglob("*") if path.is_file()}
    assert found == {"docker/MANIFEST.json", "docker/plugins/modules/docker.py", "filter/MANIFEST.json", "filter/plugins/modules/filter.py"}


def test_a_collection_that_is_not_there_is_named(wheel: Path, tmp_path: Path) -> None:
    result = unpack(wheel, tmp_path / "collections", "community.none")
    assert (result.returncode, result.stderr) == (1, "ansible-1-py3-none-any.whl has no collection community.none\n")
