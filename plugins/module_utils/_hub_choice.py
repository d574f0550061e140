# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a repository are meant."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_shards import shard_names
from ansible_collections.baremetal.llm.plugins.module_utils._near_names import suggestion
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import SETS, may_belong, members

_GLOB = re.compile(r"[*?\[]")
_SHOWN = 5


def chosen(patterns: Sequence[str], paths: Iterable[str], where: str) -> list[str]:
    """The paths that ``patterns`` mean, all of them without one; ``where`` says in messages what is searched.

    Patterns are names, globs, or sets of files that an engine reads. One shard of a split GGUF brings all of them: none is of use alone.
    """
    known = sorted(paths)
    if not patterns:
        return known
    found: set[str] = set()
    for pattern in patterns:
        if pattern in SETS:
            found.update(members(pattern, known, where))
            continue
        # A name is taken as it is, also with brackets in it.
        matching = [pattern] if pattern in known else fnmatch.filter(known, pattern) if is_glob(pattern) else []
        if not matching:
            raise UserError(_nothing(pattern, known, where))
        found.update(matching)
    for path in sorted(found):
        found.update(_shards(path, known, where))
    return sorted(found)


def matches(pattern: str, path: str) -> bool:
    """Whether this one file is meant, as far as that can be told without the others."""
    return path == pattern or (may_belong(pattern, path) if pattern in SETS else fnmatch.fnmatchcase(path, pattern))


def is_glob(pattern: str) -> bool:
    """Whether only a list of files tells what it stands for."""
    return pattern in SETS or bool(_GLOB.search(pattern))


def _shards(path: str, known: Sequence[str], where: str) -> list[str]:
    names = shard_names(path)
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(
            f"files: {path} is one of {len(names)} shards, but {where} lacks {', '.join(missing[:_SHOWN])}"
            f"{' and more' if len(missing) > _SHOWN else ''}, without which the model can't be loaded; take another revision or model"
        )
    return names


def _nothing(pattern: str, known: Sequence[str], where: str) -> str:
    kind = "matches nothing in" if is_glob(pattern) else "is not in"
    if not known:
        return f"files: {pattern!r} {kind} {where}, which has no files at all"
    other_case = [path for path in known if fnmatch.fnmatchcase(path.lower(), pattern.lower())][:_SHOWN]
    near = f"Did you mean {' or '.join(other_case)}?" if other_case else suggestion(pattern, known)
    shown = f"There are {', '.join(known[:_SHOWN])}{' and more' if len(known) > _SHOWN else ''}"
    return f"files: {pattern!r} {kind} {where}. {near or shown}"
