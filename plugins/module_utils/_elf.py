# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of an ELF file that are of interest here: its sections, and the shared libraries that it needs.

The format is described in elf(5). A file is mapped, not read, so its size does not matter.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Data: TypeAlias = "bytes | mmap.mmap"

_MAGIC = b"\x7fELF"
_IDENTITY = _MAGIC + bytes([2, 1])  # 64 bit, little endian: all that CUDA runs on
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<qQ")
_SHT_NOBITS, _SHT_DYNAMIC = 8, 6
_DT_NULL, _DT_NEEDED = 0, 1
# Bytes; anything longer means that the file is damaged.
_LONGEST_NAME = 4096
_LONGEST_DYNAMIC = 1 << 20


class DamagedElfError(ValueError):
    """What is wrong with the file."""


class Section(NamedTuple):
    name: str
    kind: int
    offset: int
    size: int
    link: int


@contextlib.contextmanager
def mapped(path: str | os.PathLike[str]) -> Iterator[mmap.mmap | None]:
    """The file's content; None where it is no ELF file that could be for this machine."""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or file.read(len(_IDENTITY)) != _IDENTITY:
            yield None
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def sections(data: Data) -> list[Section]:
    header = _unpack(_HEADER, data, 0, "its header")
    offset, entry_size, count, names_index = header[6], header[11], header[12], header[13]
    if not offset:
        return []
    if entry_size != _SECTION.size:
        raise DamagedElfError(f"its section headers have {entry_size} bytes each instead of {_SECTION.size}")
    raw = [_unpack(_SECTION, data, offset + number * entry_size, "its section headers") for number in range(count)]
    if names_index >= len(raw):
        raise DamagedElfError("the names of its sections are missing")
    names = _range(data, raw[names_index][4], raw[names_index][5], "the names of its sections")
    found = []
    for name, kind, _flags, _address, start, size, link, _info, _alignment, _entry in raw:
        if kind != _SHT_NOBITS:
            _range(data, start, size, "a section")
        found.append(Section(_text(data, names, name), kind, start, 0 if kind == _SHT_NOBITS else size, link))
    return found


def needed(data: Data) -> list[str]:
    """The names of the shared libraries that the loader must find for this file."""
    every = sections(data)
    dynamic = next((section for section in every if section.kind == _SHT_DYNAMIC), None)
    if dynamic is None:
        return []
    if dynamic.link >= len(every):
        raise DamagedElfError("the names of the libraries that it needs are missing")
    if dynamic.size > _LONGEST_DYNAMIC:
        raise DamagedElfError(f"its dynamic section has {dynamic.size} bytes")
    names = range(every[dynamic.link].offset, every[dynamic.link].offset + every[dynamic.link].size)
    found = []
    for offset in range(dynamic.offset, dynamic.offset + dynamic.size, _DYNAMIC.size):
        tag, value = _unpack(_DYNAMIC, data, offset, "its dynamic section")
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            found.append(_text(data, names, value))
    return found


def _unpack(layout: struct.Struct, data: Data, offset: int, what: str) -> tuple[int, ...]:
    _range(data, offset, layout.size, what)
    return layout.unpack_from(data, offset)


def _range(data: Data, offset: int, size: int, what: str) -> range:
    if offset + size > len(data):
        raise DamagedElfError(f"{what} should end at byte {offset + size}, but the file has {len(data)}")
    return range(offset, offset + size)


def _text(data: Data, names: range, offset: int) -> str:
    begin = names.start + offset
    end = data.find(b"\0", begin, min(names.stop, begin + _LONGEST_NAME)) if begin in names else -1
    if end < 0:
        raise DamagedElfError("a name in it has no end")
    return data[begin:end].decode("utf-8", "replace")
