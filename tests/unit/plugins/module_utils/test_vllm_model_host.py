# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _vllm_model_host as model_host
from ansible_collections.baremetal.llm.plugins.module_utils._model_directory import files
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Severity
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_model import located

COMMIT = "0123456789abcdef0123" * 2
FILES = {"config.json": "{}", "model.safetensors": "weights", "tokenizer.json": "{}"}
ME = pwd.getpwuid(os.geteuid()).pw_name
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")


def service(model: dict[str, Any], **options: Any) -> Service:
    image = {"engine": "vllm", "manager": "compose", "image": "vllm/vllm-openai:v0.33.0"}
    parsed, problems = parse({"name": "chat", "model": model, "port": 8000, "options": options, **image})
    assert parsed is not None and problems == []
    return parsed


def write(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names or FILES:
        (directory / name).write_text(FILES[name], encoding="utf-8")
    return directory


def of_hub(tmp_path: Path, *names: str, revision: str = "main") -> Service:
    """The service with its model in a cache of the hub, as far as these files go."""
    repo = tmp_path / "hub" / "models--acme--tiny"
    if names:
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text(COMMIT, encoding="ascii")
        write(repo / "blobs", *names)
        snapshot = repo / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        for name in names:
            (snapshot / name).symlink_to(f"../../blobs/{name}")
    return located(service({"repo_id": "acme/tiny", "revision": revision}), str(tmp_path / "hub"))


def codes(of: Service, missing: Severity = Severity.ERROR, user: str = ME) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity.value) for problem in model_host.problems(of, user, missing)]


def test_a_repository_is_served_from_its_snapshot(tmp_path: Path) -> None:
    found = of_hub(tmp_path, *FILES)
    assert found.model.file == f"{tmp_path}/hub/models--acme--tiny/snapshots/{COMMIT}"
    assert codes(found) == [] and files(found.model.file) == sorted(FILES)


def test_a_repository_that_is_still_to_be_fetched(tmp_path: Path) -> None:
    nowhere = of_hub(tmp_path)
    assert codes(nowhere) == [("model_missing", "error")]
    assert codes(nowhere, Severity.WARNING) == [("model_missing", "warning")]
    (problem,) = model_host.problems(nowhere, ME)
    assert problem.message.startswith("model: ") and "baremetal.llm.hf_model" in problem.remedy
    begun = of_hub(tmp_path, "config.json", "tokenizer.json")
    assert codes(begun, Severity.WARNING) == [("model_incomplete", "warning")]
    assert model_host.version(begun) == "missing"


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda path: (path / "config.json").unlink(), "model_incomplete", "has no config.json, without which vLLM knows nothing"),
        (lambda path: (path / "model.safetensors").unlink(), "model_incomplete", "has no weights as safetensors. Take a model"),
        (lambda path: (path / "config.json").write_text("{"), "model_config_invalid", "config.json is not JSON"),
        (lambda path: (path / "config.json").write_text("[]"), "model_config_invalid", "config.json is not JSON"),
        (lambda path: path.rename(path.with_name("elsewhere")), "model_missing", "model.file: "),
        (lambda path: (path.rename(path.with_name("dir")), path.write_text("")), "model_not_directory", "is no directory"),
        (
            lambda path: ((path / "model.safetensors").unlink(), (path / "model.safetensors").symlink_to("/etc/hostname")),
            "model_outside",
            "is a link to /etc/hostname, outside of the directory",
        ),
    ],
)
def test_a_directory_that_cannot_be_served(tmp_path: Path, damage: Damage, code: str, said: str) -> None:
    directory = write(tmp_path / "mistral")
    found = service({"file": str(directory)})
    assert codes(found) == [] and located(found, "/nowhere") == found
    damage(directory)
    (problem,) = model_host.problems(found, ME)
    assert (problem.code, problem.severity) == (code, Severity.ERROR) and said in str(problem)


@needs_root
def test_every_file_has_to_be_readable(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:
        if not os.stat(parent).st_mode & 0o005:
            os.chmod(parent, 0o755)
    directory = write(tmp_path / "mistral")
    found = service({"file": str(directory)})
    assert codes(found, user="nobody") == codes(found, user="not-there-yet") == []
    (directory / "tokenizer.json").chmod(0o600)
    (problem,) = model_host.problems(found, "nobody")
    assert problem.code == "model_unreadable" and f"{directory}/tokenizer.json cannot be read by the user nobody" in problem.message
    directory.chmod(0o700)
    assert codes(found, user="nobody") == [("model_unreadable", "error")]
    assert codes(found, user="root") == []


def test_the_version_changes_with_any_file_that_is_read(tmp_path: Path) -> None:
    directory = write(tmp_path / "mistral")
    found = service({"file": str(directory)})
    before = model_host.version(found)
    assert before.startswith("3 files ") and model_host.version(found) == before
    (directory / "README.md").write_text("not read", encoding="utf-8")
    assert model_host.version(found) == before
    os.utime(directory / "tokenizer.json", (1, 1))
    assert model_host.version(found) != before
    (directory / "config.json").unlink()
    assert model_host.version(found) == "missing"


def test_files_are_those_that_can_be_opened(tmp_path: Path) -> None:
    directory = write(tmp_path / "mistral")
    write(directory / "sub", "config.json")
    write(directory / "sub" / "deeper", "config.json")
    (directory / "gone.json").symlink_to("nowhere")
    assert files(str(directory)) == ["config.json", "model.safetensors", "sub/config.json", "tokenizer.json"]
