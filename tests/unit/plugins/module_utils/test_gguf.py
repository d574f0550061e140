# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._gguf import Header, SkippedArray, Tensor, read_header, trained_context
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import LONGEST_HEADER, LocalFile, NotGgufError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_types import REMOVED_TENSOR_TYPES, TENSOR_TYPES
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_packer import (
    ARRAY,
    BOOL,
    F16,
    F32,
    FLOAT32,
    FLOAT64,
    INT8,
    INT64,
    Q4_K,
    Q8_0,
    STRING,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    InMemory,
    Packer,
)
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

PACK = Packer()
ARCHITECTURE = PACK.pair("general.architecture", STRING, "llama")
CONTEXT = PACK.pair("llama.context_length", UINT32, 4096)
VOCABULARY = PACK.array_pair("tokenizer.ggml.tokens", STRING, ["a", "b"])
PADDING = PACK.pair("general.name", STRING, "." * 100)  # room for whatever a damaged count claims
NORM = PACK.tensor("norm", (8,), F32, 0)


def read(content: bytes, size: int = 0) -> Header:
    return read_header(InMemory(content, size))


@pytest.mark.parametrize("packer", [Packer(sign, version) for sign in "<>" for version in (2, 3)], ids=str)
def test_a_header_of_each_version_and_byte_order(packer: Packer) -> None:
    content = packer.file(
        packer.pair("general.architecture", STRING, "llama"),
        packer.pair("general.alignment", UINT32, 64),
        packer.pair("a.small", INT8, -3),
        packer.pair("a.large", UINT64, 2**64 - 1),
        packer.pair("a.single", FLOAT32, 0.25),
        packer.pair("a.double", FLOAT64, 1e-300),
        packer.pair("a.flag", BOOL, True),
        packer.array_pair("a.heads", UINT32, [8, 8, 4]),
        packer.array_pair("a.flags", BOOL, [True, False]),
        packer.array_pair("a.texts", STRING, ["", "größer"]),
        packer.array_pair("a.nothing", FLOAT32, []),
        tensors=(packer.tensor("a", (256, 3), Q4_K, 0), packer.tensor("b", (), F16, 448), packer.tensor("c", (32, 2, 1, 3), Q8_0, 512)),
        data=512 + 6 * 34,
        alignment=64,
    )
    header = read(content)
    assert (header.version, header.byte_order) == (packer.version, "little" if packer.sign == "<" else "big")
    assert header.metadata == {
        "general.architecture": "llama",
        "general.alignment": 64,
        "a.small": -3,
        "a.large": 2**64 - 1,
        "a.single": 0.25,
        "a.double": 1e-300,
        "a.flag": True,
        "a.heads": (8, 8, 4),
        "a.flags": (True, False),
        "a.texts": ("", "größer"),
        "a.nothing": (),
    }
    assert header.tensors == (
        Tensor("a", (256, 3), "Q4_K", 432),
        Tensor("b", (), "F16", 2),
        Tensor("c", (32, 2, 1, 3), "Q8_0", 204),
    )
    assert (header.architecture, header.tensor_bytes) == ("llama", 638)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (PACK.array_pair("k", UINT16, [7] * 1024), (7,) * 1024),
        (PACK.array_pair("k", UINT16, [7] * 1025), SkippedArray("uint16", 1025)),
        (PACK.array_pair("k", BOOL, [True] * 1025), SkippedArray("bool", 1025)),
        (PACK.array_pair("k", STRING, ["x", "y" * 300] * 600), SkippedArray("string", 1200)),
        (PACK.array_pair("k", STRING, [""] * 3000), SkippedArray("string", 3000)),
        (PACK.array_pair("k", STRING, ["z" * 2000] * 1024), ("z" * 2000,) * 1024),
        (PACK.pair("k", STRING, "t" * 2**20), "t" * 2**20),
        (PACK.pair("k", STRING, "t" * (2**20 + 1)), SkippedArray("char", 2**20 + 1)),
        (PACK.pair("k", STRING, b"\xff\x00"), "\ufffd\x00"),
    ],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize("windows", [(24, 24), (16 << 10, 256 << 10), (1 << 30, 1 << 30)])
