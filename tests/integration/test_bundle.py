# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle packed from a hub, a package index and a repository of this machine, and taken from by real runs of ansible-playbook.

Needs compilers and cmake, but no range host.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._wheel_download import wheels_of
from ansible_collections.baremetal.llm.tests.hub.hublib.faults import Fault
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub
from ansible_collections.baremetal.llm.tests.unit.plugins.miniature_toolkit import VERSION, make_wheels

from .cuda import Toolkits
from .hub_models import CLIENTS, finished
from .miniature import TARGETS, make_tree
from .test_cuda_toolkit import Index
from .test_hub_model import lock_of, wait_until

MIB = 1 << 20
MODEL = random.Random(4).randbytes(20 * MIB + 17)
FILES = {"tiny-q4_k_m.gguf": MODEL, "config.json": b"{}\n", "deep/same.json": b"{}\n", "unwanted.gguf": b"-"}

_PACKAGE = "ansible_collections.baremetal.llm.plugins"
# The module as it is, with other wheels.
_WITH_TABLE = f"""\
import json, sys
from {_PACKAGE}.module_utils import _cuda_wheels
_cuda_wheels.WHEELS.clear()
_cuda_wheels.WHEELS.update(json.loads(sys.argv.pop(1)))
from {_PACKAGE}.modules.deploy_bundle import main
main()
"""


