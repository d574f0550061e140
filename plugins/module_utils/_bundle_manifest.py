# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a bundle, and how it is called there.

::

    deploy.lock.yml                          what it was made of
    SHA256SUMS                               of every file, for ``sha256sum --check --strict SHA256SUMS``
    models/<organisation>/<name>/<commit>/…  files of the hub, by their paths in the repository
    sources/<digest>.tar                     llama.cpp; the digest is the archive's sha256, or the commit that it is of
    wheels/…                                 of the CUDA toolkits

Plain files only, so that any file system carries it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

LOCK = "deploy.lock.yml"
SUMS = "SHA256SUMS"
MODELS, SOURCES, WHEELS = "models", "sources", "wheels"


class NotBundledError(UserError):
    """A host lacks something that the bundle does not hold."""


_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def model_place(repo_id: str, commit: str, path: str) -> str:
    return f"{MODELS}/{repo_id}/{commit}/{path}"


def source_place(digest: str) -> str:
    return f"{SOURCES}/{digest}.tar"


def wheel_place(name: str) -> str:
    return f"{WHEELS}/{name}"


def parse_sums(text: str) -> dict[str, str]:
    """The sha256 of each file, by its place in the bundle."""
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or PurePosixPath(match[2]).is_absolute() or ".." in PurePosixPath(match[2]).parts:
            raise UserError(
                f"inference_bundle: line {number} of its {SUMS} is none ({line[:80]!r}); make the bundle anew, or bring it again"
            )
        sums[match[2]] = match[1]
    return sums


def render_sums(sums: Mapping[str, str]) -> str:
    return "".join(f"{sha256}  {place}\n" for place, sha256 in sorted(sums.items()))


def find(sums: Mapping[str, str], digest: str) -> str | None:
    """The place of a content, which ``digest`` names by its sha256 or by the commit that it is the archive of."""
    if source_place(digest) in sums:
        return source_place(digest)
    return next((place for place, sha256 in sums.items() if sha256 == digest), None)
