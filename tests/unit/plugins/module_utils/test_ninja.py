# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._ninja import Step, find_failure, first_error, parse_step
from hypothesis import given
from hypothesis import strategies as st

NINJA_FAILURE = """\
ninja: Entering directory `/opt/llama.cpp/work/build'
[1/11] Building C object CMakeFiles/mini.dir/lib.c.o
[2/11] Building CXX object src/CMakeFiles/llama.dir/llama.cpp.o
FAILED: src/CMakeFiles/llama.dir/llama.cpp.o
/usr/bin/ccache /usr/bin/c++ -O3 -DX="error: no" -c /opt/llama.cpp/work/source/src/llama.cpp
In file included from /opt/llama.cpp/work/source/src/llama.cpp:1:
/opt/llama.cpp/work/source/src/llama.h:3:1: warning: unused
/opt/llama.cpp/work/source/src/llama.cpp:7:25: error: 'x' was not declared in this scope
    7 | int f() { return x; }
[3/11] Building CXX object common/CMakeFiles/common.dir/log.cpp.o
/opt/llama.cpp/work/source/common/log.cpp:1:1: warning: something else
ninja: build stopped: subcommand failed.
"""
MAKE_FAILURE = """\
[ 12%] Building CXX object src/CMakeFiles/llama.dir/llama.cpp.o
[ 25%] Building CXX object src/CMakeFiles/llama.dir/model.cpp.o
/opt/llama.cpp/work/source/src/model.cpp:7:25: fatal error: nothere.h: No such file or directory
compilation terminated.
make[3]: *** [src/CMakeFiles/llama.dir/build.make:76: src/CMakeFiles/llama.dir/model.cpp.o] Error 1
make[2]: *** [CMakeFiles/Makefile2:90: src/CMakeFiles/llama.dir/all] Error 2
"""
OUT_OF_MEMORY = """\
FAILED: a.o
c++ -c a.cpp
c++: fatal error: Killed signal terminated program cc1plus
compilation terminated.
ninja: build stopped: subcommand failed.
"""


@given(st.integers(0, 9999), st.integers(1, 9999), st.text(st.characters(exclude_categories=("C", "Z"))))
def test_every_status_line_is_a_step(done: int, total: int, detail: str) -> None:
    assert parse_step(f"[{done}/{total}] {detail}") == Step(done, total, "", detail)


@pytest.mark.parametrize("line", ["", "[1/2]", "warning: [1/2] x", "-- Configuring done", "[a/b] x", "[100] x"])
def test_other_lines_are_not(line: str) -> None:
    assert parse_step(line) is None


def test_make_counts_per_cent() -> None:
    assert parse_step("[  5%] Building C object a.o") == Step(5, 100, "%", "Building C object a.o")


def test_failure_of_ninja() -> None:
    failure = find_failure(NINJA_FAILURE.splitlines())
    assert failure is not None
    assert failure.target == "src/CMakeFiles/llama.dir/llama.cpp.o"
    assert failure.command.startswith("/usr/bin/ccache /usr/bin/c++ -O3")
    assert failure.error == "/opt/llama.cpp/work/source/src/llama.cpp:7:25: error: 'x' was not declared in this scope"
    assert len(failure.output) == 4 and not failure.killed


def test_failure_of_make() -> None:
    failure = find_failure(MAKE_FAILURE.splitlines())
    assert failure is not None
    assert failure.target == "src/CMakeFiles/llama.dir/model.cpp.o"
    assert failure.error.endswith("fatal error: nothere.h: No such file or directory")
    assert failure.command == ""


def test_newer_ninja_tells_the_exit_status() -> None:
    failure = find_failure(["FAILED: [code=1] a.o", "cc -c a.c", "a.c:1:1: error: no"])
    assert failure is not None and failure.target == "a.o"


def test_compiler_killed_for_want_of_memory() -> None:
    failure = find_failure(OUT_OF_MEMORY.splitlines())
    assert failure is not None and failure.killed


def test_success_has_no_failure() -> None:
    assert find_failure(["[1/1] Linking CXX executable error: in a name"]) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["note: x", "a.cu(3): error: identifier is undefined"], "a.cu(3): error: identifier is undefined"),
        (["nvcc fatal   : Unsupported gpu architecture 'compute_70'"], "nvcc fatal   : Unsupported gpu architecture 'compute_70'"),
        (["x.o: in function f:", "x.cpp:(.text+0x5): undefined reference to 'g'"], "x.cpp:(.text+0x5): undefined reference to 'g'"),
        (["", "  whatever it says "], "whatever it says"),
        ([], ""),
    ],
)
def test_first_error(lines: list[str], expected: str) -> None:
    assert first_error(lines) == expected
