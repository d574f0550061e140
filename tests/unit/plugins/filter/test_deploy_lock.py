# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.filter.deploy_lock import deploy_lock
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock, LockedSource, LockEntry, render
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import LockedFile, LockedModel

COMMIT, SHA256 = "0123456789abcdef0123" * 2, "0123456789abcdef" * 4
FILES = ("tiny.gguf", "mmproj.gguf", "split-00001-of-00002.gguf", "split-00002-of-00002.gguf")
MODEL = LockedModel(COMMIT, tuple(LockedFile(path, 3, SHA256) for path in FILES))
LOCK = DeployLock(
    models={"acme/tiny@main": LockEntry(MODEL, ("chat", "all")), f"acme/tiny@{COMMIT}": LockEntry(MODEL, ("chat",))},
    llama_cpp=(LockedSource("git", "/srv/llama.cpp", "master", COMMIT), LockedSource("pypi", "llama-cpp-python", "0.3.36", SHA256)),
    cuda_toolkits=("13.0.3",),
    nvidia_drivers=("580.126.09",),
)
TEXT = render(LOCK)
EXPECTED = MODEL.as_dict()
GIT = {"kind": "git", "repo": "/srv/llama.cpp", "version": "master"}


def wanted(service: str = "chat", model: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    services = [{"name": service, "model": {"repo_id": "acme/tiny", **model}}] if model is not None else []
    return {"host": "gpu1", "services": services, **others}


def codes(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem["code"], problem["severity"]) for problem in result["problems"]]


@pytest.mark.parametrize(
    ("service", "model", "settled"),
    [
        ("chat", {"file": "tiny.gguf"}, {"revision": "main", "files": ["tiny.gguf"], "expected": EXPECTED}),
        ("other", {"file": "tiny.gguf", "mmproj": "mmproj.gguf"}, {"revision": "main", "files": list(FILES[:2]), "expected": EXPECTED}),
        ("chat", {"file": FILES[2], "mmproj": None}, {"revision": "main", "files": [FILES[2]], "expected": EXPECTED}),
        ("chat", {"file": "tiny.gguf", "revision": COMMIT}, {"revision": COMMIT, "files": ["tiny.gguf"], "expected": EXPECTED}),
        ("all", {}, {"revision": "main", "files": [], "expected": EXPECTED}),
    ],
)
def test_a_locked_model(service: str, model: dict[str, Any], settled: dict[str, Any]) -> None:
    result = deploy_lock(TEXT, wanted(service, model), required=True)
    assert result["problems"] == []
    assert result["models"] == {service: {"repo_id": "acme/tiny", **settled}}
    assert result["services"] == {service: {"model": {"revision": COMMIT}}}
    assert result["lock"] == LOCK.as_dict()


@pytest.mark.parametrize(
    ("text", "service", "model", "revision", "said"),
    [
        (None, "chat", {"file": "tiny.gguf"}, "main", "chat: acme/tiny@main is not locked, for there is no lock.yml, so nothing proves"),
        (TEXT, "chat", {"file": "tiny.gguf", "revision": "v2"}, "v2", "chat: acme/tiny@v2 is not in lock.yml"),
        # The commit is known, and two services of one repository are never of two commits.
        (TEXT, "chat", {"file": "q8.gguf"}, COMMIT, "chat: lock.yml has acme/tiny@main without all of q8.gguf"),
        (TEXT, "new", {}, COMMIT, "new: lock.yml has acme/tiny@main without all of its files"),
        (TEXT, "chat", {"file": "split-00001-of-00003.gguf"}, COMMIT, "without all of split-00001-of-00003.gguf"),
    ],
)
def test_a_model_that_is_not_locked(text: str | None, service: str, model: dict[str, Any], revision: str, said: str) -> None:
    result = deploy_lock(text, wanted(service, model), "lock.yml")
    assert codes(result) == [("model_not_locked", "warning")]
    assert said in result["problems"][0]["message"] and "playbooks/lock.yml" in result["problems"][0]["remedy"]
    assert result["models"][service]["revision"] == revision and "expected" not in result["models"][service]
    assert result["services"] == {service: {"model": {"revision": COMMIT}} if revision == COMMIT else {}}
    assert codes(deploy_lock(text, wanted(service, model), required=True)) == [("model_not_locked", "error")]


