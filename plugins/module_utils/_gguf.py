# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The header of a GGUF file: what the model is and which tensors it has. No tensor's data is ever read.

The format is described in ggml's docs/gguf.md: the counts, then pairs of keys and values, then the tensors, then their data. What
llama.cpp refuses is refused here, and whatever a damaged header claims, reading it takes bounded time and memory.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import Cursor, LocalFile, NotGgufError, Source
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_types import REMOVED_TENSOR_TYPES, TENSOR_TYPES

_MAGIC = b"GGUF"
_GIT_LFS = b"version https://git-lfs"
_VERSIONS = (2, 3)  # of the same layout; the third brought the big-endian files

_STRING, _ARRAY, _UINT32 = 8, 9, 4
# Name and struct format of each type that a value can have.
_VALUE_TYPES = {
    0: ("uint8", "B"),
    1: ("int8", "b"),
    2: ("uint16", "H"),
    3: ("int16", "h"),
    _UINT32: ("uint32", "I"),
    5: ("int32", "i"),
    6: ("float32", "f"),
    7: ("bool", "?"),
    _STRING: ("string", ""),
    10: ("uint64", "Q"),
    11: ("int64", "q"),
    12: ("float64", "d"),
}

_LONGEST_ARRAY = 1024  # values; longer ones are for the tokenizer
_LONGEST_KEY = (1 << 16) - 1  # bytes, by the specification
_LONGEST_TEXT = 1 << 20  # bytes; the longest chat templates take a tenth of it
_LONGEST_NAME = 63  # bytes: GGML_MAX_NAME, of which one ends the name
_LONGEST_SHOWN = 80  # characters of a name in a message
_MOST_DIMENSIONS = 4
_MOST_NUMBERS = (1 << 63) - 1  # in a tensor

_SHORTEST_PAIR = 8 + 1 + 4 + 1  # bytes: a key of one character, a value of one byte
_SHORTEST_TENSOR = 8 + 4 + 4 + 8
_SHORTEST_STRING = 8

# What a header may leave in memory, as it is counted by _Reader._keep; a model of 2,000 tensors has half a MiB.
_MOST_KEPT = 16 << 20
_PER_VALUE = 64
_PER_TENSOR = 256

_DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True)
class SkippedArray:
    """An array that is too long to be of interest, or a text ("char") of more than a MiB."""

    type: str
    length: int


Scalar: TypeAlias = "str | int | float | bool"
Value: TypeAlias = "Scalar | tuple[Scalar, ...] | SkippedArray"


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    """As in the file: the length of a row comes first."""
    type: str
    bytes: int


@dataclass(frozen=True)
class Header:
    version: int
    byte_order: str
    """little or big"""
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str | None:
        architecture = self.metadata.get("general.architecture")
        return architecture if isinstance(architecture, str) else None

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors)


def read_header(source: Source) -> Header:
    """All of the header; :class:`NotGgufError` also where the file ends before the data of its last tensor does."""
    reader = _Reader(source)
    metadata: dict[str, Value] = {}
    for _pair in range(reader.pair_count):
        key = reader.key()
        if key in metadata:
            raise NotGgufError(f"has the key {_shown(key)} twice")
        metadata[key] = reader.value(key)
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment.bit_count() != 1:
        raise NotGgufError(f"has a damaged header: its general.alignment is {alignment}, which is not a power of two")
    return Header(reader.version, reader.byte_order, metadata, reader.tensors(alignment))


def trained_context(path: str | os.PathLike[str]) -> int | None:
    """The model's context length in tokens, None where its header does not tell it early on. Only the first pairs are read."""
    architecture: Value | None = None
    with LocalFile(path) as file:
        reader = _Reader(file)
        for _pair in range(reader.pair_count):
            key = reader.key()
            if key.startswith("tokenizer."):  # the vocabulary: long, and after everything of interest
                break
            value = reader.value(key)
            if key == "general.architecture":
                architecture = value
            elif key == f"{architecture}.context_length" and isinstance(value, int):
                return value
    return None


