# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repository of the hub has at a revision, asked without the hub's client: for the controller, which has none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import HubRepo
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import HubFile, Listing, parse_listing

_PIECE = 4 << 20  # bytes; what is outside LFS has no more than 10 MB


def look(repo: HubRepo) -> Listing:
    """The files of the revision, once it is certain that they are given as well: everybody may look into a gated repository."""
    what = "list of files"
    url = f"{repo.endpoint}/api/models/{repo.repo_id}/revision/{quote(repo.revision, safe='')}?blobs=true"

    def ask() -> bytes:
        with repo.ask(url) as response:
            return response.read()

    answer = repo.asking(what, url, ask)
    try:
        info = json.loads(answer)
        listing = parse_listing(info["sha"], map(_entry, info["siblings"]))
    except (ValueError, TypeError, KeyError, AttributeError, UserError) as error:
        reason = error.msg if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(f"endpoint: {urlsplit(url).netloc} does not answer as the hub does ({reason}); correct the address.") from None
    if info.get("gated") and listing.files:
        with repo.open(listing.files[0].path) as file:
            file.read(0, 1)
    return listing


def _entry(sibling: Mapping[str, Any]) -> dict[str, Any]:
    lfs = sibling.get("lfs")
    if lfs:
        return {"path": sibling["rfilename"], "size": lfs["size"], "blob": lfs["sha256"], "lfs": True}
    return {"path": sibling["rfilename"], "size": sibling["size"], "blob": sibling["blobId"], "lfs": False}


def sha256_of(repo: HubRepo, file: HubFile) -> str:
    """The checksum that the hub does not tell, of a file outside LFS: it is read, and proven by the one of git."""
    sha256, git_sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % file.size)
    with repo.open(file.path) as content:
        for offset in range(0, file.size, _PIECE):
            piece = content.read(offset, min(_PIECE, file.size - offset))
            sha256.update(piece)
            git_sha1.update(piece)
    if git_sha1.hexdigest() != file.blob:
        raise UserError(
            f"{repo.label(file.path)} arrived as something else than the hub says it has; run this again, and if it stays so find out "
            f"what between this host and {repo.endpoint} changes files."
        )
    return sha256.hexdigest()
