# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cmake import (
    Cuda,
    build_argv,
    build_environment,
    configure_argv,
    drop_foreign_variables,
    effective_options,
    is_true,
    option_value,
)
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

CONFIGURE: dict[str, Any] = {
    "source": Path("/opt/llama.cpp/work/source"),
    "build": Path("/opt/llama.cpp/work/build"),
    "options": {"GGML_NATIVE": "ON"},
    "commit": "0123456789ab",
    "c_compiler": "/usr/bin/cc",
    "cxx_compiler": "/usr/bin/c++",
    "cuda": None,
    "make_program": "/usr/bin/ninja",
    "launcher": None,
}


@pytest.mark.parametrize(
    ("value", "spelt"), [(True, "ON"), (False, "OFF"), (3, "3"), ("-O3 -g", "-O3 -g"), (["86-real", "120a-real"], "86-real;120a-real")]
)
def test_option_value(value: object, spelt: str) -> None:
    assert option_value(value) == spelt


@pytest.mark.parametrize(("value", "true"), [("ON", True), ("1", True), ("off", False), ("", False), ("No", False), ("X-NOTFOUND", False)])
def test_is_true(value: str, true: bool) -> None:
    assert is_true(value) is true


def test_user_options_win() -> None:
    options = effective_options({"GGML_NATIVE": False, "X_Y": 1}, "cpu")
    assert options["GGML_NATIVE"] == "OFF" and options["X_Y"] == "1"
    assert options["LLAMA_BUILD_UI"] == "OFF" and "GGML_CUDA" not in options


def test_cuda_options() -> None:
    options = effective_options({}, "cuda")
    assert (
        options["GGML_CUDA"] == "ON"
        and options["GGML_CUDA_NCCL"] == "OFF"
        and effective_options({"GGML_CUDA_NCCL": True}, "cuda")["GGML_CUDA_NCCL"] == "ON"
    )
    with pytest.raises(UserError, match="CMAKE_CUDA_ARCHITECTURES is what cuda_architectures says"):
        effective_options({"CMAKE_CUDA_ARCHITECTURES": "native"}, "cuda")


def test_configure_with_cuda() -> None:
    cuda = Cuda(["86-real", "120a-real"], Path("/opt/cuda/13.0.3"), "/usr/bin/g++-13", Path("/opt/llama.cpp/work/driver/libcuda.so.1"))
    options = {"CMAKE_EXE_LINKER_FLAGS": "-s"}
    argv = configure_argv(**{**CONFIGURE, "cuda": cuda, "launcher": "/usr/bin/ccache", "options": options})
    defined = dict(argument[2:].split("=", 1) for argument in argv if argument.startswith("-D"))
    assert defined["CMAKE_CUDA_ARCHITECTURES"] == "86-real;120a-real"
    assert defined["CMAKE_CUDA_COMPILER"] == "/opt/cuda/13.0.3/bin/nvcc" and defined["CUDAToolkit_ROOT"] == "/opt/cuda/13.0.3"
    assert defined["CMAKE_CUDA_HOST_COMPILER"] == "/usr/bin/g++-13" and defined["CMAKE_CUDA_COMPILER_LAUNCHER"] == "/usr/bin/ccache"
    search = "-Wl,-rpath-link,/opt/cuda/13.0.3/lib64 -Wl,-rpath-link,/opt/llama.cpp/work/driver"
    assert defined["CMAKE_EXE_LINKER_FLAGS"] == f"-s {search}" and defined["CMAKE_SHARED_LINKER_FLAGS"] == search
    assert defined["CUDA_cuda_driver_LIBRARY"] == "/opt/llama.cpp/work/driver/libcuda.so.1"
    for rule in ("CMAKE_CUDA_COMPILE_OBJECT", "CMAKE_CUDA_COMPILE_WHOLE_COMPILATION"):
        assert "--orig_src_path_name=<OBJECT> -ffile-prefix-map=/opt/llama.cpp/work=/usr/src/llama.cpp" in defined[rule]
        assert defined[rule].endswith(" -ffile-prefix-map=/opt/cuda/13.0.3=/usr/local/cuda")


@pytest.mark.parametrize("name", ["-DX", "X:BOOL", "X=1", "X Y", ""])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match="cmake_options"):
        effective_options({name: True}, "cpu")


def test_configure_with_ninja_and_ccache() -> None:
    argv = configure_argv(**{**CONFIGURE, "launcher": "/usr/bin/ccache"})
    assert argv[:7] == ["cmake", "-S", "/opt/llama.cpp/work/source", "-B", "/opt/llama.cpp/work/build", "-G", "Ninja"]
    assert "-DCMAKE_C_COMPILER_LAUNCHER=/usr/bin/ccache" in argv and "-DCMAKE_CXX_COMPILER_LAUNCHER=/usr/bin/ccache" in argv
    assert "-DLLAMA_BUILD_COMMIT=0123456789ab" in argv and "-DLLAMA_BUILD_NUMBER=0" in argv
    assert "-DCMAKE_C_FLAGS=-ffile-prefix-map=/opt/llama.cpp/work=/usr/src/llama.cpp" in argv


def test_configure_with_make_and_flags_of_the_user() -> None:
    argv = configure_argv(**{**CONFIGURE, "make_program": "/usr/bin/make", "options": {"CMAKE_CXX_FLAGS": "-g1"}})
    assert argv[argv.index("-G") + 1] == "Unix Makefiles"
    assert "-DCMAKE_CXX_FLAGS=-g1 -ffile-prefix-map=/opt/llama.cpp/work=/usr/src/llama.cpp" in argv
    assert not any("LAUNCHER" in argument for argument in argv)


def test_build() -> None:
    assert build_argv("/usr/bin/ninja", Path("/b"), ["llama-server"], 8) == ["/usr/bin/ninja", "-C", "/b", "-j", "8", "llama-server"]
    environment = build_environment(work=Path("/opt/llama.cpp/work"), ccache=Path("/opt/llama.cpp/ccache"))
    assert environment["NINJA_STATUS"] == "[%f/%t] " and environment["GIT_CEILING_DIRECTORIES"] == "/opt/llama.cpp"


def test_nothing_of_the_login_reaches_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CFLAGS", "CXX", "CMAKE_GENERATOR", "CCACHE_DISABLE", "SOURCE_DATE_EPOCH"):
        monkeypatch.setenv(name, "x")
    drop_foreign_variables()
    assert not {"CFLAGS", "CXX", "CMAKE_GENERATOR", "CCACHE_DISABLE", "SOURCE_DATE_EPOCH"} & os.environ.keys()
    assert "PATH" in os.environ
