# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said in two places is the same in both."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.template import Templar, trust_as_template
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_wheels import WHEELS

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
ROLES = sorted(path.parent.name for path in ROOT.glob("roles/*/meta"))
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


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"cuda_toolkit_version": "13.2.2"},
        {"cuda_toolkit_version": "13.1.2", "cuda_toolkit_prefix": "/srv/cuda"},
        {"cuda_toolkit_source": "apt", "cuda_toolkit_version": "12.8.1"},
        {"cuda_toolkit_source": "apt", "cuda_toolkit_version": 12.8},
        {"cuda_toolkit_source": "apt"},
        {"cuda_toolkit_source": "existing"},
        {"cuda_toolkit_source": "existing", "cuda_toolkit_root": "/usr/local/cuda"},
    ],
)
def test_llama_cpp_builds_with_the_toolkit_that_cuda_toolkit_installs(given: dict[str, object]) -> None:
    def templated(role: str) -> dict[str, object]:
        defaults = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in load(role).items()}
        templar = Templar(variables={**defaults, **given})
        return {name: templar.template(value) for name, value in defaults.items() if "cuda" in name} | given

    toolkit, engine = templated("roles/cuda_toolkit/defaults/main.yml"), templated("roles/llama_cpp/defaults/main.yml")
    assert engine["llama_cpp_cuda_root"] == toolkit["cuda_toolkit_root"]
    known = toolkit["cuda_toolkit_version"] if toolkit["cuda_toolkit_source"] == "pypi" else ""
    assert engine["llama_cpp_cuda_version"] == known
    assert load("roles/cuda_toolkit/defaults/main.yml")["cuda_toolkit_version"] in WHEELS
    # What is checked before anything is touched is what is installed then; of a toolkit that is there, only what is said of it is known.
    checked = {
        name: value for name, value in load("roles/nvidia_driver/vars/main.yml").items() if "driver_co" in name or "driver_to" in name
    }
    templar = Templar(
        variables={**{name: trust_as_template(str(value)) for name, value in checked.items()}, **given, "llama_cpp_backend": "cuda"}
    )
    known = "" if given.get("cuda_toolkit_source") == "existing" else toolkit["cuda_toolkit_version"]
    assert str(templar.template(trust_as_template("{{ __nvidia_driver_toolkit }}"))) == str(known)


@pytest.mark.parametrize("page", markdown_files())
def test_links_between_files_lead_somewhere(page: str) -> None:
    links = [link.partition("#")[0] for link in LINK.findall((ROOT / page).read_text("utf-8")) if "://" not in link]
    assert [link for link in links if link and not (ROOT / page).parent.joinpath(link).exists()] == []
