# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How llama.cpp is configured and compiled: every CMake option and environment variable of a build is decided here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._ninja import STATUS_FORMAT

# Where the sources and the CUDA toolkit seem to lie, wherever they really lie: two prefixes give the same bytes.
MAPPED_SOURCE = "/usr/src/llama.cpp"
MAPPED_TOOLKIT = "/usr/local/cuda"

_DEFAULTS = {
    "CMAKE_BUILD_TYPE": "Release",
    # The libraries lie beside the programs; a release is copied, not installed: `cmake --install` needs every target.
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    # ON is upstream's default too, unless SOURCE_DATE_EPOCH is set.
    "GGML_NATIVE": "ON",
    # It would put itself before the launcher given here.
    "GGML_CCACHE": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    # The web interface is downloaded while building, unchecked; without it `/` answers 404.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}
_CUDA_DEFAULTS = {
    "GGML_CUDA": "ON",
    # It would be linked or not, depending on whether it happens to be on the machine that builds.
    "GGML_CUDA_NCCL": "OFF",
}
CUDA_HOST_COMPILER = "CMAKE_CUDA_HOST_COMPILER"
_CUDA_ARCHITECTURES = "CMAKE_CUDA_ARCHITECTURES"
# CMake's own rule, and two things more without which every build gives other bytes: cudafe++ makes part of a symbol's name from the real
# path of the source, unless it is told another one; and the symbol for the source file is named after a temporary file with the
# number of the process in its name, unless that lies beside the object.
_CUDA_COMPILE = (
    "<CMAKE_CUDA_COMPILER> -forward-unknown-to-host-compiler -ccbin=<CMAKE_CUDA_HOST_COMPILER> <DEFINES> <INCLUDES> <FLAGS> "
    "-x cu {mode} <SOURCE> -o <OBJECT> --objdir-as-tempdir -Xcudafe --orig_src_path_name=<OBJECT> {prefix_map}"
)
# The rule's name and how it asks for an object, from CMake 3.23 on and before.
_CUDA_COMPILE_RULES = {"CMAKE_CUDA_COMPILE_OBJECT": "<CUDA_COMPILE_MODE>", "CMAKE_CUDA_COMPILE_WHOLE_COMPILATION": "-c"}
_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*")
_FALSE = frozenset({"", "0", "OFF", "NO", "FALSE", "N", "IGNORE", "NOTFOUND"})
# What would change the result without being a parameter.
_FOREIGN_VARIABLES = frozenset(
    {
        *("AR", "CC", "CXX", "LD", "CUDACXX", "CUDAHOSTCXX", "CUDAARCHS", "CUDA_PATH", "CUDA_HOME", "CUDAToolkit_ROOT"),
        *("CFLAGS", "CPPFLAGS", "CXXFLAGS", "CUDAFLAGS", "LDFLAGS", "LDLIBS", "MAKEFLAGS", "NINJAFLAGS"),
        *("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "DESTDIR", "SOURCE_DATE_EPOCH"),
    }
)
_FOREIGN_PREFIXES = ("CMAKE_", "CCACHE_", "GGML_", "LLAMA_", "NVCC_")


def option_value(value: object) -> str:
    """A value as CMake spells it: a boolean is ON or OFF, a list is joined by semicolons."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, (list, tuple)):
        return ";".join(option_value(item) for item in value)
    return str(value)


def is_true(value: str) -> bool:
    upper = value.upper()
    return upper not in _FALSE and not upper.endswith("-NOTFOUND")


def effective_options(user: Mapping[str, object], backend: str) -> dict[str, str]:
    """The options that decide what is built; ``user``'s come last and win."""
    options = dict(_DEFAULTS)
    if backend == "cuda":
        options.update(_CUDA_DEFAULTS)
    for name, value in user.items():
        if not _OPTION_NAME.fullmatch(name):
            raise UserError(f"cmake_options: {name!r} is not the name of a CMake option; give it without -D and without a type")
        if backend == "cuda" and name == _CUDA_ARCHITECTURES:
            raise UserError(f"cmake_options: {name} is what cuda_architectures says; leave it out here")
        options[name] = option_value(value)
    return options


@dataclass(frozen=True)
class Cuda:
    """The CUDA part of a build. While linking, ``driver_library`` stands in for the driver's."""

    architectures: Sequence[str]
    root: Path
    host_compiler: str
    driver_library: Path


def configure_argv(
    *,
    source: Path,
    build: Path,
    options: Mapping[str, str],
    commit: str,
    c_compiler: str,
    cxx_compiler: str,
    cuda: Cuda | None,
    make_program: str,
    launcher: str | None,
) -> list[str]:
    """The call of cmake. What is added to ``options`` here depends on the machine, but does not change the binary."""
    prefix_map = f"-ffile-prefix-map={source.parent}={MAPPED_SOURCE}"
    defined = {
        # Otherwise they come from whatever git repository is around, or from none.
        "LLAMA_BUILD_NUMBER": "0",
        "LLAMA_BUILD_COMMIT": commit,
        "CMAKE_C_COMPILER": c_compiler,
        "CMAKE_CXX_COMPILER": cxx_compiler,
        "CMAKE_MAKE_PROGRAM": make_program,
        **({"CMAKE_C_COMPILER_LAUNCHER": launcher, "CMAKE_CXX_COMPILER_LAUNCHER": launcher} if launcher else {}),
        **options,
        "CMAKE_C_FLAGS": f"{options.get('CMAKE_C_FLAGS', '')} {prefix_map}".strip(),
        "CMAKE_CXX_FLAGS": f"{options.get('CMAKE_CXX_FLAGS', '')} {prefix_map}".strip(),
        **(_cuda_definitions(cuda, options, prefix_map, launcher) if cuda else {}),
    }
    generator = "Ninja" if Path(make_program).name.startswith("ninja") else "Unix Makefiles"
    definitions = [f"-D{name}={value}" for name, value in sorted(defined.items())]
    return ["cmake", "-S", str(source), "-B", str(build), "-G", generator, *definitions]


def _cuda_definitions(cuda: Cuda, options: Mapping[str, str], prefix_map: str, launcher: str | None) -> dict[str, str]:
    # The programs don't name these libraries themselves, so the linker looks for them where the libraries say: beside them, later.
    search = f"-Wl,-rpath-link,{cuda.root}/lib64 -Wl,-rpath-link,{cuda.driver_library.parent}"
    prefix_maps = f"{prefix_map} -ffile-prefix-map={cuda.root}={MAPPED_TOOLKIT}"
    linker_flags = ("CMAKE_EXE_LINKER_FLAGS", "CMAKE_SHARED_LINKER_FLAGS")
    return {
        _CUDA_ARCHITECTURES: ";".join(cuda.architectures),
        "CMAKE_CUDA_COMPILER": f"{cuda.root}/bin/nvcc",
        "CUDAToolkit_ROOT": str(cuda.root),
        CUDA_HOST_COMPILER: cuda.host_compiler,
        # What FindCUDAToolkit would find, on a host with a driver too.
        "CUDA_cuda_driver_LIBRARY": str(cuda.driver_library),
        **({"CMAKE_CUDA_COMPILER_LAUNCHER": launcher} if launcher else {}),
        **{name: f"{options.get(name, '')} {search}".strip() for name in linker_flags},
        **{rule: _CUDA_COMPILE.format(mode=mode, prefix_map=prefix_maps) for rule, mode in _CUDA_COMPILE_RULES.items()},
    }


def build_argv(make_program: str, build: Path, targets: Sequence[str], jobs: int) -> list[str]:
    return [make_program, "-C", str(build), "-j", str(jobs), *targets]


def build_environment(*, work: Path, ccache: Path) -> dict[str, str]:
    """All variables of a build. Only this process's harmless ones are inherited, so that the same key gives the same bytes."""
    return {
        "NINJA_STATUS": STATUS_FORMAT,
        "TMPDIR": str(work / "tmp"),
        # Trees older than LLAMA_BUILD_COMMIT ask git.
        "GIT_CEILING_DIRECTORIES": str(work.parent),
        "CCACHE_DIR": str(ccache),
        # Trust the compiler's own list of headers: a miss then costs no extra run of the preprocessor.
        "CCACHE_DEPEND": "1",
        # The sources were unpacked a moment ago, which ccache would take for "still being edited".
        "CCACHE_SLOPPINESS": "include_file_ctime,include_file_mtime",
    }


def drop_foreign_variables() -> None:
    """Remove from this process what could change a build without being a parameter of it."""
    for name in list(os.environ):
        if name in _FOREIGN_VARIABLES or name.startswith(_FOREIGN_PREFIXES):
            del os.environ[name]
