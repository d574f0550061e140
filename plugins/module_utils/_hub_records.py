# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of a repository between runs: which contents were proven by their sha256, and what the commits consist of.

Small JSON files in the repository's directory of the cache. One that is damaged is as good as none: then contents are hashed again, and
the hub is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, write_atomic
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import Found, RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import Listing, parse_listing

_MODE = 0o644


@dataclass(frozen=True)
class Proof:
    """This content was read to the end and had this checksum; while size, time and inode stay the same, so does the content.

    ``git_sha1`` is what the hub knows the files outside LFS by.
    """

    sha256: str
    size: int
    mtime_ns: int
    inode: int
    git_sha1: str | None = None

    def holds_for(self, found: Found) -> bool:
        return (self.size, self.mtime_ns, self.inode) == (found.size, found.mtime_ns, found.inode)


class Keeper(Protocol):
    """What has a directory for things of this collection."""

    own: Path


def proof_of(found: Found, sha256: str, git_sha1: str | None) -> Proof:
    return Proof(sha256, found.size, found.mtime_ns, found.inode, git_sha1)


def read_proofs(keeper: Keeper) -> dict[str, Proof]:
    """By the place of the content."""
    proofs = {}
    for place, fields in _read(_proofs_file(keeper)).items():
        try:
            proof = Proof(**fields)
        except TypeError:
            continue
        if isinstance(proof.sha256, str) and len(proof.sha256) == 64:
            proofs[place] = proof
    return proofs


def write_proofs(keeper: Keeper, proofs: Mapping[str, Proof]) -> None:
    _write(_proofs_file(keeper), {place: asdict(proof) for place, proof in sorted(proofs.items())})


def read_listing(cache: RepoCache, commit: str) -> Listing | None:
    try:
        return parse_listing(commit, _read(_listing_file(cache, commit))["files"])
    except (KeyError, TypeError, ValueError, UserError):
        return None


def write_listing(cache: RepoCache, listing: Listing) -> None:
    _write(_listing_file(cache, listing.commit), {"files": [asdict(file) for file in listing.files]})


def has_listing(cache: RepoCache, commit: str) -> bool:
    return _listing_file(cache, commit).exists()


def forget_listing(cache: RepoCache, commit: str) -> None:
    _listing_file(cache, commit).unlink(missing_ok=True)


def _proofs_file(keeper: Keeper) -> Path:
    return keeper.own / "proofs.json"


def _listing_file(cache: RepoCache, commit: str) -> Path:
    return cache.own / f"{commit}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_text_or_none(path) or "{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _write(path: Path, data: object) -> None:
    write_atomic(path, (json.dumps(data, indent=1) + "\n").encode(), _MODE)
