# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that holds the releases: one per build key, one of them current, activated and pruned atomically.

::

    <prefix>/releases/<build key>/{bin/,manifest.json}     complete and proven, or not there at all
    <prefix>/current -> releases/<build key>
    <prefix>/history.json                                  the build keys in the order of their activation
    <prefix>/{log,ccache,sources,work}/  progress.json  lock
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, symlink_atomic, sync_directory, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked
from ansible_collections.baremetal.llm.plugins.module_utils._prefix import check_path

_OWN_NAMES = frozenset({"releases", "current", "history.json", "log", "ccache", "sources", "work", "progress.json", "lock"})
_UNIT_DIRECTORY = Path("/etc/systemd/system")


# --- pure: the order of activations -------------------------------------------------------------------------------------


def after_activation(history: Sequence[str], current: str | None, key: str) -> list[str]:
    """The history once ``key`` is current: what had been rolled back from is forgotten, and no key is there twice."""
    kept = history[: history.index(current) + 1] if current in history else history
    return [*(old for old in kept if old != key), key]


def previous_release(history: Sequence[str], current: str | None, existing: Iterable[str]) -> str | None:
    """The release to go back to from ``current``: the one activated before it that still exists."""
    before = history[: history.index(current)] if current in history else history
    there = set(existing)
    return next((key for key in reversed(before) if key in there and key != current), None)


def prunable(history: Sequence[str], current: str | None, existing: Iterable[str], keep: int, in_use: Iterable[str]) -> list[str]:
    """The releases beyond the ``keep`` latest activated; never the current one, the one before it, or one in use."""
    there = set(existing)
    latest_first = [key for key in reversed(history) if key in there]
    # One that was never recorded, or was rolled back from and then replaced, is the first to go.
    latest_first += sorted(there.difference(latest_first))
    protected = {current, previous_release(history, current, there), *in_use}
    return sorted(key for key in latest_first[max(keep, 1) :] if key not in protected)


# --- the directory ------------------------------------------------------------------------------------------------------


