# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that come from the controller's bundle, to hosts that ask no network.

A module that lacks some says so in its result as ``asks_for``. Its action sends them, see ``plugin_utils/_live_progress.py``, and runs the
module again with ``delivered``. Each waits under its checksum on the file system where it is to stay, so that it is proven and renamed
there, and never copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

_CHUNK = 4 << 20


@dataclass(frozen=True)
class Wish:
    """A content that is wanted. ``digest`` is its sha256, or the commit of which it is the archive."""

    digest: str
    name: str


@dataclass(frozen=True)
class Delivery:
    """That there is a bundle, and the sha256 of each file that was sent from it in this run."""

    delivered: tuple[str, ...] = ()


# What a module has to have for it.
ARGUMENTS: dict[str, Any] = {
    "bundle": {"type": "str"},
    "delivered": {"type": "list", "elements": "str", "default": []},
}


def delivery_of(params: Mapping[str, Any]) -> Delivery | None:
    """What the parameters say; a bundle is for hosts that ask no network."""
    if params["bundle"] and not params["offline"]:
        raise UserError("bundle: it is of use only with offline: true; set that, or leave bundle out to fetch what is missing")
    return Delivery(tuple(params.get("delivered", ()))) if params["bundle"] else None


def asks_for(directory: Path, wishes: Sequence[Wish]) -> dict[str, Any]:
    """What goes into a module's result."""
    if not wishes:
        return {}
    files = [{"digest": wish.digest, "name": wish.name} for wish in wishes]
    return {"asks_for": {"directory": str(directory), "files": files}}


def arrival(directory: Path, sha256: str) -> Path:
    """Where a file is sent to."""
    return directory / f"{sha256}.partial"


def prove(path: Path, sha256: str, name: str, on_bytes: Callable[[int], None]) -> None:
    """Refuse a file that is not what it should be; it is removed, so that the next run sends it anew."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            on_bytes(len(chunk))
    if digest.hexdigest() != sha256:
        path.unlink()
        raise UserError(
            f"{name} arrived damaged from the bundle (sha256 {digest.hexdigest()}, not {sha256}) and was removed; run this again"
        )