class _Reader:
    """The parts of a header, in the order in which they are in the file."""

    def __init__(self, source: Source) -> None:
        self._cursor = Cursor(source)
        self._kept = 0
        self._check_magic()
        self.version, self.byte_order = self._version()
        sign = "<" if self.byte_order == "little" else ">"
        self._sign = sign
        self._length = struct.Struct(f"{sign}Q")
        self._number = struct.Struct(f"{sign}I")
        self._array_head = struct.Struct(f"{sign}IQ")
        self._scalars = {kind: struct.Struct(sign + form) for kind, (_name, form) in _VALUE_TYPES.items() if form}
        # A shape of each number of dimensions, and the type and the offset that follow it.
        self._tensor_tails = [struct.Struct(f"{sign}{dimensions}qIQ") for dimensions in range(_MOST_DIMENSIONS + 1)]
        self._tensor_count, self.pair_count = self._cursor.unpack(struct.Struct(f"{sign}QQ"))
        self._check_count(self.pair_count, _SHORTEST_PAIR, "pairs of keys and values")

    def _check_magic(self) -> None:
        start = self._cursor.peek(len(_GIT_LFS))
        if start.startswith(_MAGIC):
            self._cursor.skip(len(_MAGIC))
        elif not start:
            raise NotGgufError("is empty")
        elif start == _GIT_LFS:
            raise NotGgufError("is a pointer of Git LFS, which stands for the file")
        else:
            raise NotGgufError(f"starts with {start[:4]!r} instead of {_MAGIC!r}")

    def _version(self) -> tuple[int, str]:
        raw = self._cursor.take(4)
        versions = {order: int.from_bytes(raw, order) for order in ("little", "big")}
        for order, version in versions.items():
            if version in _VERSIONS:
                return version, order
        # Read in the wrong order, a small number is a huge one.
        raise NotGgufError(f"is of version {min(versions.values())} of the format; versions 2 and 3 can be read")

    def key(self) -> str:
        (length,) = self._cursor.unpack(self._length)
        if not 0 < length <= _LONGEST_KEY:
            raise NotGgufError(f"has a damaged header: a key of {length} bytes")
        return self._text(length)

    def value(self, key: str) -> Value:
        (kind,) = self._cursor.unpack(self._number)
        if key == "general.alignment" and kind != _UINT32:  # which llama.cpp is strict about
            raise NotGgufError("has a damaged header: the type of its general.alignment is not uint32")
        if kind == _ARRAY:
            return self._array(key)
        if kind == _STRING:
            (length,) = self._cursor.unpack(self._length)
            if length <= _LONGEST_TEXT:
                return self._text(length)
            self._cursor.skip(length)
            return SkippedArray("char", length)
        if kind not in self._scalars:
            raise NotGgufError(f"has a value of the unknown type {kind} in its header: {_shown(key)}")
        self._keep(_PER_VALUE)
        scalar: Scalar = self._cursor.unpack(self._scalars[kind])[0]
        return scalar

    def tensors(self, alignment: int) -> tuple[Tensor, ...]:
        """Each tensor's data begins at a multiple of the alignment."""
        self._check_count(self._tensor_count, _SHORTEST_TENSOR, "tensors")
        tensors: dict[str, Tensor] = {}
        place = end = 0  # where the next tensor begins in the data, and where the last one ends
        for _tensor in range(self._tensor_count):
            tensor, offset = self._tensor()
            if tensor.name in tensors:
                raise NotGgufError(f"has the tensor {_shown(tensor.name)} twice")
            # llama.cpp takes no other place: no overlap and no gap.
            if offset != place:
                raise NotGgufError(f"has a damaged header: the tensor {_shown(tensor.name)} is at {offset} in the data instead of {place}")
            tensors[tensor.name] = tensor
            end = max(end, offset + tensor.bytes)
            place = offset + _padded(tensor.bytes, alignment)
        if tensors:
            whole = _padded(self._cursor.position, alignment) + end
            if whole > self._cursor.file_size:
                raise NotGgufError(f"is not whole: the last {whole - self._cursor.file_size} of {whole} bytes are missing")
        return tuple(tensors.values())

    def _tensor(self) -> tuple[Tensor, int]:
        """The next tensor and the place of its data."""
        self._keep(_PER_TENSOR)
        (length,) = self._cursor.unpack(self._length)
        if length > _LONGEST_NAME:
            raise NotGgufError(f"has a damaged header: a tensor's name of {length} bytes")
        name = self._text(length)
        (dimensions,) = self._cursor.unpack(self._number)
        if dimensions > _MOST_DIMENSIONS:
            raise NotGgufError(f"has a damaged header: the tensor {_shown(name)} has {dimensions} dimensions")
        *shape, number, offset = self._cursor.unpack(self._tensor_tails[dimensions])
        numbers = math.prod(shape)
        if min(shape, default=0) < 0 or numbers > _MOST_NUMBERS:
            raise NotGgufError(f"has a damaged header: the tensor {_shown(name)} has the shape {shape}")
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            if number in REMOVED_TENSOR_TYPES:
                raise NotGgufError(f"holds the tensor {_shown(name)} as {REMOVED_TENSOR_TYPES[number]}, which llama.cpp has given up")
            raise NotGgufError(f"holds the tensor {_shown(name)} as type {number}, which is damaged or newer than this collection")
        if (shape[0] if shape else 1) % kind.block:
            raise NotGgufError(f"has a damaged header: the tensor {_shown(name)} of the shape {shape} can't be of {kind.name}")
        return Tensor(name, tuple(shape), kind.name, numbers // kind.block * kind.bytes), offset

    def _array(self, key: str) -> Value:
        kind, length = self._cursor.unpack(self._array_head)
        if kind == _ARRAY:
            raise NotGgufError(f"has an array of arrays in its header, which llama.cpp does not read: {_shown(key)}")
        if kind not in _VALUE_TYPES:
            raise NotGgufError(f"has an array of the unknown type {kind} in its header: {_shown(key)}")
        name, form = _VALUE_TYPES[kind]
        size = self._scalars[kind].size if form else _SHORTEST_STRING
        self._check_count(length, size, f"values in {_shown(key)}")
        if length > _LONGEST_ARRAY:
            if form:
                self._cursor.skip(length * size)
            else:
                self._cursor.skip_texts(length, self._length)
            return SkippedArray(name, length)
        self._keep(_PER_VALUE * length)
        if form:
            return self._cursor.unpack(struct.Struct(f"{self._sign}{length}{form}"))
        return tuple(self._text(*self._cursor.unpack(self._length)) for _element in range(length))

    def _text(self, length: int) -> str:
        self._cursor.check(length)
        self._keep(_PER_VALUE + length)
        return self._cursor.take(length).decode("utf-8", "replace")

    def _check_count(self, count: int, size: int, what: str) -> None:
        """Refuse what can't be there before the first of it is read."""
        if count * size > self._cursor.remaining:
            raise NotGgufError(f"ends within its header, or has a damaged one: there is no room for {count} {what}")

    def _keep(self, size: int) -> None:
        self._kept += size
        if self._kept > _MOST_KEPT:
            raise NotGgufError(f"has a damaged header: it holds more than {_MOST_KEPT >> 20} MiB besides its arrays")


def _shown(name: str) -> str:
    """For a message: what a damaged header has in the place of a name may be anything."""
    shown = repr(name)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…{shown[0]}"


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
