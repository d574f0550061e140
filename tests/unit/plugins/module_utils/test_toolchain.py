# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _toolchain
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import (
    C_COMPILER,
    CMAKE,
    CXX_COMPILER,
    PIP,
    ask_toolchain,
    compiler_paths,
    missing_tools_message,
    parse_debian_version,
    parse_native_features,
)

GCC = """\
Using built-in specs.
COLLECT_GCC=gcc
Target: x86_64-linux-gnu
gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)
COLLECT_GCC_OPTIONS='-march=native' '-E'
 /usr/lib/gcc/x86_64-linux-gnu/12/cc1 -E -quiet -imultiarch x86_64-linux-gnu - "-march=znver3" -mmmx -mno-fma4 --param "l1-cache-size=48" "-mtune=znver3" -fasynchronous-unwind-tables -dumpbase -
COMPILER_PATH=/usr/lib/gcc/x86_64-linux-gnu/12/
COLLECT_GCC_OPTIONS='-march=native' '-E'
"""
CLANG = """\
Debian clang version 14.0.6
Target: x86_64-pc-linux-gnu
 (in-process)
 "/usr/lib/llvm-14/bin/clang" "-cc1" "-triple" "x86_64-pc-linux-gnu" "-E" "-main-file-name" "null" "-mrelocation-model" "pic" "-target-cpu" "znver3" "-target-feature" "+sse2" "-target-feature" "-tbm" "-o" "-"
"""
FAKE_COMPILER = """\
#!/bin/sh
case "$*" in
  --version) echo "$0 (Debian 14.2.0-19) 14.2.0"; echo "Copyright" ;;
  *) echo ' /usr/libexec/gcc/cc1 -E -quiet "-march=armv9" -mfp16' >&2 ;;
esac
"""


@pytest.mark.parametrize(
    ("output", "features"),
    [
        (GCC, "-march=znver3 -mmmx -mno-fma4 --param l1-cache-size=48 -mtune=znver3"),
        (CLANG, "-target-cpu znver3 -target-feature +sse2 -target-feature -tbm"),
        ("gcc: error: unrecognized command-line option", ""),
    ],
)
def test_what_native_means(output: str, features: str) -> None:
    assert parse_native_features(output) == features


@pytest.mark.parametrize(("version", "short"), [("3.0.17-1~deb12u2", "3.0"), ("1:3.5.1-1", "3.5"), ("unknown", None)])
def test_debian_version(version: str, short: str | None) -> None:
    assert parse_debian_version(version) == short


@pytest.fixture
def fake_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but two compilers."""
    for name in ("cc", "g++"):
        (tmp_path / name).write_text(FAKE_COMPILER)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_toolchain_is_asked_for(fake_host: Path) -> None:
    toolchain = ask_toolchain({}, None)
    assert (toolchain.c_path, toolchain.cxx_path) == (f"{fake_host}/cc", f"{fake_host}/g++")
    assert toolchain.c_compiler.endswith("cc (Debian 14.2.0-19) 14.2.0")
    assert toolchain.native == "-march=armv9 -mfp16"
    assert toolchain.libc.startswith("glibc ")
    assert toolchain.openssl is None and toolchain.toolkit is None
    # Where a program lies can't change the binary; what it is, can.
    assert not {"c_path", "cxx_path"} & toolchain.inputs().keys()


def test_features_do_not_count_without_native(fake_host: Path) -> None:
    assert ask_toolchain({"GGML_NATIVE": "OFF"}, None).native is None


def test_compiler_of_the_user(fake_host: Path) -> None:
    assert compiler_paths({"CMAKE_C_COMPILER": "g++"}) == (f"{fake_host}/g++", f"{fake_host}/g++")
    with pytest.raises(UserError, match=r"CMAKE_CXX_COMPILER is 'clang\+\+-99', which is not on this host"):
        compiler_paths({"CMAKE_CXX_COMPILER": "clang++-99"})


def test_missing_tools_are_named_with_their_packages(fake_host: Path) -> None:
    (fake_host / "cc").unlink()
    with pytest.raises(UserError, match=r"missing: a C compiler; .* apt-get install gcc\)"):
        compiler_paths({})
    assert _toolchain.missing([C_COMPILER, CXX_COMPILER, CMAKE]) == [C_COMPILER, CMAKE]
    assert missing_tools_message([CMAKE, PIP]).endswith("(Debian and Ubuntu: apt-get install cmake python3-pip)")


def test_pip_is_looked_for_where_it_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_toolchain.importlib.util, "find_spec", lambda _name: None)
    assert PIP.find() is None


def test_cuda_host_compiler_counts_for_cuda_only(fake_host: Path) -> None:
    assert "cuda_host_compiler" not in ask_toolchain({}, None).inputs()
    toolchain = ask_toolchain({}, "13.0.3")
    assert toolchain.toolkit == "13.0.3" and toolchain.cuda_host_path == toolchain.cxx_path
    assert toolchain.inputs()["cuda_host_compiler"] == toolchain.cxx_compiler
    other = ask_toolchain({"CMAKE_CUDA_HOST_COMPILER": "cc"}, "13.0.3")
    assert other.cuda_host_path == f"{fake_host}/cc" and other.cuda_host_compiler == other.c_compiler != other.cxx_compiler
    with pytest.raises(UserError, match=r"CMAKE_CUDA_HOST_COMPILER is 'g\+\+-99', which is not on this host"):
        ask_toolchain({"CMAKE_CUDA_HOST_COMPILER": "g++-99"}, "13.0.3")