class Packer:
    """The module deploy_bundle as a process, and what it has made."""

    def __init__(self, root: Path, hub: Hub, *, table: object = None, env: t.Mapping[str, str] | None = None) -> None:
        self.root = root
        self.arguments = {"path": str(root), "endpoint": hub.endpoint, "client_directory": str(CLIENTS)}
        program = ["-m", f"{_PACKAGE}.modules.deploy_bundle"] if table is None else ["-c", _WITH_TABLE, json.dumps(table)]
        self._argv, self._env = [sys.executable, *program], {**os.environ, **(env or {})}

    def start(self, lock: object, *, check_mode: bool = False, **arguments: t.Any) -> subprocess.Popen[str]:
        arguments = {**self.arguments, "lock": lock, **arguments, "_ansible_diff": True, "_ansible_check_mode": check_mode}
        process = subprocess.Popen(
            self._argv, env=self._env, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, lock: object, **arguments: t.Any) -> dict[str, t.Any]:
        return finished(self.start(lock, **arguments))

    def done(self, lock: object, **arguments: t.Any) -> dict[str, t.Any]:
        result = self.run(lock, **arguments)
        assert not result.get("failed"), result
        return result

    def refused(self, lock: object, **arguments: t.Any) -> str:
        result = self.run(lock, **arguments)
        assert result.get("failed"), result
        return str(result["msg"])

    def visible(self) -> dict[str, str]:
        """Each file that is part of it, with the sha256 that it really has."""
        paths = [path for path in self.root.rglob("*") if not path.is_dir() and ".baremetal-llm" not in path.parts]
        return {str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def checked(self) -> subprocess.CompletedProcess[str]:
        """What the operator's own tool says."""
        argv = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
        return subprocess.run(argv, cwd=self.root, capture_output=True, text=True, check=False)

    def state(self) -> dict[str, tuple[int, int]]:
        files = [path for path in self.root.rglob("*") if path.is_file() and path.name not in ("bundle.log", "lock")]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def hub() -> t.Iterator[Hub]:
    with Hub([Repository("acme/tiny")]) as hub:
        hub.by_name["acme/tiny"].commit(FILES)
        yield hub


@pytest.fixture
def commit(hub: Hub) -> str:
    return hub.by_name["acme/tiny"].refs["main"]


@pytest.fixture
def model_lock(hub: Hub) -> dict[str, t.Any]:
    locked = lock_of(hub.by_name["acme/tiny"])
    files = [file for file in locked["files"] if file["path"] != "unwanted.gguf"]
    return {"lock": 1, "models": {"acme/tiny@main": {**locked, "files": files, "services": ["tiny"]}}}


@pytest.fixture
def packer(tmp_path: Path, hub: Hub) -> Packer:
    return Packer(tmp_path / "bundle", hub)


@dataclasses.dataclass
class Repo:
    """A repository with the miniature llama.cpp in it, which git gives over its own protocol."""

    url: str
    commit: str
    daemon: subprocess.Popen[bytes]


@pytest.fixture
def repo(tmp_path: Path) -> t.Iterator[Repo]:
    tree = make_tree(tmp_path / "git" / "miniature")
    git = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True)
    subprocess.run([*git, "config", "uploadpack.allowAnySHA1InWant", "true"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not as `git daemon`: that is another process, which would outlive the one that is ended here.
    program = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip(), "git-daemon")
    argv = [program, "--export-all", f"--base-path={tree.parent}", "--listen=127.0.0.1", f"--port={port}", str(tree.parent)]
    daemon = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield Repo(f"git://127.0.0.1:{port}/miniature", commit, daemon)
    finally:
        daemon.kill()
        daemon.wait()


# --- packing ------------------------------------------------------------------------------------------------------------


def test_all_that_the_lock_names_and_nothing_else(packer: Packer, hub: Hub, commit: str, model_lock: dict[str, t.Any]) -> None:
    predicted = packer.done(model_lock, check_mode=True)
    assert predicted["changed"] and not packer.root.exists()
    result = packer.done(model_lock)
    places = {f"models/acme/tiny/{commit}/{name}" for name in FILES if name != "unwanted.gguf"}
    assert result["changed"] and set(result["fetched"]) == set(predicted["fetched"]) == places
    # The small file is there twice, and came once.
    assert result["downloaded_bytes"] == predicted["downloaded_bytes"] == len(MODEL) + 3
    visible = packer.visible()
    assert visible.keys() == {"SHA256SUMS", "deploy.lock.yml", *places} and packer.checked().returncode == 0
    assert result["files"] == {place: sha256 for place, sha256 in visible.items() if place != "SHA256SUMS"}
    assert result["diff"]["before"] == {} and result["diff"]["after"] == result["files"]

    before, asked = packer.state(), len(hub.requests)
    again = packer.done(model_lock)
    assert not again["changed"] and again["fetched"] == [] and "progress_file" not in again
    assert packer.state() == before and len(hub.requests) == asked


def test_what_the_lock_no_longer_names_goes(packer: Packer, hub: Hub, commit: str, model_lock: dict[str, t.Any]) -> None:
    packer.done(model_lock)
    (packer.root / "README").write_text("from the operator")
    moved = hub.by_name["acme/tiny"].commit({**FILES, "config.json": b"{ }\n"})
    entry = lock_of(hub.by_name["acme/tiny"])
    lock = {"lock": 1, "models": {"acme/tiny@main": {**entry, "services": ["tiny"]}}}
    result = packer.done(lock)
    assert len(result["removed"]) == 3 and all(place.startswith(f"models/acme/tiny/{commit}/") for place in result["removed"])
    assert {place for place in packer.visible() if place.startswith("models/")} == {f"models/acme/tiny/{moved}/{name}" for name in FILES}
    assert (packer.root / "README").exists() and packer.checked().returncode == 0
    assert packer.done({"lock": 1})["changed"] and not (packer.root / "models").exists()
    assert not packer.done({"lock": 1})["changed"]


def test_a_killed_run_is_gone_on_from(packer: Packer, hub: Hub, model_lock: dict[str, t.Any]) -> None:
    hub.faults.add(Fault("slow", path="*.gguf", rate=4 * MIB))
    process = packer.start(model_lock)
    wait_until(lambda: any(partial.stat().st_size > 2 * MIB for partial in packer.root.glob(".baremetal-llm/*.partial")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "SHA256SUMS" not in packer.visible() and not [place for place in packer.visible() if place.endswith(".gguf")]
    time.sleep(1)  # its client has gone with it
    (there,) = [partial.stat().st_size for partial in packer.root.glob(".baremetal-llm/*.partial")]
    result = packer.done(model_lock)
    assert result["downloaded_bytes"] == len(MODEL) - there and packer.checked().returncode == 0


def test_damage_is_found_by_reading_and_mended(packer: Packer, commit: str, model_lock: dict[str, t.Any]) -> None:
    packer.done(model_lock)
    place = f"models/acme/tiny/{commit}/tiny-q4_k_m.gguf"
    path, status = packer.root / place, (packer.root / place).stat()
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"?")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not packer.done(model_lock)["changed"], "size, time and inode are the same, so nobody reads it"
    result = packer.run(model_lock, state="verified")
    assert result["failed"] and result["damaged"] == [place] and place in result["msg"]
    assert f"{place}: FAILED" in packer.checked().stdout
    result = packer.done(model_lock)
    assert result["fetched"] == [place] and packer.checked().returncode == 0
    assert not packer.done(model_lock, state="verified")["changed"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lock, _root: lock.update(lock=7), "format"),
        (lambda lock, root: (root / "holiday.jpg").write_bytes(b"x"), "is not empty and no bundle"),
        (lambda lock, _root: lock["models"]["acme/tiny@main"].update(commit="0" * 40), "no commit, branch or tag"),
        (lambda lock, _root: lock["models"]["acme/tiny@main"]["files"][0].update(sha256="0" * 64), "is not what the lock says"),
        (lambda lock, _root: lock["models"]["acme/tiny@main"]["files"][0].update(size=1 << 50), "larger than 50 GB"),
        (
            lambda lock, _root: lock["models"]["acme/tiny@main"]["files"].append({"path": "no.gguf", "size": 1, "sha256": "0" * 64}),
            "no.gguf",
        ),
        (lambda lock, _root: lock.update(cuda_toolkits=["12.8.0"]), "12.8.0"),
    ],
)
def test_bad_input(packer: Packer, model_lock: dict[str, t.Any], spoil: t.Callable[[dict[str, t.Any], Path], object], said: str) -> None:
    packer.root.mkdir()
    spoil(model_lock, packer.root)
    assert said in packer.refused(model_lock)
    assert not {"SHA256SUMS", "deploy.lock.yml"} & packer.visible().keys()


