# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hf_model as a real process, with the hub's real clients, on a hub of this machine; needs no range host."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.tests.hub.hublib.faults import Fault
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub

from .hub_models import CLIENTS, VERSIONS, Model, client, finished, processes_of, with_client

MIB = 1 << 20
BIG = random.Random(1).randbytes(3 * MIB + 17)
SMALL = b'{"model_type": "tiny"}\n'
FILES = {"tiny-q4_k_m.gguf": BIG, "mmproj-tiny-f16.gguf": BIG[:1000], "config.json": SMALL, "original/params.json": b"{}"}
SHA256 = hashlib.sha256(BIG).hexdigest()


@pytest.fixture(scope="session")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The client that the module installs, brought by the module itself."""
    with Hub([Repository("acme/one")]) as hub:
        hub.by_name["acme/one"].commit({"a.txt": b"a"})
        model = Model(tmp_path_factory.mktemp("install"), hub.endpoint, "acme/one", client_directory=str(CLIENTS))
        assert model.done()["fetched"] == ["a.txt"]
    (place,) = CLIENTS.glob(f"{VERSIONS[0]}-py*")
    return str(place / "bin" / "python")


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest, pinned: str) -> str:
    return pinned if request.param == VERSIONS[0] else client(request.param)


@pytest.fixture
def hub() -> t.Iterator[Hub]:
    with Hub([Repository("acme/tiny")], tokens={"hf_reader": {"acme/gated", "acme/private"}, "hf_other": set()}) as hub:
        hub.by_name["acme/tiny"].commit(FILES)
        yield hub


@pytest.fixture
def repository(hub: Hub) -> Repository:
    return hub.by_name["acme/tiny"]


@pytest.fixture
def model(tmp_path: Path, hub: Hub, pinned: str) -> Model:
    return Model(tmp_path / "hub", hub.endpoint, "acme/tiny", python=pinned)


@pytest.fixture
def any_model(tmp_path: Path, hub: Hub, python: str) -> Model:
    """The same with each version of the client."""
    return Model(tmp_path / "hub", hub.endpoint, "acme/tiny", python=python)


def lock_of(repository: Repository, revision: str = "main") -> dict[str, t.Any]:
    commit = repository.resolve(revision)
    assert commit
    files = [{"path": path, "size": file.content.size, "sha256": file.content.sha256} for path, file in repository.commits[commit].items()]
    return {"commit": commit, "files": files}


def wait_until(condition: t.Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- present ------------------------------------------------------------------------------------------------------------


def test_first_run_brings_and_second_run_finds(any_model: Model, hub: Hub, repository: Repository) -> None:
    model, commit = any_model, repository.refs["main"]
    predicted = model.done(check_mode=True)
    assert not model.cache.cache_dir.exists()
    result = model.done()
    assert result["changed"] and result["commit"] == commit and result["snapshot_path"] == str(model.cache.snapshot(commit))
    assert result["files"] == lock_of(repository)["files"] and result["downloaded_bytes"] == sum(map(len, FILES.values()))
    assert {path: model.content(path) for path in FILES} == FILES
    for key in ("commit", "snapshot_path", "fetched", "downloaded_bytes"):
        assert predicted[key] == result[key], key
    assert [file["path"] for file in predicted["files"]] == sorted(FILES)
    assert result["diff"]["before"] == {"commit": None, "files": {}, "unreadable": []}
    assert result["diff"]["after"]["files"]["tiny-q4_k_m.gguf"] == SHA256

    before, asked = model.everything(), len(hub.requests)
    again = model.done(revision=commit)
    assert not again["changed"] and again["files"] == result["files"] and again["downloaded_bytes"] == 0 and "progress_file" not in again
    assert len(hub.requests) == asked, "a commit that is there and proven needs no hub"
    assert not model.done()["changed"]
    assert len(hub.requests) == asked + 1, "a branch takes one question"
    assert model.everything() == before


def test_whom_a_token_is_told(any_model: Model, hub: Hub) -> None:
    any_model.done(files=["tiny-q4_k_m.gguf"], token="hf_reader")
    assert {request.authorization for request in hub.asked(origin="hub")} == {"Bearer hf_reader"}
    # Where the large files come from is somebody else's host.
    assert {request.authorization for request in hub.asked(origin="downloads")} == {None}
    hub.requests.clear()
    any_model.done(files=["config.json"])
    assert {request.authorization for request in hub.requests} == {None}, "a token of the host's user is not used"
    assert {request.path.split("?")[0].split("/")[1] for request in hub.requests} == {"api", "acme"}, "nothing else is asked for"


READ = """\
import os, sys
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
cache, commit = sys.argv[1:]
name, there = "tiny-q4_k_m.gguf", {"cache_dir": cache, "local_files_only": True}
paths = [hf_hub_download("acme/tiny", name, revision=revision, **there) for revision in ("main", commit)]
paths.append(os.path.join(snapshot_download("acme/tiny", **there), name))
info = scan_cache_dir(cache)
assert not info.warnings, info.warnings
assert len(set(paths)) == 1 and [repo.repo_id for repo in info.repos] == ["acme/tiny"], paths
print(paths[0])
"""
FILL = """\
import sys
from huggingface_hub import snapshot_download
snapshot_download("acme/tiny", cache_dir=sys.argv[1], endpoint=sys.argv[2])
"""


def test_the_hubs_own_clients_find_what_came(model: Model, python: str, repository: Repository) -> None:
    result = model.done()
    path = with_client(python, READ, str(model.cache.cache_dir), repository.refs["main"])
    assert path == f"{result['snapshot_path']}/tiny-q4_k_m.gguf"


def test_what_a_persons_client_has_brought_is_proven_and_kept(any_model: Model, hub: Hub, repository: Repository) -> None:
    model = any_model
    with_client(model.arguments["python"], FILL, str(model.cache.cache_dir), hub.endpoint, HF_HUB_DISABLE_XET="1")
    sent = hub.sent()
    assert model.run(check_mode=True)["progress_file"], "there is something to read"
    result = model.done()
    assert not result["changed"] and result["files"] == lock_of(repository)["files"] and hub.sent() == sent


def test_only_what_is_named_comes(model: Model) -> None:
    result = model.done(files=["*q4_k_m*.gguf", "config.json"])
    assert result["fetched"] == ["config.json", "tiny-q4_k_m.gguf"]
    result = model.done(files=["original/*", "config.json"])
    assert result["fetched"] == ["original/params.json"] and [file["path"] for file in result["files"]] == [
        "config.json",
        "original/params.json",
    ]


def test_all_shards_come_with_the_first(model: Model, repository: Repository) -> None:
    shards = {f"deep/m-{number:05}-of-00003.gguf": bytes([number]) * 999 for number in (1, 2, 3)}
    repository.commit({**shards, "other.gguf": b"o"})
    assert model.done(files=["deep/m-00001-of-00003.gguf"])["fetched"] == sorted(shards)
    repository.commit({path: content for path, content in shards.items() if "00002" not in path})
    assert "lacks deep/m-00002-of-00003.gguf" in model.refused(files=["deep/m-00001-of-00003.gguf"])


def test_the_revision_moves(model: Model, hub: Hub, repository: Repository) -> None:
    first = model.done()
    moved = repository.commit({**FILES, "config.json": b"{ }"})
    sent = hub.sent()
    predicted = model.done(check_mode=True)
    result = model.done()
    for answer in (predicted, result):
        assert answer["changed"] and answer["commit"] == moved and answer["fetched"] == ["config.json"] and answer["downloaded_bytes"] == 3
        assert answer["diff"]["before"]["commit"] == first["commit"]
        assert answer["diff"]["before"]["files"] == {file["path"]: file["sha256"] for file in first["files"]}
    assert hub.sent() == sent + 3, "the same content is there already"
    assert model.content("config.json") == b"{ }" and model.content("config.json", first["commit"]) == SMALL
    assert not model.done()["changed"] and not model.done(revision=first["commit"])["changed"]


def test_tags_and_branches_with_slashes(model: Model, repository: Repository) -> None:
    commit = repository.commit({"a.bin": b"a"}, "refs/pr/1")
    assert model.done(revision="refs/pr/1")["commit"] == commit and model.content("a.bin", "refs/pr/1") == b"a"


def test_only_the_group_can_read_it(model: Model) -> None:
    os.umask(0o022)
    model.done(group="games")
    for path in (model.cache.cache_dir, model.cache.blobs, model.cache.snapshot(model.cache.commit_of("main") or "")):
        assert (path.stat().st_mode & 0o7777, path.group()) == (0o2750, "games")
    blob = model.blob("tiny-q4_k_m.gguf")
    assert (blob.stat().st_mode & 0o7777, blob.group()) == (0o640, "games")

    blob.chmod(0o600)
    shutil.chown(model.cache.blobs, group="root")
    assert model.done(group="games", check_mode=True)["diff"]["before"]["unreadable"] == [str(model.cache.blobs), str(blob)]
    assert model.done(group="games")["changed"] and not model.done(group="games")["changed"]
    assert (model.cache.blobs.group(), blob.stat().st_mode & 0o777) == ("games", 0o640)


PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Fetch
      baremetal.llm.hf_model:
        repo_id: acme/tiny
        cache_dir: "{{ cache_dir }}"
        endpoint: "{{ endpoint }}"
        python: "{{ python }}"
        token: hf_reader
        state: "{{ state | default('present') }}"
      register: fetched
    - name: Tell
      ansible.builtin.debug:
        msg: "{{ fetched.downloaded_bytes }} bytes"
"""