class ReleaseStore:
    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self.prefix = Path(prefix)
        self.releases = self.prefix / "releases"
        self.current = self.prefix / "current"
        self.logs = self.prefix / "log"
        self.ccache = self.prefix / "ccache"
        self.sources = self.prefix / "sources"
        self.work = self.prefix / "work"
        self.progress = self.prefix / "progress.json"
        self._history = self.prefix / "history.json"
        self._lock = self.prefix / "lock"

    def check_prefix(self) -> None:
        """Refuse a directory that holds anything else: it is pruned and removed without asking."""
        check_path(self.prefix, "/opt/llama.cpp")
        if self.prefix.is_symlink() or (self.prefix.exists() and not self.prefix.is_dir()):
            raise UserError(f"prefix: {self.prefix} is a symbolic link or a file; give a directory, or a path that does not exist yet")
        foreign = sorted(name for name in self._entries() if not _is_own(name))
        if foreign:
            raise UserError(
                f"prefix: {self.prefix} holds {', '.join(foreign[:5])}{' …' if len(foreign) > 5 else ''}, "
                "which llama_build did not put there; give it a directory of its own"
            )

    # What is there

    def release(self, key: str) -> Path:
        return self.releases / key

    def release_keys(self) -> list[str]:
        """The releases that are there; a directory without a manifest is none."""
        try:
            names = os.listdir(self.releases)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if (self.releases / name / "manifest.json").is_file())

    def current_key(self) -> str | None:
        """The release that ``current`` points to, even if that has gone."""
        try:
            return Path(os.readlink(self.current)).name
        except OSError:
            return None

    def manifest(self, key: str) -> dict[str, object] | None:
        """What is known about a release; None unless it is there with all of its files."""
        text = read_text_or_none(self.release(key) / "manifest.json")
        try:
            manifest = json.loads(text) if text else None
        except ValueError:
            return None
        if not isinstance(manifest, dict) or manifest.get("build_key") != key:
            return None
        binaries = self.release(key) / "bin"
        return manifest if all((binaries / name).is_file() for name in manifest.get("files", {})) else None

    def history(self) -> list[str]:
        return list(self._recorded())

    def previous_key(self) -> str | None:
        return previous_release(self.history(), self.current_key(), self.release_keys())

    def users(self) -> dict[str, str]:
        """The releases that something needs, and what: a running process, or a service that is to be started again."""
        users: dict[str, str] = {}
        for key, unit in self._named_by_units():
            users[key] = unit
        for key, process in self._executed():
            users[key] = process
        return users

    def overview(self) -> list[dict[str, object]]:
        """Each release with what it was built for and what needs it, in the order of their keys."""
        users = self.users()
        found = []
        for key in self.release_keys():
            inputs = (self.manifest(key) or {}).get("inputs")
            built_for = {name: inputs.get(name) if isinstance(inputs, Mapping) else None for name in ("backend", "toolkit")}
            found.append({"build_key": key, **built_for, "used_by": users.get(key)})
        return found

    def executed_by(self) -> list[str]:
        """The processes that run a program of a release."""
        return [process for _key, process in self._executed()]

    # Changing it; the caller holds the lock

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the prefix for this process and for the children that inherit the descriptor; waits for whoever has it."""
        with locked(self._lock) as descriptor:
            yield descriptor

    def clear_work(self) -> None:
        if self.work.exists():
            shutil.rmtree(self.work)

    def new_work(self) -> Path:
        """An empty directory to work in, whatever a killed run has left there."""
        self.clear_work()
        (self.work / "tmp").mkdir(parents=True)
        return self.work

    def add(self, key: str, staged: Path, manifest: Mapping[str, object]) -> None:
        """Make ``staged``, which holds bin/, the release ``key``: it appears complete and on disk, or not at all."""
        write_atomic(staged / "manifest.json", _json(manifest), 0o644)
        for directory, _subdirectories, files in os.walk(staged):
            for name in files:
                _sync_file(Path(directory, name))
            sync_directory(directory)
        self.releases.mkdir(mode=0o755, exist_ok=True)
        if self.release(key).exists():
            self._drop(key)
        os.rename(staged, self.release(key))
        sync_directory(self.releases)

    def activate(self, key: str) -> None:
        """Make ``key`` the current release. The symbolic link alone decides; a crash before it leaves everything as it was."""
        self._record(after_activation(self.history(), self.current_key(), key), activated=key)
        self.point_to(key)

    def point_to(self, key: str) -> None:
        """Make ``key`` current without forgetting what was activated after it."""
        symlink_atomic(self.current, f"{self.releases.name}/{key}")

    def prune(self, keep: int) -> list[str]:
        """Remove the releases that ``keep`` leaves over, then their sources, old logs and names in the history."""
        doomed = prunable(self.history(), self.current_key(), self.release_keys(), keep, self.users())
        for key in {*doomed, *self._remains()}:
            self._drop(key)
        there = self.release_keys()
        self._record([key for key in self.history() if key in there])
        return doomed

    def remove(self) -> None:
        """Remove the whole prefix, the lock last."""
        with contextlib.suppress(FileNotFoundError):
            self.current.unlink()
        for name in self._entries():
            path = self.prefix / name
            if name == self._lock.name:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self._lock.unlink(missing_ok=True)
        # Someone who waits for the lock may have created it anew; it is theirs now.
        with contextlib.suppress(OSError):
            self.prefix.rmdir()

    # Details

    def _entries(self) -> list[str]:
        try:
            return sorted(os.listdir(self.prefix))
        except FileNotFoundError:
            return []

    def _remains(self) -> list[str]:
        """What a removal that was cut short has left of releases."""
        return sorted(set(os.listdir(self.releases)).difference(self.release_keys()))

    def _drop(self, key: str) -> None:
        """Remove a release: without its manifest it is none, however long the rest takes."""
        (self.release(key) / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(self.release(key))

    def _recorded(self) -> dict[str, str]:
        """When each release was activated, in that order."""
        try:
            recorded = json.loads(read_text_or_none(self._history) or "[]")
            return {entry["build_key"]: entry["activated"] for entry in recorded}
        except (ValueError, TypeError, KeyError):
            return {}

    def _record(self, keys: Sequence[str], activated: str | None = None) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        since = {**self._recorded(), **({activated: now} if activated else {})}
        write_atomic(self._history, _json([{"build_key": key, "activated": since[key]} for key in keys]), 0o644)

    def _executed(self) -> Iterator[tuple[str, str]]:
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                program = Path(os.readlink(process / "exe").removesuffix(" (deleted)"))
                key = program.relative_to(self.releases.resolve()).parts[0]
            except (OSError, ValueError):
                continue
            yield key, f"process {process.name} ({program.name}{_unit_of(process)})"

    def _named_by_units(self) -> Iterator[tuple[str, str]]:
        for unit in sorted(_UNIT_DIRECTORY.glob("*.service")):
            text = _text_or_empty(unit)
            for key in self.release_keys():
                if f"{self.release(key)}/" in text:
                    yield key, unit.name


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=2, sort_keys=True) + "\n").encode()


def _is_own(name: str) -> bool:
    # A crash leaves the temporary file of an atomic write: a dot, the name, a dot and more.
    return name in _OWN_NAMES or any(name.startswith(f".{own}.") for own in _OWN_NAMES)


def _sync_file(path: Path) -> None:
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unit_of(process: Path) -> str:
    """`` of inference-x.service`` for a process that systemd runs as a service."""
    name = _text_or_empty(process / "cgroup").strip().rpartition("/")[2]
    return f" of {name}" if name.endswith(".service") else ""


def _text_or_empty(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
