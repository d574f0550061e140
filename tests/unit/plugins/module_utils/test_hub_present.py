# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run plans, brings and proves, without a network and without a process."""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import Delivery
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import LockedFile, LockedModel
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_hub import REPO_ID, FakeHub, Host, failure, killed_at, sha256, tree

FILES = {"m.gguf": b"weights", "deep/er/p.gguf": b"projector", "config.json": b"{}", "copy.gguf": b"weights"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # the disk's, not the code's
    hub = FakeHub()
    hub.commit(FILES)
    return Host(hub, RepoCache(tmp_path / "hub", REPO_ID))


def lock_of(files: dict[str, bytes], commit: str) -> LockedModel:
    return LockedModel(commit, tuple(LockedFile(path, len(content), sha256(content)) for path, content in files.items()))


def test_present_brings_each_content_once(host: Host) -> None:
    outcome = host.present()
    assert outcome.changed and host.contents(host.hub.refs["main"]) == FILES
    assert outcome.fetched == tuple(sorted(FILES)) and outcome.downloaded_bytes == len(b"weights" + b"projector" + b"{}")
    assert [file.sha256 for file in outcome.files] == [sha256(FILES[file.path]) for file in outcome.files]
    assert len(host.hub.fetched) == 3


def test_nothing_to_do_opens_no_content_and_asks_nobody(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = host.present().plan.commit
    assert commit
    before, looks = tree(host.cache.cache_dir), len(host.hub.looks)
    opened: list[str] = []
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda file, *rest, **more: opened.append(str(file)) or real(file, *rest, **more))
    assert not host.present(revision=commit).changed and not host.present(lock=lock_of(FILES, commit)).changed
    assert [path for path in opened if "/blobs/" in path or "/snapshots/" in path] == []
    assert len(host.hub.looks) == looks and tree(host.cache.cache_dir) == before


@pytest.mark.parametrize("lock", [False, True])
def test_killed_at_any_point_the_next_run_heals(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: bool) -> None:
    commit = host.hub.refs["main"]
    settings: dict[str, Any] = {"lock": lock_of(FILES, commit)} if lock else {}
    host.present(**settings)
    clean = tree(host.cache.cache_dir)
    for step in range(1, 200):
        other = Host(host.hub, RepoCache(tmp_path / str(step) / "hub", REPO_ID))
        with killed_at(step, monkeypatch) as count:
            other.present(**settings)
        there = other.contents(commit)
        assert there.items() <= FILES.items(), "whatever is to be seen is whole"
        other.present(**settings)
        assert tree(other.cache.cache_dir) == clean, step
        if count[0] < step:
            break
    assert 15 < step < 199


def test_killed_while_the_revision_moves(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    first = host.present().plan.commit
    moved = host.hub.commit({**FILES, "config.json": b"[]"})
    for step in range(1, 100):
        with killed_at(step, monkeypatch) as count:
            host.present()
        named = host.cache.commit_of("main")
        assert named in (first, moved) and host.contents(named) == host.hub.commits[named], "a branch names what is complete"
        if count[0] < step:
            break
    assert host.cache.commit_of("main") == moved


def test_a_download_that_was_cut_short_goes_on(host: Host) -> None:
    host.cache.make(host.cache.own)
    host.cache.partial(sha256(b"weights")).write_bytes(b"wei")
    host.cache.partial("0" * 64).write_bytes(b"of a revision that nobody wants any more")
    assert host.present("m.gguf", check_mode=True).downloaded_bytes == 4
    assert host.present("m.gguf").downloaded_bytes == 4
    assert list(host.cache.own.glob("*.partial")) == []


def test_what_another_revision_has_is_only_linked(host: Host) -> None:
    host.present()
    fetched = len(host.hub.fetched)
    host.hub.commit({"renamed.gguf": b"weights"})
    outcome = host.present(check_mode=True)
    assert outcome.changed and outcome.fetched == () and outcome.downloaded_bytes == 0
    assert host.present().changed and len(host.hub.fetched) == fetched
    assert not host.present().changed


# --- trust --------------------------------------------------------------------------------------------------------------


def blob_of(host: Host, path: str) -> Path:
    return host.cache.pointer(host.hub.refs["main"], path).resolve()


def test_damage_with_size_and_time_as_before_is_found_by_reading(host: Host) -> None:
    host.present()
    blob = blob_of(host, "m.gguf")
    status = blob.stat()
    blob.write_bytes(b"WEIGHTS")
    os.utime(blob, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not host.present().changed
    predicted = host.present(trust=False, check_mode=True)
    assert not predicted.changed and predicted.plan.long
    outcome = host.present(trust=False)
    assert outcome.changed and outcome.fetched == ("copy.gguf", "m.gguf") and "was damaged" in outcome.warnings[0]
    assert host.contents(host.hub.refs["main"]) == FILES


@pytest.mark.parametrize("path", ["m.gguf", "config.json"])
@pytest.mark.parametrize("content", [b"", b"other", b"longer than it was"])
def test_other_contents_are_replaced(host: Host, path: str, content: bytes) -> None:
    host.present()
    blob_of(host, path).write_bytes(content)
    assert host.present().changed and host.contents(host.hub.refs["main"]) == FILES


def test_damage_of_what_a_lock_names_is_mended_though_the_client_is_still_to_be_installed(host: Host) -> None:
    commit = host.present(revision=host.hub.refs["main"]).plan.commit
    assert commit
    for record in host.cache.own.glob("*.json"):
        record.unlink()
    blob_of(host, "m.gguf").write_bytes(b"WEIGHTS")
    host.hub.installed = False
    assert host.present(revision=commit, lock=lock_of(FILES, commit)).fetched == ("copy.gguf", "m.gguf")
    assert host.hub.installed and host.contents(commit) == FILES


def test_a_file_that_was_touched_is_read_once(host: Host) -> None:
    host.present()
    os.utime(blob_of(host, "m.gguf"))
    touched = host.present()
    assert not touched.changed and [file.path for file in touched.plan.to_verify] == ["copy.gguf", "m.gguf"]
    assert not host.present().plan.due


def test_a_pointer_to_another_content_is_put_right(host: Host) -> None:
    host.present()
    commit = host.hub.refs["main"]
    for path in ("m.gguf", "config.json"):
        host.cache.link(commit, path, blob_of(host, "deep/er/p.gguf").name)
    assert host.present().changed and host.contents(commit) == FILES


def test_a_snapshot_without_links_will_do(host: Host) -> None:
    """As the hub's client makes it on file systems that have none."""
    host.present("m.gguf", "config.json")
    commit = host.hub.refs["main"]
    for path in ("m.gguf", "config.json"):
        content, pointer = FILES[path], host.cache.pointer(commit, path)
        pointer.unlink()
        pointer.write_bytes(content)
    read = host.present("m.gguf", "config.json")
    assert not read.changed and len(read.plan.to_verify) == 2 and not host.present("m.gguf", "config.json").plan.due


@pytest.mark.parametrize(
    ("damage", "looks"),
    [
        (lambda own: (own / "proofs.json").write_text("{"), 0),
        (lambda own: (own / "proofs.json").write_text('{"blobs/x": {"sha256": 1, "size": 2, "mtime_ns": 3, "inode": 4}, "y": []}'), 0),
        (lambda own: (own / "proofs.json").write_text("[1]"), 0),
        (lambda own: [path.write_text('{"files": [{}]}') for path in own.glob("?" * 40 + ".json")], 1),
        (lambda own: [path.unlink() for path in own.glob("*.json")], 1),
    ],
)
def test_records_that_are_damaged_cost_no_more_than_a_look(host: Host, damage: Any, looks: int) -> None:
    commit = host.present().plan.commit
    assert commit
    damage(host.cache.own)
    asked = len(host.hub.looks)
    outcome = host.present(revision=commit)
    assert not outcome.changed and len(host.hub.looks) - asked == looks
    assert not host.present(revision=commit).plan.due


# --- who is asked -------------------------------------------------------------------------------------------------------


def test_before_the_client_is_there_check_mode_says_what_it_can(host: Host) -> None:
    host.hub.installed = False
    commit = host.hub.refs["main"]
    blind = host.present(check_mode=True)
    assert blind.changed and blind.plan.blind and blind.plan.commit is None
    named = host.present("m.gguf", revision=commit, check_mode=True)
    assert named.changed and named.plan.commit == commit and named.fetched == ("m.gguf",)
    locked = host.present(lock=lock_of(FILES, commit), check_mode=True)
    assert locked.downloaded_bytes == sum(map(len, set(FILES.values()))) and not host.hub.looks, "what is there twice comes once"
    assert host.present().changed and host.hub.installed
    host.hub.installed = False
    assert not host.present(revision=commit).plan.due and not host.hub.installed, "nothing to fetch, nothing to install"


def test_a_hub_that_is_away_for_a_while_stops_nobody_who_has_all(host: Host) -> None:
    commit = host.present().plan.commit
    host.hub.commit({"new.gguf": b"new"})
    for transient in (
        failure("network", transient=True),
        failure("http", status=429, transient=True),
        failure("http", status=503, transient=True),
    ):
        host.hub.failure = transient
        outcome = host.present()
        assert outcome.plan.commit == commit and not outcome.changed
        assert f"The last known main, {commit}, is complete and was taken" in outcome.warnings[0]
    host.hub.failure = failure("no_repository")
    with pytest.raises(UserError, match="has no acme/tiny"):
        host.present()
    host.hub.failure = failure("http", status=503, transient=True)
    blob_of_first = host.cache.pointer(str(commit), "m.gguf").resolve()
    blob_of_first.unlink()
    with pytest.raises(UserError, match="has a problem of its own"):
        host.present()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"revision": "main"}, r"revision: what 'main' of acme/tiny is can't be asked for offline, and .*/refs does not know it"),
        ({"revision": "0" * 40}, r"offline: .*/snapshots/0+ is not there, so nothing of acme/tiny"),
        ({"lock": lock_of(FILES, "0" * 40)}, r"is not complete: config\.json \(missing\), .*; run this once without offline"),
    ],
)
def test_offline_with_nothing(host: Host, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        host.present(offline=True, **settings)
    assert not host.cache.root.exists() and not host.hub.looks


def test_offline_what_somebody_brought_is_proven_as_far_as_its_names_say(host: Host) -> None:
    cache, commit = host.cache, host.hub.refs["main"]
    cache.make(cache.own)
    cache.make(cache.blobs)
    for path, content in FILES.items():
        blob = sha256(content) if path.endswith("gguf") else "0" * 40
        (cache.blobs / blob).write_bytes(content)
        cache.link(commit, path, blob)
    with pytest.raises(UserError, match=r"is not complete: config\.json \(wrong\)"):
        host.present(offline=True, revision=commit)
    assert not host.present("*.gguf", offline=True, revision=commit).changed
    assert not host.present(offline=True, revision=commit, lock=lock_of(FILES, commit)).changed and not host.hub.looks


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_a_lock_and_the_hub_disagree(host: Host) -> None:
    commit = host.hub.refs["main"]
    for path, message in (("m.gguf", "the hub says"), ("config.json", "the hub gave"), ("other.gguf", "is not in acme/tiny at")):
        with pytest.raises(UserError, match=rf"expected\.files: .*{path}.*{message}|{path} {message}"):
            host.present(path, lock=lock_of({path: b"7 bytes" if path == "m.gguf" else b"[]"}, commit))
        assert host.cache.paths(commit) == [] and list(host.cache.own.glob("*.partial")) == []
    with pytest.raises(UserError, match=r"the lock says size 3 for m\.gguf, the hub says 7"):
        host.present(lock=lock_of({"m.gguf": b"abc"}, commit))
    with pytest.raises(UserError, match=r"revision: f+ is wanted of acme/tiny, but the lock \(expected\) is of"):
        host.present(revision="f" * 40, lock=lock_of(FILES, commit))


def test_no_room(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.statvfs_result((4096, 4096, 1000, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: status)
    for check_mode in (True, False):
        with pytest.raises(
            UserError, match=r"what is missing of acme/tiny needs 1 MiB of free disk space below .*/hub, 0 MiB are available"
        ):
            host.present(check_mode=check_mode)
    assert not host.cache.cache_dir.exists()


def test_a_file_that_the_hub_does_not_give(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = host.hub.look(REPO_ID, "main")
    huge = [vars(file) | {"size": 60 * 10**9} for file in listing.files if file.path == "m.gguf"]
    host.cache.make(host.cache.own)
    (host.cache.own / f"{listing.commit}.json").write_text(json.dumps({"files": huge}))
    with pytest.raises(UserError, match=r"files: m\.gguf is larger than 50 GB"):
        host.present(revision=listing.commit)


def test_a_cache_that_can_not_be_written_to(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(UserError, match=r"cache_dir: .* can't be written to by the user with the id \d+; run this with become: true"):
        host.present()


def test_a_cache_in_a_file(host: Host) -> None:
    host.cache.cache_dir.write_text("")
    with pytest.raises(UserError, match="is not a directory"):
        host.present()


def test_something_in_the_way(host: Host) -> None:
    host.cache.make(host.cache.snapshot(host.hub.refs["main"]))
    (host.cache.snapshot(host.hub.refs["main"]) / "deep").write_text("a file where a directory is to be")
    with pytest.raises(UserError, match=r"cache_dir: .*/deep can't be read or written: .*; repair or replace the file system"):
        host.present()


# --- from a bundle ------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_asked_for_and_taken(host: Host) -> None:
    commit = host.hub.refs["main"]
    lock, offline = lock_of(FILES, commit), {"offline": True, "delivery": Delivery()}
    host.hub.installed = False
    predicted = host.present(lock=lock, check_mode=True, **offline)
    wishes = {sha256(content) for content in FILES.values()}
    assert predicted.changed and {wish.digest for wish in predicted.asks_for} == wishes and not host.cache.root.exists()
    asked = host.present(lock=lock, **offline)
    assert asked.asks_for == predicted.asks_for and not asked.changed and host.cache.own.is_dir()
    for content in FILES.values():
        host.cache.partial(sha256(content)).write_bytes(content)
    outcome = host.present(lock=lock, offline=True, delivery=Delivery(tuple(wishes)))
    assert outcome.changed and outcome.fetched == tuple(sorted(FILES)) and host.contents(commit) == FILES
    assert not host.present(lock=lock, **offline).plan.due and not list(host.cache.own.glob("*.partial"))
    assert not host.hub.installed and not host.hub.looks
    # The hub calls small files by another name. What is there is read once, and fetched never.
    host.hub.installed = True
    assert not host.present().changed and not host.hub.fetched


def test_what_arrives_damaged_is_not_kept(host: Host) -> None:
    commit, delivered = host.hub.refs["main"], tuple(sha256(content) for content in FILES.values())
    host.cache.own.mkdir(parents=True)
    for content in FILES.values():
        host.cache.partial(sha256(content)).write_bytes(content[:-1] + b"?")
    with pytest.raises(UserError, match="arrived damaged from the bundle"):
        host.present(lock=lock_of(FILES, commit), offline=True, delivery=Delivery(delivered))
    assert not host.cache.blobs.exists() and len(list(host.cache.own.glob("*.partial"))) == len(set(delivered)) - 1


def test_without_a_lock_nobody_knows_what_to_ask_for(host: Host) -> None:
    with pytest.raises(UserError, match="so nothing of acme/tiny at"):
        host.present(revision=host.hub.refs["main"], offline=True, delivery=Delivery())
