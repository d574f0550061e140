# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository of the hub in a cache, with a stand-in for the hub's client that brings contents from memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import HubFile, Listing
from ansible_collections.baremetal.llm.plugins.module_utils._hub_plan import Request
from ansible_collections.baremetal.llm.plugins.module_utils._hub_present import Outcome, ensure_present
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import Download, HubFailure, Watcher

REPO_ID = "acme/tiny"


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hub_file(path: str, content: bytes) -> HubFile:
    lfs = path.endswith(".gguf")
    return HubFile(path, len(content), sha256(content) if lfs else git_sha1(content), lfs)


@dataclass
class FakeHub:
    """Commits and branches, and the client that asks for them; ``failure`` is what it says instead of an answer."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    failure: HubFailure | None = None
    looks: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    installed: bool = True
    python: str = "/opt/client/bin/python"
    endpoint: str = "http://hub"
    own: bool = True
    token: str | None = None

    def commit(self, files: Mapping[str, bytes], ref: str = "main") -> str:
        commit = hashlib.sha1(repr((sorted(files.items()), self.refs)).encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[ref] = commit
        return commit

    # As the module's source of clients

    def ready(self) -> Any:
        return self if self.installed else None

    def provide(self, _progress: object) -> Any:
        self.installed = True
        return self

    # As the client

    def look(self, _repo_id: str, revision: str) -> Listing:
        self.looks.append(revision)
        if self.failure:
            raise self.failure
        commit = self.refs.get(revision, revision)
        if commit not in self.commits:
            raise failure("no_revision")
        return Listing(commit, tuple(sorted(hub_file(path, content) for path, content in self.commits[commit].items())))

    def fetch(self, _repo_id: str, commit: str, downloads: Sequence[Download], watcher: Watcher, keep_open: Sequence[int] = ()) -> None:
        assert keep_open
        for download in downloads:
            if self.failure:
                raise self.failure
            content = self.commits[commit][download.file.path]
            there = download.partial.read_bytes() if download.partial.exists() else b""
            download.partial.write_bytes(content)
            self.fetched.append(download.file.path)
            watcher.progress(len(content), download.file.path)
            watcher.complete(download, sha256(content), len(content) - len(there))


def failure(kind: str, *, status: int | None = None, transient: bool = False, path: str | None = None, detail: str = "why") -> HubFailure:
    return HubFailure(kind, detail, status, None, transient, path, {})


@dataclass
class Host:
    """The cache of one repository, and runs on it."""

    hub: FakeHub
    cache: RepoCache

    def present(self, *patterns: str, revision: str = "main", check_mode: bool = False, **settings: Any) -> Outcome:
        request = Request(self.cache, revision, patterns, **settings)
        return ensure_present(request, self.hub, check_mode=check_mode)

    def contents(self, commit: str) -> dict[str, bytes]:
        return {path: self.cache.pointer(commit, path).read_bytes() for path in self.cache.paths(commit)}


def tree(top: Path, *, without: Sequence[str] = ("lock", "progress.json")) -> dict[str, object]:
    """All that is below a directory: modes, links and contents."""
    found: dict[str, object] = {}
    for directory, subdirectories, names in os.walk(top):
        for name in (*subdirectories, *(name for name in names if name not in without)):
            path = Path(directory, name)
            what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "directory"
            # Times and inodes differ from run to run.
            what = b"proofs" if name == "proofs.json" else what
            found[str(path.relative_to(top))] = (oct(path.lstat().st_mode), what)
    return found


class Killed(BaseException):
    """What a process does not survive."""


@contextlib.contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """End everything at the n-th change of a name in a directory; the list says how many there were."""
    count = [0]

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            count[0] += 1
            if count[0] >= step:  # a dead process does nothing more, not even tidy up
                raise Killed
            return original(*arguments, **settings)

        return call

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        for name in ("link", "mkdir", "rename", "replace", "rmdir", "symlink", "truncate", "unlink"):
            patch.setattr(os, name, wrapped(getattr(os, name)))
        yield count
