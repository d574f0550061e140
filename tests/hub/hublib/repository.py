# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories: commits, each a tree of files, and names for some of them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".gguf", ".safetensors", ".bin", ".pt", ".onnx")
LFS_BYTES = 10 << 20
_CHUNK = 4 << 20


@dataclass(frozen=True)
class Content:
    """What is in a file: bytes, or the file on this machine that holds them, which may be of any size."""

    source: bytes | Path
    claimed: str | None = None
    """What the hub says its sha256 is, for one that is too large to be read and is not to be downloaded either."""

    @property
    def size(self) -> int:
        return self.source.stat().st_size if isinstance(self.source, Path) else len(self.source)

    @functools.cached_property
    def sha256(self) -> str:
        return self.claimed or self._digest(hashlib.sha256())

    @functools.cached_property
    def git_sha1(self) -> str:
        return self._digest(hashlib.sha1(b"blob %d\0" % self.size))

    def _digest(self, digest: hashlib._Hash) -> str:
        if isinstance(self.source, bytes):
            digest.update(self.source)
        else:
            with open(self.source, "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True)
class File:
    path: str
    content: Content
    lfs: bool

    @property
    def etag(self) -> str:
        return self.content.sha256 if self.lfs else self.content.git_sha1

    @functools.cached_property
    def git_oid(self) -> str:
        """What git itself tracks: of a file in LFS, the pointer."""
        return Content(self._pointer()).git_sha1 if self.lfs else self.content.git_sha1

    def _pointer(self) -> bytes:
        lines = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.content.sha256}\nsize {self.content.size}\n"
        return lines.encode()

    def sibling(self, *, metadata: bool) -> dict[str, Any]:
        """As an entry of a model's ``siblings``."""
        if not metadata:
            return {"rfilename": self.path}
        lfs = {"sha256": self.content.sha256, "size": self.content.size, "pointerSize": len(self._pointer())}
        return {
            "rfilename": self.path,
            "size": self.content.size,
            "blobId": self.git_oid,
            **({"lfs": lfs} if self.lfs else {}),
        }

    def entry(self) -> dict[str, Any]:
        """As an entry of a tree."""
        lfs = {"oid": self.content.sha256, "size": self.content.size, "pointerSize": len(self._pointer())}
        entry = {"type": "file", "oid": self.git_oid, "size": self.content.size, "path": self.path}
        return {**entry, "lfs": lfs} if self.lfs else entry


@dataclass
class Repository:
    """``private`` and ``gated`` ones are open only to tokens that name them."""

    repo_id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes | Path | Content], ref: str = "main") -> str:
        """Make ``files`` the whole tree that ``ref`` names. The same files after the same commit make the same commit."""
        tree = {path: _file(path, source) for path, source in sorted(files.items())}
        lines = [self.repo_id, self.refs.get(ref, ""), *(f"{path} {file.content.sha256}" for path, file in tree.items())]
        commit = hashlib.sha1("\n".join(lines).encode()).hexdigest()
        self.commits[commit] = tree
        self.refs[ref] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None


def _file(path: str, source: bytes | Path | Content) -> File:
    content = source if isinstance(source, Content) else Content(source)
    return File(path, content, path.endswith(LFS_SUFFIXES) or content.size >= LFS_BYTES)


def load(root: Path) -> list[Repository]:
    """The repositories below a directory: ``<root>/<organisation>/<name>/<branch>/<files>``."""
    repositories = []
    for directory in sorted(root.glob("*/*/")):
        repository = Repository(f"{directory.parent.name}/{directory.name}")
        for branch in sorted(directory.glob("*/")):
            files = {str(path.relative_to(branch)): path for path in branch.rglob("*") if path.is_file()}
            repository.commit(files, branch.name)
        repositories.append(repository)
    return repositories
