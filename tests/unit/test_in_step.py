# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said in two places is the same in both."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.template import Templar, trust_as_template
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_wheels import WHEELS
from ansible_collections.baremetal.llm.plugins.module_utils._service import KEYS

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
ROLES = sorted(path.parent.name for path in ROOT.glob("roles/*/meta"))
DEFAULT_TOOLKIT = "13.0.3"
LINK = re.compile(r"\[[^]\n]*\]\(([^)\s]+)\)")


def load(path: str) -> dict[str, object]:
    data = yaml.safe_load((ROOT / path).read_text("utf-8"))
    assert isinstance(data, dict)
    return data


def markdown_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_every_module_is_in_the_action_group() -> None:
    assert load("meta/runtime.yml")["action_groups"] == {"llm": MODULES}


def test_every_module_and_role_has_its_page_and_every_page_its_source() -> None:
    assert sorted(path.stem for path in ROOT.glob("docs/modules/*.md")) == MODULES
    assert sorted(path.parent.name for path in ROOT.glob("roles/*/README.md")) == ROLES


def test_the_collection_needs_the_ansible_that_it_is_tested_with() -> None:
    locked = re.search(r"^ansible-core==(\d+\.\d+)\.", (ROOT / "requirements/runtime.txt").read_text("utf-8"), re.MULTILINE)
    assert locked
    assert load("meta/runtime.yml")["requires_ansible"] == f">={locked[1]}.0"
    assert [path.name for path in ROOT.glob("tests/sanity/ignore-*.txt")] in ([], [f"ignore-{locked[1]}.txt"])


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_of_a_role_name_the_same_variables(role: str) -> None:
    entry_points = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    assert isinstance(entry_points, dict)
    specified = {name: option for spec in entry_points.values() for name, option in spec.get("options", {}).items()}
    defaults_file = ROOT / "roles" / role / "defaults" / "main.yml"
    defaults = yaml.safe_load(defaults_file.read_text("utf-8")) if defaults_file.is_file() else {}
    assert {name: option.get("default") for name, option in specified.items() if "default" in option} == defaults


def facts(keys: Mapping[str, Any]) -> dict[str, object]:
    """Without what is only to be read, and what is only required of a service that is to run."""
    parts = ("type", "elements", "choices", "default", "no_log")
    return {name: ([key.get(part) for part in parts], facts(key.get("options", {}))) for name, key in keys.items()}


def test_the_role_and_the_module_know_the_same_keys_of_a_service() -> None:
    described: Any = load("roles/inference/meta/argument_specs.yml")
    assert facts(described["argument_specs"]["main"]["options"]["inference_services"]["options"]) == facts(KEYS)


@pytest.mark.parametrize(
    ("given", "version", "root", "known"),
    [
        ({}, DEFAULT_TOOLKIT, f"/opt/cuda/{DEFAULT_TOOLKIT}", DEFAULT_TOOLKIT),
        ({"cuda_toolkit_version": "13.2.2"}, "13.2.2", "/opt/cuda/13.2.2", "13.2.2"),
        ({"cuda_toolkit_version": "13.1.2", "cuda_toolkit_prefix": "/srv/cuda"}, "13.1.2", "/srv/cuda/13.1.2", "13.1.2"),
        ({"cuda_toolkit_source": "apt", "cuda_toolkit_version": "12.8.1"}, "12.8.1", "/usr/local/cuda-12.8", ""),
        ({"cuda_toolkit_source": "apt", "cuda_toolkit_version": 12.8}, 12.8, "/usr/local/cuda-12.8", ""),
        ({"cuda_toolkit_source": "apt"}, DEFAULT_TOOLKIT, "/usr/local/cuda-13.0", ""),
        ({"cuda_toolkit_source": "existing", "cuda_toolkit_root": "/usr/local/cuda"}, "", "/usr/local/cuda", ""),
        ({"cuda_toolkit_source": "existing", "cuda_toolkit_root": "/c", "cuda_toolkit_version": "12.9"}, "12.9", "/c", ""),
        ({"llama_cpp_source": {"kind": "prebuilt"}}, "", f"/opt/cuda/{DEFAULT_TOOLKIT}", DEFAULT_TOOLKIT),
    ],
)
def test_the_toolkit_that_is_checked_is_the_one_that_is_built_with(
    given: dict[str, object], version: object, root: str, known: object
) -> None:
    variables: dict[str, object] = {"llama_cpp_backend": "cuda"}
    for path in ("roles/cuda_toolkit/defaults/main.yml", "roles/llama_cpp/defaults/main.yml", "roles/nvidia_driver/vars/main.yml"):
        variables |= {name: trust_as_template(value) if isinstance(value, str) else value for name, value in load(path).items()}
    templar = Templar(variables={**variables, **given, "llama_cpp_backend": "cuda"})

    def told(name: str) -> object:
        return templar.template(trust_as_template("{{ " + name + " }}"))

    assert [told("__nvidia_driver_toolkit"), told("llama_cpp_cuda_root"), told("llama_cpp_cuda_version")] == [version, root, known]


def test_the_default_toolkit_has_known_wheels() -> None:
    assert DEFAULT_TOOLKIT in WHEELS


@pytest.mark.parametrize("page", markdown_files())
def test_links_between_files_lead_somewhere(page: str) -> None:
    links = [link.partition("#")[0] for link in LINK.findall((ROOT / page).read_text("utf-8")) if "://" not in link]
    assert [link for link in links if link and not (ROOT / page).parent.joinpath(link).exists()] == []
