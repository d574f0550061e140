# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes one build different from another: the inputs, the key over them, and the reasons in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

# Part of the key: raise it when the same inputs would give another binary.
RECIPE = 1

_KEY_DIGITS = 20
_UNSET = "unset"
_LONG = 120


def build_inputs(
    *,
    source: Mapping[str, str],
    backend: str,
    toolchain: Mapping[str, object],
    architectures: Sequence[str],
    cmake_options: Mapping[str, str],
    targets: Sequence[str],
) -> dict[str, object]:
    """Everything that can change the binary, as JSON data; order and repetition in lists of names do not count."""
    return {
        "recipe": RECIPE,
        "source": dict(source),
        "backend": backend,
        **toolchain,
        "cuda_architectures": sorted(set(architectures)),
        "cmake_options": dict(cmake_options),
        "targets": sorted(set(targets)),
    }


def build_key(inputs: Mapping[str, object]) -> str:
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_DIGITS]


def reasons_to_rebuild(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """``<input>: <before> -> <after>`` for each input that differs."""
    old, new = dict(_flatten("", before)), dict(_flatten("", after))
    reasons = []
    for name in sorted(old.keys() | new.keys()):
        was, becomes = old.get(name, _UNSET), new.get(name, _UNSET)
        if was != becomes:
            reasons.append("{}: {} -> {}".format(name, *_shortened(was, becomes)))
    return reasons


def _shortened(before: str, after: str) -> tuple[str, str]:
    """Of long lists of words, such as CPU features, only the words that differ."""
    if max(len(before), len(after)) <= _LONG:
        return before, after
    old, new = before.split(), after.split()
    gone, come = [word for word in old if word not in new], [word for word in new if word not in old]
    return " ".join(gone) or "(nothing)", " ".join(come) or "(nothing)"


def _flatten(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, (list, tuple)):
        yield name, " ".join(str(item) for item in value) or "none"
    else:
        yield name, "none" if value is None else str(value)
