# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA code embedded in an ELF file: for which architectures it was compiled.

nvcc puts a "fatbin" into the section .nv_fatbin for each source: containers, each with an entry for each piece of PTX or machine code. The
format is not published. What is read here was found by compiling for every architecture that nvcc 13.0 knows, and agrees with what
cuobjdump says of those files and of cuBLAS. The entries' headers are never compressed, so no code has to be unpacked.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Architecture
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import Capability
from ansible_collections.baremetal.llm.plugins.module_utils._elf import DamagedElfError, Data, Section, sections

# The second one holds the code that is linked on the device.
_SECTIONS = frozenset({".nv_fatbin", "__nv_relfatbin"})
_MAGIC = (0xBA55ED50).to_bytes(4, "little")
_VERSION = 1
_CONTAINER = struct.Struct("<4sHHQ")  # magic, version, size of this header, size of the entries
_ENTRY = struct.Struct("<HHIQIIHHIIIQ")  # kind, version, size of this header, size of the code, …, architecture, …, flags
_PTX, _CUBIN = 1, 2
# 120a: all that this very GPU has; 120f: what its family has.
_FLAG_SPECIFIC, _FLAG_FAMILY = 1 << 20, 1 << 21


def embedded_architectures(data: Data) -> set[Architecture]:
    """What an ELF file has code for, machine code and PTX told apart: ``86-real``, ``86-virtual``."""
    return {architecture for section in sections(data) if section.name in _SECTIONS for architecture in _architectures(data, section)}


def _architectures(data: Data, section: Section) -> Iterator[Architecture]:
    offset, end = section.offset, section.offset + section.size
    while end - offset >= _CONTAINER.size:
        magic, version, header_size, size = _CONTAINER.unpack_from(data, offset)
        if magic == b"\0\0\0\0":  # the linker's gap before the next container
            offset = data.find(_MAGIC, offset, end)
            if offset < 0:
                return
            continue
        if magic != _MAGIC or version != _VERSION or header_size < _CONTAINER.size:
            raise DamagedElfError(
                f"its CUDA code at byte {offset} starts with {data[offset : offset + 8].hex()}, which is no fatbin known here"
            )
        begin = offset + header_size
        offset = begin + size
        if offset > end:
            raise DamagedElfError(f"its CUDA code should end at byte {offset}, but the section ends at {end}")
        yield from _entries(data, begin, offset)


def _entries(data: Data, offset: int, end: int) -> Iterator[Architecture]:
    while offset < end:
        if end - offset < _ENTRY.size:
            raise DamagedElfError(f"its CUDA code at byte {offset} is cut short")
        kind, _version, header_size, size, *_rest, number, _name, _length, flags = _ENTRY.unpack_from(data, offset)
        if header_size < _ENTRY.size or size > end - offset - header_size:
            raise DamagedElfError(f"its CUDA code at byte {offset} has an impossible size")
        if kind in (_PTX, _CUBIN):
            suffix = "a" if flags & _FLAG_SPECIFIC else "f" if flags & _FLAG_FAMILY else ""
            yield Architecture(Capability(*divmod(number, 10)), suffix, real=kind == _CUBIN, virtual=kind == _PTX)
        offset += header_size + size
