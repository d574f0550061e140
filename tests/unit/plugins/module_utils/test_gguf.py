# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._gguf import NotGgufError, trained_context

UINT32, STRING, ARRAY, UINT64 = 4, 8, 9, 10


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, *values: bytes) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def gguf(*pairs: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


ARCHITECTURE = pair("general.architecture", STRING, text("llama"))
CONTEXT = pair("llama.context_length", UINT32, struct.pack("<I", 4096))
VOCABULARY = pair("tokenizer.ggml.tokens", ARRAY, array(STRING, text("a"), text("b")))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (gguf(ARCHITECTURE, CONTEXT), 4096),
        (gguf(ARCHITECTURE, pair("llama.context_length", UINT64, struct.pack("<Q", 2**20))), 2**20),
        (gguf(ARCHITECTURE, pair("general.tags", ARRAY, array(STRING, text("a"), text("b"))), CONTEXT, VOCABULARY), 4096),
        (gguf(ARCHITECTURE, pair("llama.sizes", ARRAY, array(UINT32, b"\1\0\0\0", b"\2\0\0\0")), CONTEXT), 4096),
        (gguf(ARCHITECTURE, pair("qwen2.context_length", UINT32, b"\1\0\0\0")), None),
        (gguf(ARCHITECTURE, VOCABULARY, CONTEXT), None),
        (gguf(), None),
    ],
)
def test_the_context_is_read_from_the_header(tmp_path: Path, data: bytes, expected: int | None) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data + bytes(64))
    assert trained_context(path) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "starts with b'vers'"),
        (b"<!doctype html>", "starts with b'<!do'"),
        (b"GGUF", "ends within its header"),
        (gguf(ARCHITECTURE, CONTEXT)[:-2], "ends within its header"),
        (gguf(pair("x", 99, b"")), "unknown type 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60), "damaged"),
    ],
)
def test_anything_else_is_told_for_what_it_is(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(NotGgufError, match=reason):
        trained_context(path)
