# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_removal import ensure_absent
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_hub import REPO_ID, FakeHub, Host, killed_at, sha256, tree

OLD = {"m.gguf": b"weights", "config.json": b"{}", "s-00001-of-00002.gguf": b"one", "s-00002-of-00002.gguf": b"two"}
NEW = {**OLD, "config.json": b"[]", "deep/extra.gguf": b"extra"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A repository of which two revisions are there."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    hub = FakeHub()
    host = Host(hub, RepoCache(tmp_path / "hub", REPO_ID))
    hub.commit(OLD, "v1")
    hub.commit(NEW)
    host.present(revision="v1")
    host.present()
    return host


def absent(host: Host, revision: str | None = None, *patterns: str, check_mode: bool = False) -> bool:
    return ensure_absent(host.cache, revision, patterns, check_mode=check_mode).due


def blobs(host: Host) -> set[bytes]:
    return {path.read_bytes() for path in host.cache.blobs.iterdir()}


def test_one_revision_goes_with_what_only_it_needs(host: Host) -> None:
    old, new = host.hub.refs["v1"], host.hub.refs["main"]
    before = tree(host.cache.cache_dir)
    assert absent(host, "v1", check_mode=True) and tree(host.cache.cache_dir) == before
    assert absent(host, "v1") and not absent(host, "v1") and not absent(host, old)
    assert not host.cache.snapshot(old).exists() and not (host.cache.refs / "v1").exists()
    assert blobs(host) == set(NEW.values()) and host.contents(new) == NEW
    assert sorted(path.name for path in host.cache.own.iterdir()) == sorted(["lock", "proofs.json", f"{new}.json"])
    assert not host.present().plan.due, "what stays is still proven"


def test_the_last_revision_takes_the_repository_with_it(host: Host) -> None:
    (host.cache.cache_dir / ".locks" / host.cache.root.name).mkdir(parents=True)
    other = Host(host.hub, RepoCache(host.cache.cache_dir, "acme/other"))
    other.present()
    assert absent(host) and not host.cache.root.exists() and not (host.cache.cache_dir / ".locks" / host.cache.root.name).exists()
    assert not absent(host) and not other.present().plan.due
    assert absent(other) and not host.cache.cache_dir.exists(), "and the last repository the cache"


def test_only_files_that_are_named_go(host: Host) -> None:
    new = host.hub.refs["main"]
    assert absent(host, "main", "deep/*", "s-00001-of-00002.gguf")
    assert (
        host.contents(new) == {path: NEW[path] for path in ("m.gguf", "config.json")} and not (host.cache.snapshot(new) / "deep").exists()
    )
    assert blobs(host) == set(OLD.values()) | {b"[]"}, "the other revision still has the shards"
    assert host.cache.commit_of("main") == new and not absent(host, "main", "deep/*")


def test_leftovers_without_a_revision_go_too(host: Host) -> None:
    for commit in host.cache.commits():
        for path in host.cache.paths(commit):
            host.cache.pointer(commit, path).unlink()
    assert absent(host, "v1") and not host.cache.root.exists()


def test_nothing_there_is_nothing_to_do(tmp_path: Path) -> None:
    cache = RepoCache(tmp_path / "hub", REPO_ID)
    assert not ensure_absent(cache, None, (), check_mode=False).due and not cache.cache_dir.exists()


@pytest.mark.parametrize(("revision", "patterns"), [(None, ()), ("v1", ()), ("main", ("*.gguf",))])
def test_killed_at_any_point_the_next_run_finishes(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, revision: str | None, patterns: tuple[str, ...]
) -> None:
    def fresh(name: str) -> Host:
        other = Host(host.hub, RepoCache(tmp_path / name / "hub", REPO_ID))
        for ref in ("v1", "main"):
            other.present(revision=ref)
        return other

    clean = fresh("clean")
    absent(clean, revision, *patterns)
    ignored = {f"{host.cache.root.name}/snapshots/{host.hub.refs['main']}/deep": None} if patterns else {}
    for step in range(1, 100):
        other = fresh(str(step))
        with killed_at(step, monkeypatch) as count:
            absent(other, revision, *patterns)
        absent(other, revision, *patterns)
        # A directory that is empty is all that may be left in a revision that stays.
        assert {**tree(other.cache.cache_dir), **ignored} == {**tree(clean.cache.cache_dir), **ignored}, step
        if count[0] < step:
            break
    assert step > 5


def test_a_cache_that_can_not_be_written_to(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(UserError, match=r"cache_dir: .* can't be written to by the user with the id"):
        absent(host)


# --- contents that repositories share, as the hub's client lays them since 1.33 -----------------------------------------


def share(host: Host, content: bytes, *others: RepoCache) -> Path:
    """Move a content to where all repositories have it from."""
    blob, xet_hash = sha256(content), sha256(b"xet" + content)
    shared = host.cache.cache_dir / "blobs" / xet_hash[:2] / xet_hash
    shared.parent.mkdir(parents=True, exist_ok=True)
    os.rename(host.cache.blobs / blob, shared)
    for cache in (host.cache, *others):
        cache.make(cache.blobs)
        (cache.blobs / blob).unlink(missing_ok=True)
        (cache.blobs / blob).symlink_to(os.path.relpath(shared, cache.blobs))
    shared.with_name(f"{shared.name}.refs").write_text("a line for each link\n")
    return shared


def test_a_shared_content_stays_as_long_as_somebody_has_it(host: Host) -> None:
    other = Host(host.hub, RepoCache(host.cache.cache_dir, "acme/other"))
    other.present()
    shared = share(host, b"weights", other.cache)
    for one in (host, other):
        one.present(), one.present(revision="v1")
        assert one.contents(one.hub.refs["main"]) == NEW and not one.present().plan.due
    assert absent(host, "v1") and shared.exists(), "another revision has it"
    assert absent(host) and shared.read_bytes() == b"weights", "another model has it"
    assert absent(other) and not shared.exists() and not shared.with_name(f"{shared.name}.refs").exists()


def test_a_shared_content_that_is_damaged_is_replaced_for_this_repository(host: Host) -> None:
    shared = share(host, b"weights")
    shared.write_bytes(b"WEIGHTS")
    assert host.present().changed and host.contents(host.hub.refs["main"]) == NEW
    assert not (host.cache.blobs / sha256(b"weights")).is_symlink()


def test_of_a_whole_repository_what_vllm_read_goes(tmp_path: Path) -> None:
    read = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"[]"}
    hub = FakeHub()
    commit = hub.commit({**read, "m.gguf": b"other weights", "pytorch_model.bin": b"pickle", "README.md": b"#"})
    host = Host(hub, RepoCache(tmp_path / "hub", REPO_ID))
    assert host.present("@vllm").changed and host.contents(commit) == read
    assert not host.present("@vllm").changed
    host.present("m.gguf")
    assert absent(host, commit, "@vllm") and host.contents(commit) == {"m.gguf": b"other weights"}
    assert not absent(host, commit, "@vllm")
