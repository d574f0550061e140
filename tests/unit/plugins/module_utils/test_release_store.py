# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _release_store
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import (
    ReleaseStore,
    after_activation,
    previous_release,
    prunable,
)
from hypothesis import given
from hypothesis import strategies as st

keys = st.sampled_from("abcdef")
histories = st.lists(keys, unique=True)


def test_order_of_activations() -> None:
    assert after_activation([], None, "a") == ["a"]
    assert after_activation(["a", "b"], "b", "c") == ["a", "b", "c"]
    assert after_activation(["a", "b"], "b", "a") == ["b", "a"]
    assert after_activation(["a", "b", "c"], "a", "d") == ["a", "d"]  # rolled back from b and c
    assert after_activation(["a", "b"], "lost", "c") == ["a", "b", "c"]


def test_the_one_before() -> None:
    assert previous_release(["a", "b", "c"], "c", "abc") == "b"
    assert previous_release(["a", "b", "c"], "c", "ac") == "a"  # b has gone
    assert previous_release(["a", "b", "c"], "a", "abc") is None
    assert previous_release(["a", "b"], "lost", "ab") == "b"
    assert previous_release([], None, []) is None


@given(histories, st.none() | keys, keys)
def test_after_activation_going_back_leads_to_what_was_current(history: list[str], current: str | None, key: str) -> None:
    activated = after_activation(history, current, key)
    assert activated[-1] == key and len(set(activated)) == len(activated)
    if current in history and current != key:
        assert previous_release(activated, key, history) == current


@given(histories, st.none() | keys, st.sets(keys), st.integers(0, 4), st.sets(keys))
def test_pruning_never_takes_what_is_needed(history: list[str], current: str | None, there: set[str], keep: int, in_use: set[str]) -> None:
    doomed = set(prunable(history, current, there, keep, in_use))
    assert doomed <= there
    assert not doomed & {current, previous_release(history, current, there), *in_use}
    assert len(there - doomed) >= min(len(there), keep)
    assert not doomed or len(there) > max(keep, 1)


def test_pruning_takes_the_longest_inactive_and_the_forgotten() -> None:
    assert prunable(["a", "b", "c", "d"], "d", "abcdz", 2, []) == ["a", "b", "z"]


# --- on disk ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    store = ReleaseStore(tmp_path / "opt" / "llama.cpp")
    store.prefix.mkdir(parents=True)
    return store


def add(store: ReleaseStore, key: str) -> None:
    staged = store.new_work() / "staged"
    (staged / "bin").mkdir(parents=True)
    (staged / "bin" / "llama-server").write_text(key)
    store.add(key, staged, {"build_key": key, "inputs": {}, "files": {"llama-server": ""}})


def test_add_activate_go_back(store: ReleaseStore) -> None:
    for key in ("a", "b"):
        add(store, key)
        store.activate(key)
    assert store.current_key() == "b" and store.previous_key() == "a"
    assert os.readlink(store.current) == "releases/b"
    store.point_to("a")
    assert store.current_key() == "a" and store.previous_key() is None
    assert store.history() == ["a", "b"]


def test_crash_between_the_record_and_the_switch_changes_nothing(store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, "a")
    store.activate("a")
    add(store, "b")
    with monkeypatch.context() as crash:
        crash.setattr(_release_store, "symlink_atomic", lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.activate("b")
    assert store.current_key() == "a" and store.previous_key() is None
    store.activate("b")
    assert store.current_key() == "b" and store.previous_key() == "a"


def test_damaged_release_is_none_and_is_replaced(store: ReleaseStore) -> None:
    add(store, "a")
    assert store.manifest("a") is not None
    (store.release("a") / "bin" / "llama-server").unlink()
    assert store.manifest("a") is None
    add(store, "a")
    assert store.manifest("a") is not None
    (store.release("a") / "manifest.json").write_text("{")
    assert store.manifest("a") is None


def test_pruned_releases_leave_the_history(store: ReleaseStore) -> None:
    for key in ("a", "b", "c"):
        add(store, key)
        store.activate(key)
    assert store.prune(2) == ["a"]
    assert store.release_keys() == ["b", "c"] and store.history() == ["b", "c"]


def test_release_that_a_stopped_service_will_need_is_kept(store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a", "b", "c"):
        add(store, key)
        store.activate(key)
    (tmp_path / "inference-x.service").write_text(f"[Service]\nExecStart={store.release('a')}/bin/llama-server\n")
    monkeypatch.setattr(_release_store, "_UNIT_DIRECTORY", tmp_path)
    assert store.users() == {"a": "inference-x.service"}
    assert store.prune(1) == []


def test_running_program_is_found(store: ReleaseStore) -> None:
    add(store, "a")
    program = store.release("a") / "bin" / "sleep"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "60"]) as process:
        try:
            assert store.users()["a"].startswith(f"process {process.pid} (sleep")
        finally:
            process.kill()


def test_remove_leaves_nothing(store: ReleaseStore) -> None:
    add(store, "a")
    store.activate("a")
    with store.locked():
        store.remove()
    assert not store.prefix.exists()


def test_lock_is_held_until_the_last_heir_has_ended(store: ReleaseStore) -> None:
    with store.locked() as descriptor:
        heir = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    try:
        attempt = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        command = [sys.executable, "-c", attempt, str(store.prefix / "lock")]
        assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0
    finally:
        heir.kill()
        heir.wait()
    assert subprocess.run(command, check=False).returncode == 0


def test_prefix_with_anything_else_is_refused(store: ReleaseStore) -> None:
    add(store, "a")
    (store.prefix / ".history.json.x8g2").write_text("")  # left by a crash
    store.check_prefix()
    (store.prefix / "precious").write_text("")
    with pytest.raises(UserError, match="holds precious, which llama_build did not put there"):
        store.check_prefix()
