# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELF files with sections and no code: kernel modules that `modinfo` reads, and libraries that ldconfig leaves alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_RELOCATABLE, _SHARED = 1, 3
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_X86_64 = 62
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")


def _elf(kind: int, content: Mapping[str, bytes]) -> bytes:
    # One empty symbol and its empty name: depmod wants to see a symbol table.
    sections = [(name, _PROGBITS, data, 0, 0) for name, data in content.items()]
    strings = len(sections) + 2
    sections += [(".symtab", _SYMTAB, bytes(24), strings, 24), (".strtab", _STRTAB, b"\0", 0, 0)]
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_rest in sections) + b".shstrtab\0"
    sections.append((".shstrtab", _STRTAB, names, 0, 0))
    body, table, offset = b"", bytes(_SECTION.size), _HEADER.size
    for name, type_, data, link, entry in sections:
        table += _SECTION.pack(names.index(name.encode() + b"\0"), type_, 0, 0, offset, len(data), link, 0, 1, entry)
        body += data
        offset += len(data)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = len(sections) + 1
    header = _HEADER.pack(identity, kind, _X86_64, 1, 0, 0, offset, 0, _HEADER.size, 0, 0, _SECTION.size, count, count - 1)
    return header + body + table


def kernel_module(information: Mapping[str, str]) -> bytes:
    """What `modinfo` shows is the section .modinfo: `key=value` strings."""
    return _elf(_RELOCATABLE, {".modinfo": b"".join(f"{key}={value}".encode() + b"\0" for key, value in information.items())})


def library() -> bytes:
    return _elf(_SHARED, {})
