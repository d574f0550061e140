# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compilers and tools of this host: which are there, and what about them can change a binary."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ansible_collections.baremetal.llm.plugins.module_utils._cmake import CUDA_HOST_COMPILER, is_true
from ansible_collections.baremetal.llm.plugins.module_utils._command import check, run
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


@dataclass(frozen=True)
class Tool:
    """Something the build needs: the names it may have in PATH, best first, and Debian's package of it."""

    what: str
    names: tuple[str, ...]
    package: str

    def find(self) -> str | None:
        return next((path for name in self.names if (path := shutil.which(name))), None)


C_COMPILER = Tool("a C compiler", ("cc", "gcc", "clang"), "gcc")
CXX_COMPILER = Tool("a C++ compiler", ("c++", "g++", "clang++"), "g++")
CMAKE = Tool("cmake", ("cmake",), "cmake")
MAKE = Tool("ninja (or make)", ("ninja", "ninja-build", "make"), "ninja-build")
CCACHE = Tool("ccache", ("ccache",), "ccache")
GIT = Tool("git", ("git",), "git")


class PythonPip(Tool):
    """pip of the very Python that runs this."""

    def find(self) -> str | None:
        return "pip" if importlib.util.find_spec("pip") else None


PIP = PythonPip("pip for Python 3", (), "python3-pip")


@dataclass(frozen=True)
class Toolchain:
    """What a binary depends on besides its sources and options. Security updates of libraries within a version do not count."""

    c_path: str
    cxx_path: str
    c_compiler: str
    cxx_compiler: str
    machine: str
    libc: str
    openssl: str | None
    native: str | None
    toolkit: str | None
    cuda_host_path: str | None = None
    cuda_host_compiler: str | None = None

    def inputs(self) -> dict[str, object]:
        # nvcc hands what is not for the GPU to this compiler.
        host = {"cuda_host_compiler": self.cuda_host_compiler} if self.cuda_host_compiler else {}
        return {
            **host,
            "c_compiler": self.c_compiler,
            "cxx_compiler": self.cxx_compiler,
            "machine": self.machine,
            "libc": self.libc,
            "openssl": self.openssl,
            "native": self.native,
            "toolkit": self.toolkit,
        }


def missing(tools: Sequence[Tool]) -> list[Tool]:
    return [tool for tool in tools if tool.find() is None]


def missing_tools_message(tools: Sequence[Tool]) -> str:
    what = ", ".join(tool.what for tool in tools)
    packages = " ".join(tool.package for tool in tools)
    return f"llama.cpp can't be built here, missing: {what}; install them first (Debian and Ubuntu: apt-get install {packages})"


def compiler_paths(options: Mapping[str, str]) -> tuple[str, str]:
    """The compilers that ``options`` ask for, or this host's default ones."""
    if absent := missing(_default_compilers(options)):
        raise UserError(missing_tools_message(absent))
    return _compiler(options, "CMAKE_C_COMPILER", C_COMPILER), _compiler(options, "CMAKE_CXX_COMPILER", CXX_COMPILER)


def compilers_missing(options: Mapping[str, str]) -> list[Tool]:
    return missing(_default_compilers(options))


def ask_toolchain(options: Mapping[str, str], toolkit: str | None) -> Toolchain:
    """``toolkit`` is the version of the CUDA toolkit where there is to be one."""
    c_path, cxx_path = compiler_paths(options)
    host_path = _compiler(options, CUDA_HOST_COMPILER, CXX_COMPILER) if CUDA_HOST_COMPILER in options else cxx_path
    return Toolchain(
        c_path=c_path,
        cxx_path=cxx_path,
        c_compiler=_version_line(c_path),
        cxx_compiler=_version_line(cxx_path),
        machine=os.uname().machine,
        libc=os.confstr("CS_GNU_LIBC_VERSION") or "unknown" if "CS_GNU_LIBC_VERSION" in os.confstr_names else "unknown",
        openssl=_openssl_version() if is_true(options.get("LLAMA_OPENSSL", "ON")) else None,
        native=_native_features(c_path) if is_true(options.get("GGML_NATIVE", "ON")) else None,
        toolkit=toolkit,
        cuda_host_path=host_path if toolkit else None,
        cuda_host_compiler=_version_line(host_path) if toolkit else None,
    )


def parse_native_features(output: str) -> str:
    """What ``-march=native`` stands for, from the call of the compiler proper that ``-###`` prints.

    Asking the compiler instead of the kernel means that only a change of the CPU or of the compiler counts.
    """
    call = next((line for line in output.splitlines() if re.search(r'cc1"?\s|"-cc1"', line)), "")
    words = shlex.split(call)
    features: list[str] = []
    for word, following in pairwise([*words, ""]):
        if word in ("-target-cpu", "-target-feature", "--param"):
            features.append(f"{word} {following}")
        elif re.match(r"-m(?!thread-model|relocation-model|frame-pointer|constructor-aliases|llvm|ain-file-name)", word):
            features.append(word)
    return " ".join(features)


def parse_debian_version(version: str) -> str | None:
    """The ``3.0`` of ``3.0.17-1~deb12u2``: what decides about the library's interface."""
    match = re.match(r"(?:\d+:)?(\d+\.\d+)", version)
    return match[1] if match else None


def _default_compilers(options: Mapping[str, str]) -> list[Tool]:
    return [tool for name, tool in (("CMAKE_C_COMPILER", C_COMPILER), ("CMAKE_CXX_COMPILER", CXX_COMPILER)) if name not in options]


def _compiler(options: Mapping[str, str], option: str, default: Tool) -> str:
    wanted = options.get(option)
    path = shutil.which(wanted) if wanted else default.find()
    if path is None:
        raise UserError(f"cmake_options: {option} is {wanted!r}, which is not on this host; install it or leave the option out")
    return path


def _version_line(compiler: str) -> str:
    return check([compiler, "--version"], what=f"asking {compiler} for its version").stdout.partition("\n")[0].strip()


def _native_features(compiler: str) -> str:
    native = "-march=native" if os.uname().machine in ("x86_64", "i686") else "-mcpu=native"
    asked = check([compiler, native, "-E", "-###", "-xc", "/dev/null"], what=f"asking {compiler} what {native} means")
    return parse_native_features(asked.stderr)


def _openssl_version() -> str | None:
    # Its headers decide whether llama-server speaks HTTPS.
    asked = run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Version}", "libssl-dev"])
    status, _blank, version = asked.stdout.partition(" ")
    return parse_debian_version(version) if asked.rc == 0 and status == "installed" else None
