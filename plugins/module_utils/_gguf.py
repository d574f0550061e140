# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The start of a GGUF file: whether it is one, and the context that its model was trained with.

The format is described in ggml's docs/gguf.md: a fixed header, then key-value pairs, then tensors. Only the first pairs are
read, so a file of any size takes a millisecond.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, TypeAlias

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_LONGEST_TEXT = 1 << 20  # bytes; a longer one means that the file is damaged

Scalar: TypeAlias = "str | int | float | bool | None"


class NotGgufError(ValueError):
    """What the file is instead."""


def trained_context(path: str | os.PathLike[str]) -> int | None:
    """The model's context length in tokens, None where its header does not tell it early on."""
    architecture: Scalar = None
    with open(path, "rb") as file:
        for key, value in _pairs(file):
            if key == "general.architecture":
                architecture = value
            elif key == f"{architecture}.context_length" and isinstance(value, int):
                return value
            elif key.startswith("tokenizer."):  # the vocabulary: long, and after everything of interest
                break
    return None


def _pairs(file: BinaryIO) -> Iterator[tuple[str, Scalar]]:
    magic = file.read(4)
    if magic != _MAGIC:
        raise NotGgufError("is empty" if not magic else f"starts with {magic!r} instead of {_MAGIC!r}")
    _version, _tensors, pairs = _unpack(file, "<IQQ")
    for _pair in range(pairs):
        key = _text(file)
        (kind,) = _unpack(file, "<I")
        if kind == _ARRAY:
            (kind, length) = _unpack(file, "<IQ")
            for _element in range(0 if key.startswith("tokenizer.") else length):
                _value(file, kind)
            yield key, None
        else:
            yield key, _value(file, kind)


def _value(file: BinaryIO, kind: int) -> Scalar:
    if kind == _STRING:
        return _text(file)
    if kind not in _FORMATS:
        raise NotGgufError(f"has a value of the unknown type {kind} in its header")
    (value,) = _unpack(file, _FORMATS[kind])
    return value


def _text(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    if length > _LONGEST_TEXT:
        raise NotGgufError("has a damaged header")
    return _read(file, length).decode("utf-8", "replace")


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, _read(file, struct.calcsize(form)))


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise NotGgufError("ends within its header")
    return data
