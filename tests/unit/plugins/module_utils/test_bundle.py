# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._bundle import Outcome, ensure_packed, verify
from ansible_collections.baremetal.llm.plugins.module_utils._bundle_manifest import find, parse_sums, render_sums
from ansible_collections.baremetal.llm.plugins.module_utils._bundle_plan import Bundle, Request
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_wheels import WHEELS
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock, parse
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_hub import FakeHub, failure, killed_at, sha256

FILES = {"m.gguf": b"weights", "deep/p.gguf": b"projector", "copy.gguf": b"weights"}
COMMIT, SHA256 = "c" * 40, "a" * 64


def lock_of(hub: FakeHub, commit: str) -> DeployLock:
    files = [{"path": path, "size": len(content), "sha256": sha256(content)} for path, content in hub.commits[commit].items()]
    return parse({"lock": 1, "models": {"acme/tiny@main": {"commit": commit, "files": files, "services": ["tiny"]}}}, "lock")


@dataclass
class Packer:
    hub: FakeHub
    bundle: Bundle
    request: Request

    def pack(self, *, check_mode: bool = False) -> Outcome:
        return ensure_packed(self.bundle, self.request, self.hub, check_mode=check_mode)

    def follow(self, commit: str) -> None:
        self.request = replace(self.request, lock=lock_of(self.hub, commit))

    def models(self) -> dict[str, bytes]:
        top = self.bundle.root / "models"
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def sound(self) -> bool:
        return (
            subprocess.run(["sha256sum", "--check", "--strict", "--status", "SHA256SUMS"], cwd=self.bundle.root, check=False).returncode
            == 0
        )


@pytest.fixture
def packer(tmp_path: Path) -> Packer:
    hub = FakeHub()
    return Packer(hub, Bundle(tmp_path / "bundle"), Request(lock_of(hub, hub.commit(FILES)), ("x86_64",)))


# --- what belongs into it -----------------------------------------------------------------------------------------------


def test_items_of_a_lock() -> None:
    raw = {
        "lock": 1,
        "cuda_toolkits": ["13.0.3"],
        "llama_cpp": [
            {"kind": "pypi", "name": "llama-cpp-python", "version": "0.3.36", "sha256": SHA256},
            {"kind": "git", "repo": "https://example.org/l.git", "version": "b9999", "commit": COMMIT},
            {"kind": "archive", "url": "https://example.org/l.tar.gz", "sha256": "b" * 64},
            {"kind": "git", "repo": "/srv/l.git", "version": "b9999", "commit": "d" * 40},
            {"kind": "prebuilt", "path": "/srv/l.tar.gz", "sha256": "e" * 64},
        ],
        "models": {"acme/a.b@v1": {"commit": COMMIT, "files": [{"path": "d/m.gguf", "size": 7, "sha256": SHA256}], "services": ["s"]}},
    }
    items = {item.place: (item.sha256, item.size) for item in Request(parse(raw, "lock"), ("x86_64", "aarch64")).items()}
    wheels = {place: told for place, told in items.items() if place.startswith("wheels/")}
    assert {place: told for place, told in items.items() if place not in wheels} == {
        f"sources/{SHA256}.tar": (SHA256, None),
        f"sources/{COMMIT}.tar": (None, None),
        f"sources/{'b' * 64}.tar": ("b" * 64, None),
        f"models/acme/a.b/{COMMIT}/d/m.gguf": (SHA256, 7),
    }, "what lies on a host is the host's"
    assert set(wheels.values()) == {(wheel[2], wheel[3]) for machine in WHEELS["13.0.3"].values() for wheel in machine}
    assert "wheels/nvidia-cuda-nvcc-13.0.88-aarch64.whl" in wheels


def test_sums() -> None:
    sums = {"models/a/b/c/m 1.gguf": SHA256, f"sources/{COMMIT}.tar": "b" * 64, "deploy.lock.yml": "c" * 64}
    assert parse_sums(render_sums(sums)) == sums
    assert find(sums, SHA256) == "models/a/b/c/m 1.gguf" and find(sums, COMMIT) == f"sources/{COMMIT}.tar" and find(sums, "d" * 64) is None


@pytest.mark.parametrize(
    "line", ["x", SHA256, f"{SHA256} m", f"{SHA256}  ", f"{SHA256}  /etc/passwd", f"{SHA256}  a/../../b", f"\\{SHA256}  a"]
)
def test_sums_that_are_none(line: str) -> None:
    with pytest.raises(UserError, match="line 2 of its SHA256SUMS"):
        parse_sums(f"{SHA256}  a\n{line}\n")


# --- packing ------------------------------------------------------------------------------------------------------------


def test_packed_once(packer: Packer) -> None:
    predicted = packer.pack(check_mode=True)
    assert predicted.changed and predicted.downloaded_bytes == len(b"weightsprojector") and not packer.bundle.root.exists()
    outcome = packer.pack()
    assert outcome.changed and outcome.fetched == predicted.fetched and outcome.downloaded_bytes == predicted.downloaded_bytes
    assert sorted(packer.models().values()) == sorted(FILES.values()) and packer.sound()
    looks = len(packer.hub.looks)
    again = packer.pack()
    assert not again.changed and not again.plan.due and len(packer.hub.looks) == looks
    assert sorted(path.name for path in packer.bundle.own.iterdir()) == ["bundle.log", "lock", "proofs.json"]


