# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._elf import DamagedElfError, mapped, needed, sections
from ansible_collections.baremetal.llm.plugins.module_utils._fatbin import embedded_architectures
from ansible_collections.baremetal.llm.tests.unit.plugins.elf_writer import CUDA_CODE, elf, fatbin


def architectures(data: bytes) -> set[str]:
    return {str(architecture) for architecture in embedded_architectures(data)}


@pytest.mark.parametrize("name", CUDA_CODE)
def test_each_kind_of_code(name: str) -> None:
    assert architectures(elf(fatbin=fatbin(name))) == {name}


def test_all_containers_of_all_sources_count() -> None:
    several = fatbin("86-virtual", "86-real") + bytes(24) + fatbin("120a-real") + fatbin("86-real") + bytes(40)
    assert architectures(elf(fatbin=several)) == {"86-virtual", "86-real", "120a-real"}
    assert architectures(elf(fatbin=several, section="__nv_relfatbin")) == {"86-virtual", "86-real", "120a-real"}
    assert architectures(elf(fatbin=several, section=".rodata")) == set()


@pytest.mark.parametrize(
    ("fatbin_bytes", "message"),
    [
        (b"\x51" + fatbin("86-real")[1:], "which is no fatbin known here"),
        (fatbin("86-real")[:-8], "but the section ends at"),
        (fatbin("86-real")[:4] + b"\x02" + fatbin("86-real")[5:], "which is no fatbin known here"),
        (fatbin("86-real")[:20] + bytes(4) + fatbin("86-real")[24:], "has an impossible size"),
        (fatbin("86-real")[:24] + b"\xff" * 8 + fatbin("86-real")[32:], "has an impossible size"),
        (bytes.fromhex("50ed55ba01001000") + (8).to_bytes(8, "little") + bytes(8), "is cut short"),
    ],
)
def test_damaged_fatbin(fatbin_bytes: bytes, message: str) -> None:
    with pytest.raises(DamagedElfError, match=message):
        embedded_architectures(elf(fatbin=fatbin_bytes))


def test_needed_libraries() -> None:
    assert needed(elf(needed=("libcublas.so.13", "libcudart.so.13", "libc.so.6"))) == ["libcublas.so.13", "libcudart.so.13", "libc.so.6"]
    assert needed(elf()) == []


def test_agrees_with_readelf() -> None:
    readelf = shutil.which("readelf")
    if not readelf:
        pytest.skip("readelf is not installed")
    for program in (sys.executable, "/bin/tar", "/bin/sh"):
        with mapped(program) as data:
            assert data is not None
            listed = subprocess.run([readelf, "-dW", program], check=True, capture_output=True, text=True).stdout
            assert needed(data) == [line.rpartition("[")[2].rstrip("]") for line in listed.splitlines() if "(NEEDED)" in line]
            titles = subprocess.run([readelf, "-SW", program], check=True, capture_output=True, text=True).stdout
            assert all(f" {section.name} " in titles for section in sections(data) if section.name)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(58)])
def test_what_is_no_elf_file_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with mapped(tmp_path / "x") as data:
        assert data is None


WHOLE = elf(needed=("libcublas.so.13", "libc.so.6"), fatbin=fatbin("90a-real", "86-virtual") + bytes(8) + fatbin("100f-real"))


def read(data: bytes) -> None:
    needed(data)
    embedded_architectures(data)


def test_cut_anywhere() -> None:
    for length in [*range(300), *range(300, len(WHOLE), 17), *range(len(WHOLE) - 400, len(WHOLE))]:
        with pytest.raises(DamagedElfError):
            read(WHOLE[:length])


def test_damaged_anywhere() -> None:
    rng = random.Random(1)
    began = time.process_time()
    for _round in range(3000):
        damaged = bytearray(WHOLE)
        for _byte in range(rng.choice((1, 2, 8))):
            place = rng.choice((rng.randrange(64), rng.randrange(len(WHOLE)), len(WHOLE) - 1 - rng.randrange(320)))
            damaged[place] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        with contextlib.suppress(DamagedElfError):
            read(bytes(damaged))
    assert time.process_time() - began < 20


def test_no_section_is_too_big(tmp_path: Path) -> None:
    # Sparse: half a gigabyte of nothing where the CUDA code should be.
    size = 1 << 29
    data = bytearray(elf(fatbin=bytes(8)))
    table = int.from_bytes(data[40:48], "little")
    data[table + 3 * 64 + 24 : table + 3 * 64 + 40] = (4096).to_bytes(8, "little") + (size - 4096).to_bytes(8, "little")
    with (tmp_path / "big").open("wb") as file:
        file.write(data)
        file.truncate(size)
    began = time.process_time()
    with mapped(tmp_path / "big") as big:
        assert big is not None and embedded_architectures(big) == set()
    assert time.process_time() - began < 10
