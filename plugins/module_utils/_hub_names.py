# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the model hub: repositories, revisions, files; and what a lock says about them.

What the hub calls a repository's *revision* is a branch, a tag or a commit; only a commit never changes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO_ID = re.compile(rf"{_REPO_PART}/{_REPO_PART}")


@dataclass(frozen=True, order=True)
class LockedFile:
    """A file whose content is settled."""

    path: str
    size: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True)
class LockedModel:
    """A model that is settled: the commit, and each of its files that are wanted. It is what stands in a lock."""

    commit: str
    files: tuple[LockedFile, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"commit": self.commit, "files": [file.as_dict() for file in sorted(self.files)]}


def parse_lock(raw: Mapping[str, Any], where: str = "expected") -> LockedModel:
    """What the lock of one model says, or an error that names what is wrong in it and ``where`` that stands."""
    commit = str(raw.get("commit") or "")
    if not is_commit(commit):
        raise UserError(
            f"{where}.commit: {commit!r} is not a commit but the name of a branch or tag, which can come to mean another; "
            "give the 40 hexadecimal digits of the commit, as the lock has them when it is written anew"
        )
    files = tuple(_locked_file(f"{where}.files[{index}]", entry) for index, entry in enumerate(raw.get("files") or ()))
    if not files:
        raise UserError(f"{where}.files: there are none, so nothing could be proven; list each file with its path, size and sha256")
    return LockedModel(commit, files)


def _locked_file(where: str, raw: Mapping[str, Any]) -> LockedFile:
    path, size, sha256 = str(raw.get("path") or ""), raw.get("size"), str(raw.get("sha256") or "")
    check_path(f"{where}.path", path)
    if not isinstance(size, int) or size < 0:
        raise UserError(f"{where}.size: {size!r} is not a number of bytes; give the size of {path}")
    if not is_sha256(sha256):
        raise UserError(f"{where}.sha256: {sha256!r} is not a sha256; give the 64 hexadecimal digits of {path}")
    return LockedFile(path, size, sha256)


def is_commit(revision: str) -> bool:
    return bool(_COMMIT.fullmatch(revision))


def is_sha256(text: str) -> bool:
    return bool(_SHA256.fullmatch(text))


def is_repo_id(text: str) -> bool:
    return bool(_REPO_ID.fullmatch(text)) and "--" not in text and ".." not in text


def is_revision(text: str) -> bool:
    """Whether it can be a commit, a branch or a tag."""
    return not text.startswith("-") and not {"", ".", ".."} & set(text.split("/")) and not re.search(r"[\s\\~^:?*\[]|@\{", text)


def is_path(text: str) -> bool:
    """Whether it is a path that stays inside its repository."""
    parts = text.split("/")
    return not {"", ".", ".."} & set(parts) and "\\" not in text and all(unicodedata.category(character) != "Cc" for character in text)


def check_repo_id(repo_id: str) -> None:
    if not is_repo_id(repo_id):
        raise UserError(
            f"repo_id: {repo_id!r} is not the name of a repository; write it as the hub does, ORGANISATION/NAME, "
            "such as Qwen/Qwen2.5-0.5B-Instruct-GGUF"
        )


def check_revision(revision: str) -> None:
    if not is_revision(revision):
        raise UserError(f"revision: {revision!r} can't be a revision; give a commit (40 hexadecimal digits), a branch or a tag")


def check_path(where: str, path: str) -> None:
    if not is_path(path):
        raise UserError(f"{where}: {path!r} is not a path inside the repository; write it as the hub shows it, such as model-q4_k_m.gguf")


def check_endpoint(endpoint: str) -> None:
    try:
        url = urlsplit(endpoint)
        right = url.scheme in ("http", "https") and bool(url.hostname) and not url.query
        right = right and (url.port is None or url.port > 0)
    except ValueError:
        right = False
    if not right:
        raise UserError(f"endpoint: {endpoint!r} is not the address of a hub; write it like {DEFAULT_ENDPOINT}")


def check_token(token: str) -> None:
    """Never tells the token, not even a wrong one."""
    if not all("!" <= character <= "~" for character in token):
        raise UserError("token: it holds a space, a line break or a character outside ASCII, so it is no token; copy it again")


@dataclass(frozen=True, order=True)
class HubFile:
    """A file of a commit as the hub describes it. ``blob`` is its name in a cache: the sha256 with LFS, else git's sha1."""

    path: str
    size: int
    blob: str
    lfs: bool

    @property
    def sha256(self) -> str | None:
        """What the hub says about the content; of files outside LFS it says only git's sha1."""
        return self.blob if self.lfs else None


@dataclass(frozen=True)
class Listing:
    """All files of one commit, which never changes."""

    commit: str
    files: tuple[HubFile, ...]

    def by_path(self) -> dict[str, HubFile]:
        return {file.path: file for file in self.files}


def parse_listing(commit: object, files: Iterable[Mapping[str, Any]]) -> Listing:
    """The listing in data from elsewhere; a ``ValueError`` or ``UserError`` when it is none."""
    if not isinstance(commit, str) or not is_commit(commit):
        raise ValueError(f"{commit!r} is not a commit")
    return Listing(commit, tuple(sorted(_hub_file(entry) for entry in files)))


def _hub_file(raw: Mapping[str, Any]) -> HubFile:
    path, size, blob, lfs = raw["path"], raw["size"], raw["blob"], raw["lfs"]
    check_path("the hub's listing", path)
    if not isinstance(size, int) or size < 0 or not isinstance(lfs, bool):
        raise ValueError(f"{path} has no size")
    if not (_SHA256 if lfs else _COMMIT).fullmatch(str(blob)):
        raise ValueError(f"{path} has no checksum")
    return HubFile(path, size, str(blob), lfs)
