# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small ELF files to read, with CUDA code as nvcc embeds it."""

from __future__ import annotations

import struct

_HEADER, _SECTION = "<16sHHIQQQIHHHHHH", "<IIQQQQIIQQ"
_PROGBITS, _STRTAB, _DYNAMIC = 1, 3, 6


# The headers of the entries that nvcc 13.0 wrote for one small source; the code behind them is left out.
CUDA_CODE = {
    "86-virtual": "0100010150000000180300000000000015030000400000000000090056000000000000000000000011800000000000000000000000000000ae0800000000000048000000000000000000000000000000",
    "86-real": "0200010140000000801e000000000000000000000000000008000100560000000000000000000000110000000000000000000000000000000000000000000000",
    "90a-virtual": "0100010150000000d000000000000000cd00000040000000000009005a000000000000000000000011801000000000000000000000000000160100000000000048000000000000000000000000000000",
    "90a-real": "0200010140000000f00d0000000000000000000000000000080001005a0000000000000000000000110010000000000000000000000000000000000000000000",
    "100f-real": "02000101700000000814000000000000000000004000000008000100640000000000000000000000110020010000000000000000000000000000000000000000480000002400000000020900000202010002050500030701010203000002060100040b08000900000000000000000000",
    "120a-real": "0200010170000000d032000000000000000000004000000008000100780000000000000000000000110010010000000000000000000000000000000000000000480000002400000000020901000202010002050500030701010203000002060100040b08005000000000000000000000",
    "120-real": "0200010170000000d032000000000000000000004000000008000100780000000000000000000000110000010000000000000000000000000000000000000000480000002400000000020900000202010002050500030701010203000002060100040b08005000000000000000000000",
}


def fatbin(*names: str) -> bytes:
    entries = [bytes.fromhex(CUDA_CODE[name]) for name in names]
    body = b"".join(entry + bytes(int.from_bytes(entry[8:16], "little")) for entry in entries)
    return bytes.fromhex("50ed55ba01001000") + len(body).to_bytes(8, "little") + body


def elf(*, needed: tuple[str, ...] = (), fatbin: bytes = b"", section: str = ".nv_fatbin") -> bytes:
    """A shared library that needs others, and holds CUDA code."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    offsets = [strings.index(b"\0" + name.encode() + b"\0") + 1 for name in needed]
    dynamic = b"".join(struct.pack("<qQ", 1, offset) for offset in offsets) + struct.pack("<qQ", 14, 0) + struct.pack("<qQ", 0, 0)
    contents = [("", 0, b"", 0), (".dynstr", _STRTAB, strings, 0), (".dynamic", _DYNAMIC, dynamic, 1), (section, _PROGBITS, fatbin, 0)]
    names = b"\0".join(name.encode() for name, *_rest in contents) + b"\0.shstrtab\0"
    contents.append((".shstrtab", _STRTAB, names, 0))
    body, headers = b"", b""
    for name, kind, content, link in contents:
        offset = 64 + len(body)
        body += content + bytes(-len(content) % 8)
        at = names.index(b"\0" + name.encode() + b"\0") + 1 if name else 0
        headers += struct.pack(_SECTION, at, kind, 0, 0, offset, len(content), link, 0, 8, 0)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(_HEADER, identity, 3, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(contents), len(contents) - 1)
    return header + body + headers