def play(directory: Path, playbook: str, **variables: object) -> tuple[str, list[str]]:
    """Run a playbook on this machine; its output, and the lines of progress."""
    (directory / "playbook.yml").write_text(playbook)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "alpha,", "playbook.yml", "-vvv", "-e", json.dumps({**local, **variables})],
        cwd=directory,
        env={**os.environ, "ANSIBLE_ASYNC_DIR": str(directory / "async"), "ANSIBLE_REMOTE_TMP": str(directory / "remote")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hf_reader" not in done.stdout + done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if " · " in line]


def test_the_operator_sees_how_far_it_is(model: Model, hub: Hub, tmp_path: Path) -> None:
    variables = {name: model.arguments[name] for name in ("cache_dir", "endpoint", "python")}
    hub.faults.add(Fault("slow", path="*q4*", times=None, rate=MIB // 2))
    output, lines = play(tmp_path, PLAYBOOK, **variables)
    assert f"{sum(map(len, FILES.values()))} bytes" in output and "changed=1" in output
    assert any(re.search(r"alpha · fetch acme/tiny · \[\d\.\d/3\.0 MiB\] \d.* KiB/s · tiny-.* left$", line) for line in lines), lines
    output, lines = play(tmp_path, PLAYBOOK, **variables, state="verified")
    assert "changed=0" in output and lines, "what only takes time is watched as well"


ROLE = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: baremetal.llm.models
        tasks_from: "{{ entry_point }}"
"""


def test_the_role_brings_what_services_name_and_nothing_twice(model: Model, hub: Hub, repository: Repository, tmp_path: Path) -> None:
    place, plain = model.cache.cache_dir, {"name": "plain", "model": {"file": "/m.gguf"}, "port": 1}
    chosen = {"repo_id": "acme/tiny", "file": "tiny-q4_k_m.gguf", "mmproj": "mmproj-tiny-f16.gguf"}
    variables = {
        "inference_services": [plain, {"name": "vision", "model": chosen, "port": 2}],
        "models_directory": str(tmp_path / "models"),
        "models_hub_cache": str(place),
        "models_hub_client_directory": str(tmp_path / "client"),
        "models_hub_client_packages": [],
        "models_hub_endpoint": hub.endpoint,
        "models_hub_python": model.arguments["python"],
        "models_hub_token": "hf_reader",
    }

    def role(entry_point: str = "main", **others: object) -> list[str]:
        """The tasks that did something, with or without a change."""
        output, _lines = play(tmp_path, ROLE.replace("{{ entry_point }}", entry_point), **{**variables, **others})
        found = re.findall(r"^TASK \[[\w.]*models : ([^]]+)\](?:(?!^TASK)[\s\S])*?^(?:ok|changed): \[alpha\]", output, re.MULTILINE)
        return [task for task in found if not task.startswith("Validating arguments")]

    assert role(inference_services=[plain]) == []
    assert role()[-1] == "Models of the hub: present"
    assert sorted(model.cache.paths(repository.refs["main"])) == sorted([chosen["file"], chosen["mmproj"]])
    assert role() == ["Models of the hub: planned"]
    role("absent")
    assert not model.cache.root.exists()

    # Of a repository that is taken as a whole, what the engine reads.
    read = {"config.json": SMALL, "model.safetensors": BIG, "tokenizer.json": b"{}"}
    commit = repository.commit({**FILES, **read, "pytorch_model.bin": BIG, "README.md": b"#"})
    served = {"engine": "vllm", "manager": "compose", "image": "vllm/vllm-openai:v0.33.0"}
    whole = [{"name": "whole", "model": {"repo_id": "acme/tiny"}, "port": 3, **served}]
    assert role(inference_services=whole)[-1] == "Models of the hub: present"
    assert sorted(model.cache.paths(commit)) == sorted(read)
    assert role(inference_services=whole) == ["Models of the hub: planned"]
    role("absent", inference_services=whole)
    assert not model.cache.root.exists()


# --- proofs -------------------------------------------------------------------------------------------------------------


def damage(path: Path, *, keep_time: bool) -> None:
    status = path.stat()
    with open(path, "r+b") as file:
        file.write(b"\0\0\0\0")
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_verified_finds_what_size_and_time_do_not_show(model: Model) -> None:
    model.done()
    damage(model.blob("tiny-q4_k_m.gguf"), keep_time=True)
    assert not model.done()["changed"]
    result = model.done(state="verified")
    assert result["changed"] and result["fetched"] == ["tiny-q4_k_m.gguf"] and "was damaged" in str(result["warnings"])
    assert model.content("tiny-q4_k_m.gguf") == BIG
    assert not model.done(state="verified")["changed"]


def test_damage_that_time_shows_is_found_without_being_asked_for(model: Model) -> None:
    model.done()
    damage(model.blob("config.json"), keep_time=False)
    assert model.done()["fetched"] == ["config.json"]
    model.blob("tiny-q4_k_m.gguf").write_bytes(BIG[:-1])
    assert model.done(check_mode=True)["fetched"] == ["tiny-q4_k_m.gguf"]
    assert model.done()["changed"] and model.content("tiny-q4_k_m.gguf") == BIG


def test_damage_without_a_hub_is_told(model: Model) -> None:
    model.done()
    damage(model.blob("tiny-q4_k_m.gguf"), keep_time=True)
    assert "is not complete: tiny-q4_k_m.gguf (wrong)" in model.refused(state="verified", offline=True)
    assert "is not complete: tiny-q4_k_m.gguf (wrong)" in model.refused(offline=True), "what was found out stays known"


def test_damaged_records_are_made_anew(model: Model) -> None:
    files = model.done()["files"]
    for path in model.cache.own.glob("*.json"):
        path.write_bytes(b'{"files": [{"path": 1}], "blobs/x": [3')
    result = model.done()
    assert not result["changed"] and result["files"] == files


# --- lock ---------------------------------------------------------------------------------------------------------------


def test_a_lock_settles_the_branch_without_a_question(model: Model, hub: Hub, repository: Repository) -> None:
    lock = lock_of(repository)
    moved = repository.commit({"config.json": b"{}"})
    assert model.done(expected=lock)["commit"] == lock["commit"] != moved
    asked = len(hub.requests)
    assert not model.done(expected=lock)["changed"] and not model.done(expected=lock, revision=lock["commit"])["changed"]
    assert len(hub.requests) == asked and model.cache.commit_of("main") == lock["commit"]


def test_a_lock_that_says_otherwise_than_the_hub(model: Model, repository: Repository) -> None:
    lock = lock_of(repository)
    wrong = [{**file, "sha256": "0" * 64} for file in lock["files"]]
    assert f"says sha256 {'0' * 64} for" in model.refused(expected={**lock, "files": wrong})
    # Of a small file the hub does not tell the sha256 beforehand.
    assert f"says sha256 {'0' * 64} for config.json" in model.refused(expected={**lock, "files": wrong}, files=["config.json"])
    assert not model.cache.snapshots.exists()
    assert "the lock (expected) is of" in model.refused(expected=lock, revision="f" * 40)


# --- what can go wrong with the hub -------------------------------------------------------------------------------------


def test_what_passes_is_waited_for(model: Model, hub: Hub) -> None:
    for fault in (
        Fault("status", where="api", path="acme/tiny", status=429, retry_after=1),
        Fault("corrupt", path="config.json"),
        Fault("corrupt", path="*q4_k_m.gguf", after=5),
        Fault("status", path="original/*", status=503),
        Fault("stall", path="mmproj*", after=100, seconds=2),
    ):
        hub.faults.add(fault)
    result = model.done(timeout=1)
    assert {path: model.content(path) for path in FILES} == FILES and hub.faults.left() == []
    assert sorted(re.findall(r"([\w.-]+) arrived damaged", str(result["warnings"]))) == ["config.json", "tiny-q4_k_m.gguf"]


def test_a_broken_connection_costs_no_more_than_the_rest(any_model: Model, hub: Hub, repository: Repository) -> None:
    files = {name: random.Random(name).randbytes(3 * MIB + 17) for name in ("truncate.gguf", "reset.gguf", "no_ranges.gguf")}
    repository.commit(files)
    hub.faults.add(Fault("truncate", path="truncate.gguf", after=2 * MIB))
    for name in ("reset.gguf", "no_ranges.gguf"):
        hub.faults.add(Fault("reset", path=name, after=2 * MIB))
    # Then all of it comes again, and must not be added to what is there.
    hub.faults.add(Fault("no_ranges", path="no_ranges.gguf"))
    any_model.done()
    assert {path: any_model.content(path) for path in files} == files and hub.faults.left() == []
    for name in ("truncate", "reset"):
        sent = sum(request.body_bytes for request in hub.asked(contains=f"/{name}.gguf"))
        assert sent < len(files[f"{name}.gguf"]) + MIB + 99_000


@pytest.mark.parametrize(
    ("fault", "arguments", "message"),
    [
        (
            Fault("corrupt", path="*q4*", times=None),
            {},
            r"tiny-q4_k_m.gguf of acme/tiny arrived damaged twice \(sha256 [0-9a-f]{64} is not",
        ),
        (
            Fault("status", where="api", status=429, retry_after=600),
            {},
            r"asked too often from here \(429\); run this again in 600 s, or give a",
        ),
        (Fault("status", where="api", status=503, times=None), {}, r"has a problem of its own \(503\), also when asked again"),
        (Fault("status", path="*.gguf", status=403, times=None), {}, r"does not give .*gguf of acme/tiny \(403\), it takes a token"),
        (None, {"token": "hf_wrong"}, r"token: http://127.* refuses it \(401\), .* make a new one at http"),
        (None, {"repo_id": "acme/none"}, r"repo_id: http://127.* has no acme/none, or it is private; correct the name, or give a token"),
        (None, {"repo_id": "acme/private", "token": "hf_other"}, r"has no acme/private, or the token may not read it"),
        (None, {"repo_id": "acme/gated"}, r"acme/gated is gated.* accept them at http://127.*/acme/gated and give a token"),
        (None, {"repo_id": "acme/gated", "token": "hf_other"}, r"acme/gated is gated.* with the account of this token, or give one"),
        (None, {"revision": "nain"}, r"revision: acme/tiny has no commit, branch or tag 'nain'; http.*/acme/tiny/tree/main shows"),
        (
            None,
            {"files": ["tiny-Q4_K_M.gguf"]},
            r"'tiny-Q4_K_M.gguf' is not in acme/tiny at main \(\w+\). Did you mean tiny-q4_k_m.gguf\?",
        ),
        (None, {"files": ["*.safetensors"]}, r"'\*.safetensors' matches nothing in acme/tiny .* There are config.json, mmproj"),
        (
            None,
            {"endpoint": "http://127.0.0.1:9"},
            r"http://127.0.0.1:9 can't be reached \(Connection refused\); check the network",
        ),
    ],
)
def test_what_does_not_pass_is_told(model: Model, hub: Hub, fault: Fault | None, arguments: dict[str, str], message: str) -> None:
    for closed in (Repository("acme/gated", gated=True), Repository("acme/private", private=True)):
        hub.add(closed).commit(FILES)
    if fault:
        hub.faults.add(fault)
    result = model.run(**arguments)
    assert result.get("failed"), result
    assert re.search(message, result["msg"], re.DOTALL), result["msg"]
    assert "hf_" not in str({key: value for key, value in result.items() if key != "invocation"})
    assert list(model.cache.snapshots.rglob("*q4*")) == []


def test_a_token_opens_what_it_may(model: Model, hub: Hub) -> None:
    for closed in (Repository("acme/gated", gated=True), Repository("acme/private", private=True)):
        hub.add(closed).commit(FILES)
        assert model.other(closed.repo_id).done(token="hf_reader")["changed"]


def test_without_a_hub_what_is_complete_will_do(model: Model, hub: Hub, repository: Repository) -> None:
    commit = model.done()["commit"]
    away = {"endpoint": "http://127.0.0.1:9"}
    result = model.done(**away)
    assert result["commit"] == commit and not result["changed"] and "is complete and was taken" in str(result["warnings"])
    for arguments in ({"offline": True}, {**away, "revision": commit}, {**away, "expected": lock_of(repository)}):
        assert "warnings" not in model.done(**arguments)
    hub.faults.add(Fault("status", where="api", status=429, retry_after=600))
    assert "is complete and was taken" in str(model.done()["warnings"])


def test_without_a_hub_what_is_not_complete_is_told(model: Model, repository: Repository) -> None:
    assert "what 'main' of acme/tiny is can't be asked for offline" in model.refused(offline=True)
    assert "nothing of acme/tiny at" in model.refused(offline=True, revision=repository.refs["main"])
    assert "is not complete: config.json (missing)" in model.refused(offline=True, expected=lock_of(repository), files=["config.json"])
    model.done(files=["config.json"])
    assert not model.done(offline=True, files=["config.json"])["changed"]
    assert "is not complete: mmproj-tiny-f16.gguf (missing), original/params.json" in model.refused(offline=True)


# --- kills, crowds and full disks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "points"), [(VERSIONS[0], 10), *((version, 1) for version in VERSIONS[1:])])
def test_killed_again_and_again_it_goes_on(model: Model, hub: Hub, repository: Repository, version: str, points: int) -> None:
    if version != VERSIONS[0]:
        model.arguments["python"] = client(version)
    content = random.Random(2).randbytes(20 * MIB)
    commit = repository.commit({"model.gguf": content, "config.json": SMALL})
    hub.faults.add(Fault("slow", path="model.gguf", times=None, rate=24 * MIB))
    for point in range(points):
        process = model.start()
        while hub.sent() <= point * len(content) // points:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not processes_of(model), 10)
        assert not model.cache.pointer(commit, "model.gguf").exists()
    hub.faults.clear()
    model.done()
    assert model.content("model.gguf") == content and not model.done()["changed"]
    assert hub.sent() < 2 * len(content), "what had arrived was not fetched again"
    assert sorted(path.name for path in model.cache.own.iterdir()) == sorted([f"{commit}.json", "lock", "proofs.json"])


def test_two_runs_at_once_download_once(model: Model, hub: Hub) -> None:
    hub.faults.add(Fault("slow", path="*q4*", times=None, rate=3 * MIB))
    results = [finished(process) for process in [model.start(), model.start()]]
    assert [result.get("failed", False) for result in results] == [False, False], results
    assert hub.sent() == sum(map(len, FILES.values())) and model.content("tiny-q4_k_m.gguf") == BIG
    assert sorted(bool(result["downloaded_bytes"]) for result in results) == [False, True]


@pytest.fixture
def small_disk(tmp_path: Path) -> t.Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk(small_disk: Path, hub: Hub, repository: Repository, pinned: str) -> None:
    model = Model(small_disk / "hub", hub.endpoint, "acme/tiny", python=pinned)
    content = random.Random(3).randbytes(4 * MIB)
    repository.commit({"model.gguf": content})
    (small_disk / "other").write_bytes(bytes(3 * MIB))
    assert "needs 4 MiB of free disk space below" in model.run(check_mode=True)["msg"]
    (small_disk / "other").unlink()
    # Somebody else takes the rest while it comes.
    hub.faults.add(Fault("slow", path="*.gguf", rate=4 * MIB))
    process = model.start()
    wait_until(lambda: hub.sent() >= MIB)
    (small_disk / "other").write_bytes(bytes(3 * MIB))
    assert "no space was left on the file system of" in finished(process)["msg"]
    sent = hub.sent()
    (small_disk / "other").unlink()
    assert model.done()["changed"] and model.content("model.gguf") == content
    assert hub.sent() - sent < len(content), "it goes on from what had come"


def test_a_directory_that_can_not_be_written_to(model: Model, small_disk: Path, hub: Hub) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "can't be written to by the user with the id" in model.refused(cache_dir=str(small_disk / "hub"))
    (model.cache.cache_dir.parent / "file").write_text("")
    assert "is not a directory" in model.refused(cache_dir=str(model.cache.cache_dir.parent / "file" / "hub"))