@pytest.mark.parametrize(
    ("text", "source", "settled", "problem"),
    [
        (TEXT, GIT, {**GIT, "version": COMMIT}, None),
        (TEXT, {**GIT, "version": "b9999"}, {**GIT, "version": "b9999"}, "source_not_locked"),
        (None, GIT, GIT, "source_not_locked"),
        (TEXT, {"kind": "pypi", "version": "0.3.36"}, {"kind": "pypi", "version": "0.3.36", "sha256": SHA256}, None),
        (None, {"kind": "pypi", "version": "0.3.36", "sha256": SHA256}, {"kind": "pypi", "version": "0.3.36", "sha256": SHA256}, None),
        (TEXT, {"kind": "archive", "file": "/a", "sha256": SHA256}, {"kind": "archive", "file": "/a", "sha256": SHA256}, "lock_outdated"),
        (TEXT, {"kind": "gti"}, {"kind": "gti"}, None),  # of which the build tells
    ],
)
def test_the_sources_of_llama_cpp(text: str | None, source: dict[str, str], settled: dict[str, str], problem: str | None) -> None:
    result = deploy_lock(text, wanted(llama_cpp_source=source))
    assert result["llama_cpp_source"] == settled
    assert [code for code, _severity in codes(result)] == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"cuda_toolkit": "13.0.3", "nvidia_driver": "580.126.09"}, []),
        ({"cuda_toolkit": "13.2.2"}, ["lock.yml is older than the inventory: cuda_toolkit_version is 13.2.2 now"]),
        ({"nvidia_driver": "590.1"}, ["lock.yml is older than the inventory: nvidia_driver_version is 590.1 now"]),
    ],
)
def test_other_versions_than_the_lock_knows(versions: dict[str, str], said: list[str]) -> None:
    problems = deploy_lock(TEXT, wanted(**versions), "lock.yml", True)["problems"]
    assert [problem["message"] for problem in problems] == said
    assert {(problem["code"], problem["severity"]) for problem in problems} <= {("lock_outdated", "warning")}
    assert deploy_lock(None, wanted(**versions))["problems"] == []


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (
            "",
            "lock.yml: None is not a mapping of keys to values",
            "Restore the file from version control, or remove it and run playbooks/lock.yml",
        ),
        (
            "lock: 1\n<<<<<<< HEAD\n",
            "lock.yml: line 3 is not YAML (could not find expected ':'), as after a merge that left its marks",
            "Restore",
        ),
        ("lock: 1\nmodels: \x01\n", "lock.yml: it holds characters that YAML does not have", "Restore the file"),
        ("lock: 2\n", "lock.yml: lock: 2 is not the format 1 that is known here; a newer version of", "Update the collection here"),
        (TEXT.replace(COMMIT, "main", 1), "lock.yml: llama_cpp[0].commit: 'main' is not 40 hexadecimal digits", "Restore the file"),
    ],
)
def test_a_broken_lock_is_one_error_and_settles_nothing(text: str, message: str, remedy: str) -> None:
    result = deploy_lock(text, wanted(model={"file": "tiny.gguf"}, llama_cpp_source=GIT), "lock.yml")
    assert codes(result) == [("lock_invalid", "error")]
    assert result["problems"][0]["message"].startswith(message) and result["problems"][0]["remedy"].startswith(remedy)
    assert (result["lock"], result["services"], result["llama_cpp_source"]) == ({}, {"chat": {}}, GIT)


def test_names_that_are_none_are_told_by_others() -> None:
    result = deploy_lock(TEXT, wanted(model={"repo_id": "no name", "file": "tiny.gguf"}), required=True)
    assert (result["problems"], result["models"]) == ([], {})
    services = ["chat", {"name": "chat", "model": None}, {"name": "path", "model": {"file": "/srv/m.gguf"}}]
    assert deploy_lock(TEXT, {"host": "gpu1", "services": services})["models"] == {}
