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
    images={"vllm/vllm-openai:v0.33.0": f"sha256:{SHA256}", "debian:latest": f"sha256:{SHA256}"},
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


def served(image: str | None, **service: Any) -> dict[str, Any]:
    raw = {"name": "mistral", "engine": "vllm", "manager": "compose", "model": {"file": "/srv/mistral"}, **service}
    return {"host": "vllm1", "services": [{**raw, "image": image} if image else raw]}


@pytest.mark.parametrize(
    ("text", "image", "settled", "said"),
    [
        (TEXT, "vllm/vllm-openai:v0.33.0", f"vllm/vllm-openai:v0.33.0@sha256:{SHA256}", ""),
        (TEXT, "debian", f"debian:latest@sha256:{SHA256}", ""),
        (TEXT, f"vllm/vllm-openai:v0.33.0@sha256:{'0' * 64}", None, ""),
        (None, f"vllm/vllm-openai@sha256:{'0' * 64}", None, ""),
        (TEXT, "vllm/vllm-openai:v0.34.0", None, "mistral: the image vllm/vllm-openai:v0.34.0 is not in lock.yml, so it can be another"),
        (None, "debian", None, "mistral: the image debian:latest is not locked, for there is no lock.yml"),
    ],
)
def test_images(text: str | None, image: str, settled: str | None, said: str) -> None:
    for required, severity in ((False, "warning"), (True, "error")):
        result = deploy_lock(text, served(image), "lock.yml", required)
        assert result["services"] == ({"mistral": {"image": settled}} if settled else {})
        assert codes(result) == ([("image_not_locked", severity)] if said else [])
        assert not said or (said in result["problems"][0]["message"] and "playbooks/lock.yml" in result["problems"][0]["remedy"])


def test_a_model_and_an_image_of_one_service() -> None:
    wanted = served("debian", engine="llama_server", model={"repo_id": "acme/tiny", "file": "tiny.gguf"})
    assert deploy_lock(TEXT, wanted)["services"] == {"mistral": {"model": {"revision": COMMIT}, "image": f"debian:latest@sha256:{SHA256}"}}


def test_the_image_of_services_without_one() -> None:
    wanted = {**served(None, engine="llama_server"), "base_image": "debian"}
    result = deploy_lock(TEXT, wanted, required=True)
    assert (result["base_image"], result["services"], result["problems"]) == (f"debian:latest@sha256:{SHA256}", {}, [])
    result = deploy_lock(None, wanted, "lock.yml", required=True)
    assert (result["base_image"], codes(result)) == ("debian", [("image_not_locked", "error")])


def test_a_whole_repository() -> None:
    model = LockedModel(COMMIT, tuple(LockedFile(path, 3, SHA256) for path in ("config.json", "model.safetensors")))
    text = render(DeployLock(models={"acme/whole@main": LockEntry(model, ("other",))}))
    result = deploy_lock(text, served("debian", model={"repo_id": "acme/whole"}))
    assert result["models"]["mistral"] == {"repo_id": "acme/whole", "files": ["@vllm"], "revision": "main", "expected": model.as_dict()}
    mistral = deploy_lock(text, served("debian", model={"repo_id": "acme/whole"}, options={"load_format": "mistral"}), "lock.yml")
    assert mistral["models"]["mistral"]["revision"] == COMMIT and "expected" not in mistral["models"]["mistral"]
    assert codes(mistral)[0] == ("model_not_locked", "warning")
    assert "lock.yml has acme/whole@main without all of @vllm-mistral" in mistral["problems"][0]["message"]
