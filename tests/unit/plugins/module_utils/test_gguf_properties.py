# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any header that can be written is read as it was written; whatever it is damaged to, it is read or refused with a reason."""

from __future__ import annotations

import math
import struct

from ansible_collections.baremetal.llm.plugins.module_utils._gguf import Tensor, read_header
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import NotGgufError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_types import TENSOR_TYPES
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_packer import (
    BOOL,
    FLOAT32,
    FLOAT64,
    FORMS,
    STRING,
    UINT32,
    InMemory,
    Packer,
)
from hypothesis import given
from hypothesis import strategies as st

ALIGNMENTS = st.sampled_from([1, 8, 32, 128, 4096])
PACKERS = st.builds(Packer, st.sampled_from("<>"), st.sampled_from([2, 3]))


def values_of(kind: int) -> st.SearchStrategy[object]:
    if kind == STRING:
        return st.text(max_size=40)
    if kind == BOOL:
        return st.booleans()
    if kind in (FLOAT32, FLOAT64):
        return st.floats(width=32 if kind == FLOAT32 else 64, allow_nan=False)
    bits = 8 * struct.calcsize(FORMS[kind])
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if FORMS[kind].islower() else st.integers(0, 2**bits - 1)


KINDS = st.sampled_from([*FORMS, STRING])
SCALARS = KINDS.flatmap(lambda kind: st.tuples(st.just(kind), values_of(kind)))
ARRAYS = KINDS.flatmap(lambda kind: st.tuples(st.just(kind), st.lists(values_of(kind), max_size=20)))
METADATA = st.dictionaries(st.text(min_size=1, max_size=20).filter(lambda key: key != "general.alignment"), SCALARS | ARRAYS, max_size=8)
TENSORS = st.dictionaries(
    st.text(max_size=15),
    st.tuples(st.sampled_from(sorted(TENSOR_TYPES)), st.lists(st.integers(0, 9), max_size=4)),
    max_size=8,
)


def pair(packer: Packer, key: str, kind: int, value: object) -> bytes:
    return packer.array_pair(key, kind, value) if isinstance(value, list) else packer.pair(key, kind, value)


def laid_out(packer: Packer, described: dict[str, tuple[int, list[int]]], alignment: int) -> tuple[list[bytes], list[Tensor], int]:
    """The tensors as bytes and as they have to be read, and the size of their data."""
    packed, tensors, place = [], [], 0
    for name, (number, sizes) in described.items():
        kind = TENSOR_TYPES[number]
        # A row is made of whole blocks, and only a type without blocks can do without a row.
        shape = (sizes[0] * kind.block, *sizes[1:]) if sizes else () if kind.block == 1 else (kind.block,)
        packed.append(packer.tensor(name, shape, number, place))
        tensors.append(Tensor(name, shape, kind.name, math.prod(shape) * kind.bytes // kind.block))
        place += -(-tensors[-1].bytes // alignment) * alignment
    return packed, tensors, place


@given(PACKERS, METADATA, TENSORS, ALIGNMENTS, st.integers(8, 200))
def test_what_is_written_is_read(
    packer: Packer, metadata: dict[str, tuple[int, object]], described: dict[str, tuple[int, list[int]]], alignment: int, window: int
) -> None:
    packed, tensors, data = laid_out(packer, described, alignment)
    pairs = [pair(packer, key, kind, value) for key, (kind, value) in metadata.items()]
    pairs.append(packer.pair("general.alignment", UINT32, alignment))
    content = packer.file(*pairs, tensors=tuple(packed), data=data, alignment=alignment)
    header = read_header(InMemory(content, windows=(window, 2 * window)))
    expected = {key: tuple(value) if isinstance(value, list) else value for key, (_kind, value) in metadata.items()}
    assert header.metadata == {**expected, "general.alignment": alignment}
    assert list(header.tensors) == tensors
    assert (header.version, header.byte_order) == (packer.version, {"<": "little", ">": "big"}[packer.sign])


PACK = Packer()
SAMPLE = PACK.file(
    PACK.pair("general.architecture", STRING, "llama"),
    PACK.pair("general.alignment", UINT32, 64),
    PACK.array_pair("a.heads", UINT32, [4, 4, 8]),
    PACK.array_pair("a.texts", STRING, ["x", "yy"]),
    PACK.pair("a.flag", BOOL, True),
    tensors=(PACK.tensor("a", (256, 2), 12, 0), PACK.tensor("b", (8,), 0, 320)),
    data=352,
    alignment=64,
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(SAMPLE)),
        st.integers(0, 12),
        st.binary(max_size=9) | st.integers(0, 2**64 - 1).map(lambda n: n.to_bytes(8, "little")),
    ),
    max_size=5,
)


@given(EDITS, st.sampled_from([0, len(SAMPLE), 2**40]), st.integers(8, 200))
def test_whatever_it_is_damaged_to(edits: list[tuple[int, int, bytes]], size: int, window: int) -> None:
    content = SAMPLE
    for at, removed, added in edits:
        content = content[:at] + added + content[at + removed :]
    file = InMemory(content, size, windows=(window, 2 * window))
    reason = ""
    try:
        assert read_header(file).tensor_bytes <= file.file_size
    except NotGgufError as error:
        reason = str(error)
    assert reason.isprintable()
    # Each read after the first is for something that is there, and none is made twice for the same bytes.
    assert sum(size for _offset, size in file.reads) <= 2 * len(content) + 4 * window + 2**20
