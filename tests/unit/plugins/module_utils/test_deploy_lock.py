# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import (
    DeployLock,
    LockedSource,
    LockEntry,
    model_key,
    parse,
    render,
)
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import LockedFile, LockedModel, is_path, is_revision
from ansible_collections.baremetal.llm.plugins.module_utils._image import parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._source import parse_source
from hypothesis import given
from hypothesis import strategies as st

COMMIT, OTHER_COMMIT = "0123456789" * 4, "abcdef0123" * 4
SHA256 = "0123456789abcdef" * 4
DIGEST = f"sha256:{SHA256}"
FILE = {"path": "tiny.gguf", "size": 3, "sha256": SHA256}
MODEL = {"commit": COMMIT, "files": [FILE], "services": ["chat"]}
KEY = "acme/tiny@main"

LOCK = DeployLock(
    models={
        KEY: LockEntry(LockedModel(OTHER_COMMIT, (LockedFile("z.gguf", 1, SHA256), LockedFile("a b.gguf", 0, SHA256))), ("vision", "chat")),
        "acme/large@v1.0": LockEntry(LockedModel(COMMIT, (LockedFile("l.gguf", 5 << 30, SHA256),)), ()),
    },
    llama_cpp=(
        LockedSource("pypi", "llama-cpp-python", "0.3.36", SHA256),
        LockedSource("git", "https://git.example/llama.cpp", "master", OTHER_COMMIT),
        LockedSource("archive", "https://x.example/l.tar.gz", "", SHA256),
        LockedSource("prebuilt", "/srv/llama.tar", "", SHA256),
    ),
    cuda_toolkits=("13.0.3", "12.8.1"),
    nvidia_drivers=("580.126.09",),
    images={"vllm/vllm-openai:v0.33.0": DIGEST, "debian:trixie-slim": DIGEST},
)
TEXT = f"""\
lock: 1
cuda_toolkits: ["12.8.1", "13.0.3"]
images:
  "debian:trixie-slim": "{DIGEST}"
  "vllm/vllm-openai:v0.33.0": "{DIGEST}"
llama_cpp:
  - {{kind: archive, url: "https://x.example/l.tar.gz", sha256: {SHA256}}}
  - {{kind: git, repo: "https://git.example/llama.cpp", version: master, commit: {OTHER_COMMIT}}}
  - {{kind: prebuilt, path: "/srv/llama.tar", sha256: {SHA256}}}
  - {{kind: pypi, name: llama-cpp-python, version: "0.3.36", sha256: {SHA256}}}
models:
  acme/large@v1.0:
    commit: "{COMMIT}"
    files:
      - {{path: l.gguf, size: 5368709120, sha256: {SHA256}}}
    services: []
  acme/tiny@main:
    commit: {OTHER_COMMIT}
    files:
      - {{path: "a b.gguf", size: 0, sha256: {SHA256}}}
      - {{path: z.gguf, size: 1, sha256: {SHA256}}}
    services: [chat, vision]
nvidia_drivers: ["580.126.09"]
"""


def test_the_file_is_sorted_and_for_people() -> None:
    text = render(LOCK)
    header = [line for line in text.splitlines() if line.startswith(("---", "#"))]
    assert text == "\n".join([*header, TEXT])
    assert render(parse(yaml.safe_load(text), "lock")) == text
    assert parse(json.loads(json.dumps(LOCK.as_dict())), "lock").as_dict() == LOCK.as_dict()


def test_no_lock_settles_nothing() -> None:
    assert DeployLock().lookup("acme/tiny") is None
    assert yaml.safe_load(render(DeployLock())) == {"lock": 1}
    assert parse({"lock": 1}, "lock") == DeployLock()


def test_a_model_is_found_as_the_inventory_asks_for_it() -> None:
    found = LOCK.lookup("acme/tiny")
    assert found and found.commit == OTHER_COMMIT
    assert LOCK.lookup("acme/tiny", "main") == found
    assert LOCK.lookup("acme/tiny", OTHER_COMMIT) is None
    assert LOCK.lookup("acme/large") is None
    assert model_key("acme/tiny", "") == KEY


