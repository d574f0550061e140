# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_build import (
    check_toolkit,
    embedded_code,
    needs_families,
    parse_architectures,
    parse_cmake_version,
    parse_host_compiler_version,
)
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import HostCompiler
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def test_architectures_are_spelled_one_way() -> None:
    assert [str(each) for each in parse_architectures(["120-real", " 86-real", "120a-real", "89"])] == ["86-real", "89", "120a-real"]
    assert {str(each) for each in embedded_code(parse_architectures(["86", "90-virtual", "120"]))} == {
        *("86-real", "86-virtual", "90-virtual", "120a-real", "120a-virtual"),
    }
    assert needs_families(parse_architectures(["120f-real"])) and not needs_families(parse_architectures(["120a-real"]))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "cuda_architectures is empty; name the architecture of each of the host's GPUs, such as 86-real for an A10"),
        (["native"], "cuda_architectures has native, which can mean something else tomorrow"),
        (["86-real", "ALL", "all-major"], "cuda_architectures has ALL, all-major, which can mean"),
        (["sm_86"], "cuda_architectures has 'sm_86', which is not the architecture of a known GPU; write it like 86-real"),
        (["86-real", "8.6", ""], "cuda_architectures has '8.6', '', which is not"),
        (["86a"], "has '86a'"),
        (["86;90"], "has '86;90'"),
    ],
)
def test_bad_architectures(texts: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_architectures(texts)
    assert message in caught.value.msg


GCC_12, GCC_16 = HostCompiler("gcc", 12), HostCompiler("gcc", 16)


@pytest.mark.parametrize(
    ("texts", "toolkit", "compiler", "message"),
    [
        (["120a-real"], "12.2.2", None, "CUDA 12.2.2 doesn't know the GPU of compute capability 12.0"),
        (["70-real"], "13.0.3", None, "CUDA 13.0.3 no longer builds for the GPU of compute capability 7.0"),
        (["70-real", "120a-real"], "12.2", GCC_12, "doesn't know the GPU of compute capability 12.0"),
        (["120f-real"], "12.8.1", None, "CUDA 12.8 doesn't build for 120f-real of cuda_architectures"),
        (
            ["86-real"],
            "13.0.3",
            GCC_16,
            "gcc 16 is too new for CUDA 13.0.3, whose nvcc takes gcc up to 15. Install gcc-15 and g++-15 and set",
        ),
        (["86-real"], "12.2", GCC_12, None),
        (["86-real", "120a-real"], "13.0.88", GCC_12, None),
        (["70-real", "86-real"], "12.9.1", None, None),
        (["86-real"], "14.7", None, "toolkit_version is 14.7, which is none of"),
        (["86-real"], "latest", None, "cuda_version is 'latest', which is not a version; write it like 13.0.3"),
    ],
)
def test_toolkit(texts: list[str], toolkit: str, compiler: HostCompiler | None, message: str | None) -> None:
    architectures = parse_architectures(texts)
    if message is None:
        check_toolkit(architectures, toolkit, compiler)
        return
    with pytest.raises(UserError) as caught:
        check_toolkit(architectures, toolkit, compiler)
    assert message in caught.value.msg


def test_families_need_a_new_cmake() -> None:
    families = parse_architectures(["120f-real"])
    check_toolkit(families, "13.0.3", None, (4, 0, 2))
    with pytest.raises(UserError, match=r"CMake 3.25.1 rejects 120f-real"):
        check_toolkit(families, "13.0.3", None, (3, 25, 1))
    assert parse_cmake_version("cmake version 3.25.1\n\nCMake suite maintained") == (3, 25, 1)
    assert parse_cmake_version("") is None


@pytest.mark.parametrize(
    ("line", "compiler"),
    [
        ("c++ (Debian 12.2.0-14+deb12u1) 12.2.0", HostCompiler("gcc", 12)),
        ("g++-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0", HostCompiler("gcc", 13)),
        ("g++ (GCC) 15.1.1 20250425 (Red Hat 15.1.1-1)", HostCompiler("gcc", 15)),
        ("Debian clang version 14.0.6", HostCompiler("clang", 14)),
        ("Ubuntu clang version 18.1.3 (1ubuntu1)", HostCompiler("clang", 18)),
        ("Intel(R) oneAPI DPC++/C++ Compiler 2024.0", None),
    ],
)
def test_host_compiler(line: str, compiler: HostCompiler | None) -> None:
    assert parse_host_compiler_version(line) == compiler