def test_a_disk_that_is_too_small(tmp_path: Path, hub: Hub, model_lock: dict[str, t.Any]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", small], check=True)
    try:
        message = Packer(small / "bundle", hub).refused(model_lock)
        assert "needs 21 MiB of free disk space" in message and not (small / "bundle").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_real_wheels_for_another_machine(tmp_path: Path, hub: Hub) -> None:
    """The smallest package of the toolkit, as the index has it for each kind of machine."""
    crt = {machine: [wheel for wheel in wheels_of("13.0.3", machine) if "crt" in wheel.package] for machine in ("x86_64", "aarch64")}
    packer = Packer(tmp_path / "bundle", hub, table={"13.0.3": crt})
    result = packer.done({"lock": 1, "cuda_toolkits": ["13.0.3"]}, machines=["x86_64", "aarch64"])
    assert result["fetched"] == [f"wheels/nvidia-cuda-crt-{crt['x86_64'][0].version}-{machine}.whl" for machine in ("aarch64", "x86_64")]
    assert (
        packer.checked().returncode == 0
        and not packer.done({"lock": 1, "cuda_toolkits": ["13.0.3"]}, machines=["x86_64", "aarch64"])["changed"]
    )


# --- taking from it -----------------------------------------------------------------------------------------------------


def test_a_toolkit_from_the_bundle(tmp_path: Path, hub: Hub) -> None:
    """As the action does it: the module says what it lacks, is given that, and goes on; there is neither pip nor an index."""
    table = make_wheels(tmp_path / "wheels")
    index = Index(tmp_path / "wheels")
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    packer = Packer(tmp_path / "bundle", hub, table=table, env=pip)
    try:
        packer.done({"lock": 1, "cuda_toolkits": [VERSION]})
    finally:
        index.close()
    toolkits = Toolkits(tmp_path / "cuda", table=table, env={"PIP_NO_INDEX": "1"})
    assert "can't be fetched" in toolkits.run(version=VERSION, offline=True)["msg"] and not toolkits.prefix.exists()
    asked = toolkits.run(version=VERSION, offline=True, bundle=str(packer.root))["asks_for"]
    by_sha256 = {sha256: place for place, sha256 in packer.visible().items()}
    delivered = [file["digest"] for file in asked["files"]]
    for sha256 in delivered:
        (Path(asked["directory"]) / f"{sha256}.partial").write_bytes((packer.root / by_sha256[sha256]).read_bytes())
    result = toolkits.run(version=VERSION, offline=True, bundle=str(packer.root), delivered=delivered)
    assert result["changed"] and toolkits.visible() == [VERSION] and toolkits.damaged(VERSION) == [] and len(delivered) == 2
    assert not toolkits.run(version=VERSION)["changed"], "it is the same toolkit as one that pip has brought"


class Controller:
    """Plays tasks on this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def play(self, *tasks: dict[str, t.Any]) -> tuple[str, list[str]]:
        """The output, and the lines of progress."""
        play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}]
        (self.directory / "playbook.yml").write_text(json.dumps(play))
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "playbook.yml"]
        directories = {"ANSIBLE_ASYNC_DIR": str(self.directory / "async"), "ANSIBLE_REMOTE_TMP": str(self.directory / "remote")}
        done = subprocess.run(
            [*argv, "-e", f"ansible_python_interpreter={sys.executable}"],
            cwd=self.directory,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", **directories},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return done.stdout, [line for line in done.stderr.splitlines() if " · " in line]


def test_a_model_from_the_bundle(tmp_path: Path, packer: Packer, hub: Hub, commit: str, model_lock: dict[str, t.Any]) -> None:
    packer.done(model_lock)
    hub.requests.clear()
    controller, cache = Controller(tmp_path), RepoCache(tmp_path / "hub", "acme/tiny")
    expected = {key: value for key, value in model_lock["models"]["acme/tiny@main"].items() if key != "services"}
    task = {
        "baremetal.llm.hf_model": {
            "repo_id": "acme/tiny",
            "expected": expected,
            "cache_dir": str(cache.cache_dir),
            "endpoint": hub.endpoint,
            "offline": True,
            "bundle": str(packer.root),
        }
    }
    whole = packer.root / f"models/acme/tiny/{commit}/tiny-q4_k_m.gguf"
    whole.write_bytes(b"!" + MODEL[1:])
    output, _lines = controller.play(task)
    assert "is damaged" in output and str(whole) in output and not cache.blobs.exists()
    whole.unlink()
    output, _lines = controller.play(task)
    assert "does not hold tiny-q4_k_m.gguf of acme/tiny" in output
    whole.write_bytes(MODEL)

    # A run that was cut short has left a part; the rest is sent.
    partial = cache.partial(hashlib.sha256(MODEL).hexdigest())
    partial.write_bytes(MODEL[: 18 * MIB])
    output, lines = controller.play(task)
    assert "changed=1" in output and any("send tiny-q4_k_m.gguf of acme/tiny" in line for line in lines), output
    assert {name: cache.pointer(commit, name).read_bytes() for name in FILES if name != "unwanted.gguf"} == {
        name: content for name, content in FILES.items() if name != "unwanted.gguf"
    }
    assert cache.commit_of("main") == commit and not list(cache.own.glob("*.partial")) and not hub.requests

    packer.root.rename(tmp_path / "away")
    output, lines = controller.play(task)
    assert "changed=0" in output and "failed=0" in output and lines == [], "what is there is not looked for in the bundle"


def test_a_build_from_the_bundle(tmp_path: Path, packer: Packer, repo: Repo) -> None:
    source = {"kind": "git", "repo": repo.url, "version": "main", "commit": repo.commit}
    packer.done({"lock": 1, "llama_cpp": [source]})
    assert set(packer.visible()) == {"SHA256SUMS", "deploy.lock.yml", f"sources/{repo.commit}.tar"}
    assert not packer.done({"lock": 1, "llama_cpp": [source]})["changed"]
    repo.daemon.kill()
    repo.daemon.wait()

    controller, prefix = Controller(tmp_path), tmp_path / "llama.cpp"
    arguments = {
        "source": {"kind": "git", "repo": repo.url, "version": repo.commit},
        "prefix": str(prefix),
        "targets": TARGETS,
        "offline": True,
    }
    output, _lines = controller.play({"baremetal.llm.llama_build": arguments})
    assert "can't be built; run this once without offline, or bring it in a bundle" in output and not prefix.exists()
    output, _lines = controller.play({"baremetal.llm.llama_build": {**arguments, "bundle": str(packer.root)}})
    assert "changed=1" in output, output
    assert (prefix / "current" / "bin" / "llama-server").is_file() and not list(prefix.glob("sources/*.partial"))
    branch = {**arguments, "source": {**arguments["source"], "version": "main"}}
    output, _lines = controller.play({"baremetal.llm.llama_build": {**branch, "bundle": str(packer.root)}})
    assert "can't be asked for offline" in output
