# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from itertools import pairwise

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import (
    TOOLKITS,
    HostCompiler,
    find,
    parse_host_compiler,
    parse_toolkit_version,
)
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import parse_version, show, show_driver
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def test_the_table_goes_up_in_all_its_columns() -> None:
    for older, newer in pairwise(TOOLKITS):
        assert older.version < newer.version and older.paired_driver < newer.paired_driver
        assert older.max_gcc <= newer.max_gcc and older.max_clang <= newer.max_clang and older.pypi <= newer.pypi
    assert all(toolkit.min_driver <= toolkit.paired_driver for toolkit in TOOLKITS)


@pytest.mark.parametrize(
    ("toolkit", "gcc", "clang"), [((11, 8), 11, 14), ((12, 2), 12, 16), ((12, 8), 14, 19), ((13, 0), 15, 20), ((13, 4), 16, 22)]
)
def test_the_newest_compilers_are_those_of_host_config_h(toolkit: tuple[int, int], gcc: int, clang: int) -> None:
    found = find(toolkit)
    assert found
    assert [found.takes(HostCompiler("gcc", major)) for major in (gcc, gcc + 1)] == [True, False]
    assert [found.takes(HostCompiler("clang", major)) for major in (clang, clang + 1)] == [True, False]
    assert found.takes(None)


def test_an_update_of_a_toolkit_is_that_toolkit() -> None:
    assert find(parse_toolkit_version("12.8.1")) is find((12, 8)) is not None
    assert find((12, 7)) is find((14, 0)) is None


@pytest.mark.parametrize(
    ("text", "compiler"),
    [
        ("gcc 12", "gcc 12"),
        ("gcc-13", "gcc 13"),
        ("gcc 12.2.0", "gcc 12"),
        ("g++ 14", "gcc 14"),
        (" clang 16 ", "clang 16"),
        ("clang++-19", "clang 19"),
    ],
)
def test_a_host_compiler(text: str, compiler: str) -> None:
    assert str(parse_host_compiler(text)) == compiler


@pytest.mark.parametrize("text", ["gcc", "12", "icc 2023", "gcc twelve", "gcc 12 (Debian)", "clang version 16"])
def test_a_host_compiler_that_nothing_is_known_of(text: str) -> None:
    with pytest.raises(UserError, match=r"host_compiler is .* like 'gcc 12'"):
        parse_host_compiler(text)


@pytest.mark.parametrize("text", ["", "13", "13.x", "v13.0", "latest", "12.8-1"])
def test_a_toolkit_version_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match=r"toolkit_version is .* write it like 13\.0 or 12\.8\.1"):
        parse_toolkit_version(text)


def test_a_driver_is_written_as_nvidia_writes_it() -> None:
    for text in ("580", "570.26", "580.65.06", "535.183.01", "470.103.01"):
        assert show_driver(parse_version(text, "driver_version", "580")) == text
    assert show(parse_toolkit_version("12.8.1")) == "12.8.1"