def test_what_is_long_is_skipped_and_what_follows_is_found(pair: bytes, expected: object, windows: tuple[int, int]) -> None:
    file = InMemory(PACK.file(pair, CONTEXT, tensors=(NORM,), data=32), windows=windows)
    header = read_header(file)
    assert header.metadata == {"k": expected, "llama.context_length": 4096}
    assert [tensor.bytes for tensor in header.tensors] == [32]


def test_a_long_array_of_numbers_is_not_even_read() -> None:
    file = InMemory(PACK.file(PACK.array_pair("k", UINT8, [0] * 100_000), CONTEXT))
    assert read_header(file).metadata["llama.context_length"] == 4096
    assert sum(size for _offset, size in file.reads) < 1000


def test_the_windows_grow_up_to_a_bound() -> None:
    file = InMemory(PACK.file(PACK.array_pair("k", STRING, ["xyz"] * 2000), CONTEXT), windows=(64, 256))
    assert read_header(file).metadata["llama.context_length"] == 4096
    assert [size for _offset, size in file.reads[:5]] == [64, 128, 256, 256, 256]
    # One after the other, and nothing twice.
    assert all(offset + size <= after for (offset, size), (after, _size) in itertools.pairwise(file.reads))


def test_the_data_is_not_read(tmp_path: Path) -> None:
    content = PACK.header(ARCHITECTURE, tensors=(PACK.tensor("a", (2**30, 5), F32, 0),))
    file = InMemory(content, 21 * 2**30)
    assert read_header(file).tensor_bytes == 20 * 2**30
    assert max(offset + size for offset, size in file.reads) < 1024


