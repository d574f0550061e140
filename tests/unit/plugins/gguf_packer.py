# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GGUF files packed by hand, byte by byte, so that each byte can be a wrong one; and a file in memory that counts what is read of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)
FORMS = {
    UINT8: "B", INT8: "b", UINT16: "H", INT16: "h", UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?", UINT64: "Q", INT64: "q", FLOAT64: "d"
}  # fmt: skip
F32, F16, Q8_0, Q4_K = 0, 1, 8, 12


@dataclass(frozen=True)
class Packer:
    sign: str = "<"
    version: int = 3

    def number(self, kind: int, value: float) -> bytes:
        return struct.pack(self.sign + FORMS[kind], value)

    def text(self, value: str | bytes) -> bytes:
        data = value.encode() if isinstance(value, str) else value
        return self.number(UINT64, len(data)) + data

    def value(self, kind: int, value: object) -> bytes:
        return self.text(value) if isinstance(value, str | bytes) else self.number(kind, value)  # type: ignore[arg-type]

    def array(self, kind: int, values: list[object], length: int | None = None) -> bytes:
        head = self.number(UINT32, kind) + self.number(UINT64, len(values) if length is None else length)
        return head + b"".join(self.value(kind, value) for value in values)

    def pair(self, key: str | bytes, kind: int, value: object) -> bytes:
        return self.text(key) + self.number(UINT32, kind) + self.value(kind, value)

    def array_pair(self, key: str, kind: int, values: list[object], length: int | None = None) -> bytes:
        return self.text(key) + self.number(UINT32, ARRAY) + self.array(kind, values, length)

    def tensor(self, name: str | bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
        sizes = struct.pack(f"{self.sign}{len(shape)}q", *shape)
        return self.text(name) + self.number(UINT32, len(shape)) + sizes + self.number(UINT32, kind) + self.number(UINT64, offset)

    def header(self, *pairs: bytes, tensors: tuple[bytes, ...] = (), counts: tuple[int, int] | None = None) -> bytes:
        tensor_count, pair_count = counts or (len(tensors), len(pairs))
        head = b"GGUF" + struct.pack(f"{self.sign}IQQ", self.version, tensor_count, pair_count)
        return head + b"".join(pairs) + b"".join(tensors)

    def file(self, *pairs: bytes, tensors: tuple[bytes, ...] = (), data: int = 0, alignment: int = 32) -> bytes:
        """With so many bytes of data behind the header."""
        header = self.header(*pairs, tensors=tensors)
        return header + bytes(-len(header) % alignment) + bytes(data) if tensors else header


@dataclass
class InMemory:
    """A file that has these bytes, and zeros up to its size if it is larger."""

    content: bytes
    size: int = 0
    windows: tuple[int, int] = (64, 256)
    reads: list[tuple[int, int]] = field(default_factory=list)

    @property
    def file_size(self) -> int:
        return max(self.size, len(self.content))

    def read(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        there = min(size, max(0, self.file_size - offset))
        return self.content[offset : offset + there].ljust(there, b"\0")