@pytest.mark.parametrize(
    ("source", "digest"),
    [
        ({"kind": "pypi", "version": "0.3.36"}, SHA256),
        ({"kind": "pypi", "version": "0.3.36", "sha256": SHA256}, SHA256),
        ({"kind": "pypi", "version": "0.3.36", "sha256": "f" * 64}, None),
        ({"kind": "pypi", "version": "0.3.35"}, None),
        ({"kind": "git", "repo": "https://git.example/llama.cpp", "version": "master", "subdirectory": "x"}, OTHER_COMMIT),
        ({"kind": "git", "repo": "https://me:secret@git.example/llama.cpp", "version": "master"}, None),
        ({"kind": "git", "repo": "https://git.example/llama.cpp", "version": COMMIT}, None),
        ({"kind": "archive", "url": "https://x.example/l.tar.gz", "sha256": SHA256}, SHA256),
        ({"kind": "prebuilt", "path": "/srv/llama.tar", "version": "b1", "sha256": SHA256}, SHA256),
    ],
)
def test_a_source_is_found_as_the_inventory_describes_it(source: dict[str, str | None], digest: str | None) -> None:
    found = LOCK.lookup_source(parse_source(source))
    assert (found and found.digest) == digest


def test_a_password_stays_out_of_the_lock() -> None:
    source = parse_source({"kind": "git", "repo": "https://me:secret@git.example/llama.cpp", "version": "master"})
    locked = LockedSource.of(source, COMMIT)
    assert locked.is_of(source)
    assert "secret" not in render(DeployLock(llama_cpp=(locked,)))