# Each is damaged in one way alone.
DAMAGED = [
    ("is empty", b""),
    ("is a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    ("starts with b'<!do' instead of b'GGUF'", b"<!doctype html>"),
    ("starts with b'GG' instead", b"GG"),
    ("ends within its header$", b"GGUF"),
    ("ends within its header", PACK.file(ARCHITECTURE, CONTEXT)[:-2]),
    ("is of version 1 of the format", Packer(version=1).file(ARCHITECTURE)),
    ("is of version 4 of the format", Packer(version=4).file(ARCHITECTURE)),
    ("is of version 5 of the format", Packer(">", 5).file(ARCHITECTURE)),
    ("is of version 0 of the format", Packer(version=0).file(ARCHITECTURE)),
    ("no room for 1000000 pairs", PACK.header(ARCHITECTURE, counts=(0, 10**6))),
    ("no room for 18446744073709551615 pairs", PACK.header(ARCHITECTURE, counts=(0, 2**64 - 1))),
    ("no room for 4294967296 tensors", PACK.header(ARCHITECTURE, counts=(2**32, 1))),
    ("unknown type 13 in its header: 'x'", PACK.file(PACK.text("x") + PACK.number(UINT32, 13), PADDING)),
    (
        "array of the unknown type 99 in its header: 'x'",
        PACK.file(PACK.text("x") + PACK.number(UINT32, ARRAY) + PACK.array(99, []), PADDING),
    ),
    ("array of arrays", PACK.file(PACK.array_pair("x", ARRAY, []), PADDING)),
    ("no room for 4611686018427387904 values in 'x'", PACK.file(PACK.array_pair("x", UINT64, [], 2**62), PADDING)),
    ("ends within its header$", PACK.file(PACK.array_pair("x", STRING, ["y"] * 1500 + [PADDING], 1501))[:-1]),
    ("ends within its header$", PACK.file(PACK.array_pair("x", STRING, ["y"] * 1500, 1501), PACK.number(UINT64, 2**64 - 1))),
    ("ends within its header$", PACK.file(PACK.array_pair("x", STRING, ["y"] * 1500, 1502), PACK.number(UINT64, 2**63), PADDING)),
    ("ends within its header$", PACK.file(PACK.array_pair("x", STRING, ["y"], 2), PACK.number(UINT64, 2**30))),
    ("no room for 99 values in 'x'", PACK.file(PACK.array_pair("x", STRING, [], 99), PADDING)),
    ("a key of 0 bytes", PACK.file(PACK.pair("", UINT32, 1), PADDING)),
    ("a key of 65536 bytes", PACK.file(PACK.pair("k" * 65536, UINT32, 1))),
    ("a key of 1152921504606846976 bytes", PACK.header(counts=(0, 1)) + PACK.number(UINT64, 2**60) + bytes(64)),
    ("the key 'general.architecture' twice", PACK.file(ARCHITECTURE, ARCHITECTURE)),
    ("general.alignment is 0", PACK.file(PACK.pair("general.alignment", UINT32, 0))),
    ("general.alignment is 24", PACK.file(PACK.pair("general.alignment", UINT32, 24))),
    ("type of its general.alignment is not uint32", PACK.file(PACK.pair("general.alignment", UINT64, 32))),
    ("the tensor 'norm' twice", PACK.file(tensors=(NORM, PACK.tensor("norm", (8,), F32, 32)), data=64)),
    ("a tensor's name of 64 bytes", PACK.file(tensors=(PACK.tensor("n" * 64, (8,), F32, 0),), data=32)),
    ("'norm' has 5 dimensions", PACK.file(tensors=(PACK.tensor("norm", (1, 1, 1, 1, 1), F32, 0),), data=32)),
    ("'norm' has 4294967295 dimensions", PACK.file(tensors=(PACK.text("norm") + PACK.number(UINT32, 2**32 - 1) + bytes(64),), data=32)),
    (r"'norm' has the shape \[-1\]", PACK.file(tensors=(PACK.tensor("norm", (-1,), F32, 0),), data=32)),
    (r"'norm' has the shape \[4294967296, 4294967296\]", PACK.file(tensors=(PACK.tensor("norm", (2**32, 2**32), F32, 0),), data=32)),
    ("'norm' as type 43, which is damaged or newer", PACK.file(tensors=(PACK.tensor("norm", (8,), 43, 0),), data=32)),
    ("'norm' as Q4_0_4_4, which llama.cpp has given up", PACK.file(tensors=(PACK.tensor("norm", (8,), 31, 0),), data=32)),
    (r"'norm' of the shape \[48\] can't be of Q8_0", PACK.file(tensors=(PACK.tensor("norm", (48,), Q8_0, 0),), data=64)),
    (r"'norm' of the shape \[\] can't be of Q8_0", PACK.file(tensors=(PACK.tensor("norm", (), Q8_0, 0),), data=64)),
    ("'b' is at 0 in the data instead of 32", PACK.file(tensors=(NORM, PACK.tensor("b", (8,), F32, 0)), data=64)),
    ("'b' is at 33 in the data instead of 32", PACK.file(tensors=(NORM, PACK.tensor("b", (8,), F32, 33)), data=96)),
    ("'b' is at 64 in the data instead of 32", PACK.file(tensors=(NORM, PACK.tensor("b", (8,), F32, 64)), data=96)),
    ("the last 1 of 96 bytes are missing", PACK.file(tensors=(NORM,), data=31)),
    ("the last 1 of 160 bytes are missing", PACK.file(tensors=(NORM, PACK.tensor("b", (8,), F32, 32)), data=63)),
    ("the last 32 of 96 bytes are missing", PACK.file(tensors=(NORM,), data=0)),
    ("the last 34359738368 of 34359738464 bytes are missing", PACK.file(tensors=(PACK.tensor("norm", (2**30, 8), F32, 0),))),
]


@pytest.mark.parametrize(("reason", "content"), DAMAGED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_damaged_is_told_for_what_it_is(reason: str, content: bytes) -> None:
    with pytest.raises(NotGgufError, match=reason):
        read(content)


@pytest.mark.parametrize("length", range(1, 160))
def test_a_file_that_ends_anywhere_is_refused(length: int) -> None:
    content = PACK.file(ARCHITECTURE, CONTEXT, VOCABULARY, tensors=(NORM,), data=32)[:-1]
    with pytest.raises(NotGgufError, match=r"ends within its header|starts with|is not whole"):
        read(content[:length])


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        # In a file of 100 GB there is room for any count.
        (PACK.array_pair("k", STRING, [], 2**24 + 1), "no room for"),
        (PACK.text("k") + PACK.number(UINT32, STRING) + PACK.number(UINT64, 2**27), "has a header of more than 128 MiB"),
        (PACK.array_pair("k", UINT64, [], 2**24), "no room for"),
        (PACK.array_pair("k", STRING, ["x"] * 2000 + [b"\0" * 200], 3001), "a key of 0 bytes"),
        (b"".join(PACK.pair(f"k{number:05}", STRING, "t" * 2**20) for number in range(17)), "more than 16 MiB"),
        (PACK.array_pair("k", STRING, ["t" * 2**14] * 1024), "more than 16 MiB"),
        (b"".join(PACK.array_pair(f"k{number:05}", BOOL, [True] * 1024) for number in range(300)), "more than 16 MiB"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_header_takes_no_more_memory_or_time_than_any_model_has_use_for(pair: bytes, reason: str) -> None:
    file = InMemory(PACK.header(pair, counts=(0, 1000)), 10**11, windows=LocalFile.windows)
    with pytest.raises(NotGgufError, match=reason):
        read_header(file)
    assert max(offset + size for offset, size in file.reads) < LONGEST_HEADER + 2**20


def test_as_many_tensors_as_no_model_has() -> None:
    tensors = b"".join(PACK.tensor(f"t{number}", (0,), F32, 0) for number in range(70_000))
    with pytest.raises(NotGgufError, match="more than 16 MiB"):
        read_header(InMemory(PACK.header(tensors=(tensors,), counts=(70_000, 0)), windows=LocalFile.windows))


def test_a_file_that_grows_meanwhile() -> None:
    class Growing(InMemory):
        def read(self, offset: int, size: int) -> bytes:
            self.size = len(self.content) + len(self.reads)
            return super().read(offset, size)

    with pytest.raises(NotGgufError, match="changes while it is read"):
        read_header(Growing(PACK.file(PADDING, ARCHITECTURE)))


@pytest.mark.parametrize("name", ["\x1b[2J\n" * 3, "k" * 5000, "\0" * 5000, "\U000e0001" * 60])
def test_a_name_can_not_spoil_the_message(name: str) -> None:
    with pytest.raises(NotGgufError, match="twice") as error:
        read(PACK.file(PACK.pair(name, UINT32, 1), PACK.pair(name, UINT32, 1)))
    assert str(error.value).isprintable() and len(str(error.value)) < 120


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, make: object) -> None:
    path = tmp_path / "model.gguf"
    make(path)  # type: ignore[operator]
    with pytest.raises(NotGgufError, match="is not a regular file"), LocalFile(path):
        pass


def test_the_types_are_those_of_the_gguf_package() -> None:
    ours = {number: (kind.name, kind.block, kind.bytes) for number, kind in TENSOR_TYPES.items()}
    theirs = {kind.value: (kind.name, *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType}
    assert theirs.pop(GGMLQuantizationType.Q8_1) == ("Q8_1", 32, 40)  # see _gguf_types.py
    assert {number: kind for number, kind in ours.items() if number in theirs} == theirs
    assert not set(ours) & set(REMOVED_TENSOR_TYPES)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PACK.file(ARCHITECTURE, CONTEXT), 4096),
        (PACK.file(ARCHITECTURE, PACK.pair("llama.context_length", UINT64, 2**20)), 2**20),
        (PACK.file(ARCHITECTURE, PACK.array_pair("general.tags", STRING, ["a", "b"]), CONTEXT, VOCABULARY), 4096),
        (PACK.file(ARCHITECTURE, PACK.array_pair("llama.sizes", UINT32, [1] * 9000), CONTEXT), 4096),
        (PACK.file(ARCHITECTURE, PACK.array_pair("llama.sizes", INT64, [1, 2]), CONTEXT), 4096),
        (PACK.file(ARCHITECTURE, PACK.pair("qwen2.context_length", UINT32, 1)), None),
        (PACK.file(ARCHITECTURE, PACK.pair("llama.context_length", STRING, "4096")), None),
        (PACK.file(ARCHITECTURE, VOCABULARY, CONTEXT), None),
        (Packer(">").file(Packer(">").pair("general.architecture", STRING, "a"), Packer(">").pair("a.context_length", UINT32, 9)), 9),
        (PACK.file(), None),
        # What comes after the context is not looked at.
        (PACK.header(ARCHITECTURE, CONTEXT, PACK.text("x"), counts=(9, 3)) + bytes(9), 4096),
    ],
)
def test_the_context_is_read_from_the_first_pairs(tmp_path: Path, content: bytes, expected: int | None) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    assert trained_context(path) == expected


def test_no_context_of_what_is_no_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"<!doctype html>")
    with pytest.raises(NotGgufError, match="starts with b'<!do'"):
        trained_context(path)