@pytest.mark.parametrize(
    ("disturb", "fetched"),
    [
        (lambda path: path.unlink(), ["deep/p.gguf"]),
        (lambda path: path.write_bytes(b"shorter"), ["deep/p.gguf"]),
        (lambda path: path.write_bytes(b"PROJECTOR"), ["deep/p.gguf"]),
        (lambda path: os.utime(path, (1, 1)), []),
        (lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), ["deep/p.gguf"]),
    ],
)
def test_what_was_disturbed_is_read_or_fetched_again(packer: Packer, disturb: Callable[[Path], object], fetched: list[str]) -> None:
    packer.pack()
    (path,) = packer.bundle.root.rglob("p.gguf")
    disturb(path)
    outcome = packer.pack()
    assert [place.partition(f"/{packer.hub.refs['main']}/")[2] for place in outcome.fetched] == fetched and outcome.changed is bool(fetched)
    assert packer.sound() and not path.is_symlink() and not packer.pack().plan.due


def test_a_commit_that_moved(packer: Packer) -> None:
    packer.pack()
    packer.follow(packer.hub.commit({"m.gguf": b"other"}))
    outcome = packer.pack()
    assert len(outcome.removed) == 3 and list(packer.models().values()) == [b"other"] and packer.sound()
    packer.request = replace(packer.request, lock=DeployLock())
    assert packer.pack().changed and not (packer.bundle.root / "models").exists() and packer.sound()


def test_killed_at_every_step_it_is_finished_by_the_next_run(packer: Packer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = packer.hub.refs["main"]
    second = packer.hub.commit({"m.gguf": b"other", "deep/p.gguf": b"projector"})
    step = 0
    while True:
        step += 1
        packer.bundle = Bundle(tmp_path / f"bundle-{step}")
        packer.follow(first)
        packer.pack()
        packer.follow(second)
        with killed_at(step, monkeypatch) as count:
            packer.pack()
        before = packer.sound()
        packer.pack()
        assert packer.sound() and not packer.pack().plan.due and sorted(packer.models().values()) == [b"other", b"projector"]
        if count[0] < step:
            break
        # Old or new, what SHA256SUMS promises is there, unless the lock beside it is newer.
        assert before or packer.bundle.path("deploy.lock.yml").read_text() == packer.request.lock_text
    assert step > 10


def test_verified(packer: Packer) -> None:
    packer.pack()
    assert not verify(packer.bundle, packer.request, packer.hub, check_mode=False).changed
    (path,) = packer.bundle.root.rglob("p.gguf")
    status = path.stat()
    path.write_bytes(b"PROJECTOR")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (gone,) = packer.bundle.root.rglob("m.gguf")
    gone.unlink()
    looks = len(packer.hub.looks)
    with pytest.raises(UserError, match="is damaged or missing") as told:
        verify(packer.bundle, packer.request, packer.hub, check_mode=False)
    assert told.value.details["damaged"] == sorted(str(place.relative_to(packer.bundle.root)) for place in (path, gone))
    assert len(packer.hub.looks) == looks, "no network is asked"
    assert len(packer.pack().fetched) == 2 and packer.sound()


def test_the_hub_fails(packer: Packer) -> None:
    packer.hub.failure = failure("network", transient=True)
    with pytest.raises(UserError, match="can't be reached"):
        packer.pack()
    assert not packer.bundle.path("SHA256SUMS").exists()


def test_a_lock_that_the_hub_knows_otherwise(packer: Packer) -> None:
    packer.hub.commits[packer.hub.refs["main"]]["m.gguf"] = b"WEIGHTS"
    with pytest.raises(UserError, match="the hub says"):
        packer.pack()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "holiday.jpg").touch(), "is not empty and no bundle, so it is left alone"),
        (lambda root: (root.rmdir(), root.touch()), "is not a directory"),
    ],
)
def test_a_directory_of_somebody_else(packer: Packer, spoil: Callable[[Path], Any], message: str) -> None:
    packer.bundle.root.mkdir()
    spoil(packer.bundle.root)
    with pytest.raises(UserError, match=message):
        packer.pack()


def test_a_relative_path(packer: Packer) -> None:
    packer.bundle = Bundle("bundle")
    with pytest.raises(UserError, match="is not an absolute path"):
        packer.pack()


def test_too_little_space(packer: Packer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255)))
    with pytest.raises(UserError, match=r"needs 1 MiB of free disk space, 0 MiB are available"):
        packer.pack(check_mode=True)


@pytest.mark.parametrize(
    ("kind", "detail", "message"),
    [
        ("space", "No space left on device", "no space was left on its file system; free some and run this again"),
        ("disk", "File too large", r"m.gguf can't be written below .*: File too large; .*\(FAT ends at 4 GiB"),
        ("corrupt", "sha256 0", "arrived damaged twice"),
    ],
)
def test_a_download_that_fails(packer: Packer, monkeypatch: pytest.MonkeyPatch, kind: str, detail: str, message: str) -> None:
    def fail(*_arguments: object) -> None:
        raise failure(kind, path="m.gguf", detail=detail)

    monkeypatch.setattr(packer.hub, "fetch", fail)
    with pytest.raises(UserError, match=message):
        packer.pack()


def test_what_killed_runs_have_left(packer: Packer) -> None:
    packer.pack()
    for left in ("wheels-13.0.3-x86_64/a.whl", "work/tmp/b", f"{SHA256}.partial"):
        packer.bundle.own.joinpath(left).parent.mkdir(parents=True, exist_ok=True)
        packer.bundle.own.joinpath(left).touch()
    packer.follow(packer.hub.commit({"m.gguf": b"other"}))
    packer.pack()
    assert sorted(path.name for path in packer.bundle.own.iterdir()) == ["bundle.log", "lock", "proofs.json"]