@pytest.mark.parametrize(
    ("wanted", "settled"),
    [
        ("vllm/vllm-openai:v0.33.0", f"vllm/vllm-openai:v0.33.0@{DIGEST}"),
        ("debian:trixie-slim", f"debian:trixie-slim@{DIGEST}"),
        (f"debian:trixie-slim@sha256:{'f' * 64}", f"debian:trixie-slim@sha256:{'f' * 64}"),
        ("debian", "debian"),
        ("vllm/vllm-openai:v0.34.0", "vllm/vllm-openai:v0.34.0"),
    ],
)
def test_an_image_gets_its_digest_and_keeps_its_tag(wanted: str, settled: str) -> None:
    image = parse_image(wanted)
    assert image and str(LOCK.settle_image(image)) == settled


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (None, "deploy.lock.yml: None is not a mapping"),
        ("<<<<<<< HEAD", "deploy.lock.yml: '<<<<<<< HEAD' is not a mapping"),
        ({}, "deploy.lock.yml: lock: None is not the format 1 that is known here; restore the file from version control, or remove it"),
        ({"lock": 2}, "lock: 2 is not the format 1 that is known here; a newer version of this collection"),
        ({"lock": 1, "model": {}}, "deploy.lock.yml: 'model' is not a key that a lock has; it has lock, cuda_toolkits,"),
        ({"lock": 1, "models": [KEY]}, "models: ['acme/tiny@main'] is not a mapping"),
        ({"lock": 1, "models": {KEY: None}}, "models.acme/tiny@main: None is not a mapping"),
        ({"lock": 1, "models": {"acme/tiny": MODEL}}, "'acme/tiny' names no model; write it as ORGANISATION/NAME@REVISION"),
        ({"lock": 1, "models": {"tiny@main": MODEL}}, "'tiny@main' names no model"),
        ({"lock": 1, "models": {KEY: {**MODEL, "commit": "main"}}}, "models.acme/tiny@main.commit: 'main' is not a commit but the name of"),
        ({"lock": 1, "models": {KEY: {**MODEL, "commit": 123}}}, "models.acme/tiny@main.commit: '123' is not a commit"),
        ({"lock": 1, "models": {f"acme/tiny@{OTHER_COMMIT}": MODEL}}, f"{COMMIT} is not the commit that the key names"),
        ({"lock": 1, "models": {KEY: {**MODEL, "sha": 1}}}, "models.acme/tiny@main: 'sha' is not a key"),
        ({"lock": 1, "models": {KEY: {**MODEL, "files": []}}}, "models.acme/tiny@main.files: there are none"),
        ({"lock": 1, "models": {KEY: {**MODEL, "files": "a.gguf"}}}, "models.acme/tiny@main.files: 'a.gguf' is not a list"),
        ({"lock": 1, "models": {KEY: {**MODEL, "files": ["a.gguf"]}}}, "models.acme/tiny@main.files[0]: 'a.gguf' is not a mapping"),
        ({"lock": 1, "models": {KEY: {**MODEL, "files": [FILE, FILE]}}}, "models.acme/tiny@main.files: 'tiny.gguf' is there twice"),
        ({"lock": 1, "models": {KEY: {**MODEL, "files": [{**FILE, "path": "../x"}]}}}, "files[0].path: '../x' is not a path"),
        ({"lock": 1, "models": {KEY: {**MODEL, "files": [{**FILE, "size": -1}]}}}, "files[0].size: -1 is not a number of bytes"),
        ({"lock": 1, "models": {KEY: {**MODEL, "files": [{**FILE, "sha256": "abc"}]}}}, "files[0].sha256: 'abc' is not a sha256"),
        ({"lock": 1, "models": {KEY: {**MODEL, "services": [1]}}}, "models.acme/tiny@main.services[0]: 1 is not text"),
        ({"lock": 1, "llama_cpp": {}}, "llama_cpp: {} is not a list"),
        ({"lock": 1, "llama_cpp": [{"kind": "svn"}]}, "llama_cpp[0].kind: 'svn' is none of archive, git, prebuilt, pypi"),
        ({"lock": 1, "llama_cpp": [{"kind": "git", "commit": COMMIT}]}, "llama_cpp[0].repo: None is not text"),
        (
            {"lock": 1, "llama_cpp": [{"kind": "git", "repo": "r", "commit": "master"}]},
            "llama_cpp[0].commit: 'master' is not 40 hexadecimal",
        ),
        ({"lock": 1, "llama_cpp": [{"kind": "pypi", "name": "n", "sha256": COMMIT}]}, "is not 64 hexadecimal digits"),
        (
            {"lock": 1, "llama_cpp": [{"kind": "pypi", "name": "n", "version": 1.0, "sha256": SHA256}]},
            "llama_cpp[0].version: 1.0 is not text",
        ),
        ({"lock": 1, "llama_cpp": [{"kind": "pypi", "repo": "n"}]}, "llama_cpp[0]: 'repo' is not a key that a lock has; it has kind, name"),
        ({"lock": 1, "cuda_toolkits": [13.0]}, "cuda_toolkits[0]: 13.0 is not text (a number takes quotes)"),
        ({"lock": 1, "images": ["a"]}, "images: ['a'] is not a mapping"),
        ({"lock": 1, "images": {"debian": DIGEST}}, "images.debian: 'debian' names no image; write it as NAME:TAG"),
        ({"lock": 1, "images": {"Debian:1": DIGEST}}, "images.Debian:1: 'Debian:1' names no image"),
        ({"lock": 1, "images": {f"debian:1@{DIGEST}": DIGEST}}, "names no image"),
        ({"lock": 1, "images": {"debian:1": SHA256}}, "is not sha256: with 64 hexadecimal digits"),
        ({"lock": 1, "images": {"debian:1": None}}, "images.debian:1: None is not sha256:"),
        ({"lock": 1, "nvidia_drivers": "580"}, "nvidia_drivers: '580' is not a list"),
    ],
)
def test_each_fault_is_one_error_that_names_file_key_and_value(raw: object, said: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(raw, "deploy.lock.yml")
    assert said in refused.value.msg and refused.value.msg.startswith("deploy.lock.yml: ")


def texts(**arguments: Any) -> st.SearchStrategy[str]:
    """Anything that a hub or an inventory may name something, what YAML takes for something else included."""
    odd = st.sampled_from(
        ["on", "No", "null", "12", "1e5", "0x10", "1_000", "2026-01-01", "~", "=", "<<", "- a", "a: b", "{a}", "#", "'", '"']
    )
    return odd | st.text(min_size=1, max_size=20, **arguments)


digits = st.sampled_from("0123456789abcdef")
commits, sha256s = (st.lists(digits | st.just("0"), min_size=n, max_size=n).map("".join) for n in (40, 64))
files = st.builds(LockedFile, texts().filter(is_path), st.integers(0, 2**63), sha256s)
models = st.builds(LockedModel, commits, st.lists(files, min_size=1, max_size=3, unique_by=lambda file: file.path).map(sorted).map(tuple))
names = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_.]{0,8}[A-Za-z0-9_])?", fullmatch=True).filter(lambda name: ".." not in name)
keys = st.builds(
    lambda owner, name, revision: f"{owner}/{name}@{revision}",
    names,
    names,
    texts().filter(lambda text: is_revision(text) and len(text) < 40),
)
sources = st.builds(LockedSource, st.just("git"), texts(), texts(), commits) | st.builds(
    LockedSource, st.sampled_from(["pypi", "archive", "prebuilt"]), texts(), texts() | st.just(""), sha256s
)
image_names = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
locks = st.builds(
    DeployLock,
    images=st.dictionaries(image_names, sha256s.map(lambda digits: f"sha256:{digits}"), max_size=3),
    models=st.dictionaries(keys, st.builds(LockEntry, models, st.lists(texts(), max_size=3).map(sorted).map(tuple)), max_size=3),
    llama_cpp=st.lists(sources, max_size=3).map(sorted).map(tuple),
    cuda_toolkits=st.lists(texts(), max_size=2).map(sorted).map(tuple),
    nvidia_drivers=st.lists(texts(), max_size=2).map(sorted).map(tuple),
)


@given(locks)
def test_what_is_written_is_read_again(lock: DeployLock) -> None:
    text = render(lock)
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        read = parse(yaml.load(text, Loader=loader), "lock")
        assert read == lock and render(read) == text
