# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CUDA build is asked to be, weighed before anything is done: its architectures, its toolkit, its host compiler.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Architecture, parse
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_case import Request
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import resolve
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import HostCompiler
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version, parse_version
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._problems import errors, failure_message

_LIKE = "86-real for an A10 or 120a-real for an RTX 5090 (cuda_plan tells them for a host's GPUs)"
# What CMake also takes: they stand for what a machine or a toolkit happens to have.
_NOT_EXPLICIT = frozenset({"native", "all", "all-major"})


def parse_architectures(texts: Sequence[str]) -> list[Architecture]:
    """The architectures to build for, each of them spelled out by the operator."""
    if not texts:
        raise UserError(f"cuda_architectures is empty; name the architecture of each of the host's GPUs, such as {_LIKE}")
    if vague := [text for text in texts if text.strip().lower() in _NOT_EXPLICIT]:
        raise UserError(
            f"cuda_architectures has {', '.join(vague)}, which can mean something else tomorrow; name the architectures, such as {_LIKE}"
        )
    parsed = {text: parse(text) for text in texts}
    if invalid := [text for text, architecture in parsed.items() if architecture is None]:
        raise UserError(
            f"cuda_architectures has {', '.join(map(repr, invalid))}, which is not the architecture of a known GPU; write it like {_LIKE}"
        )
    return sorted({architecture for architecture in parsed.values() if architecture})


def check_toolkit(architectures: Sequence[Architecture], toolkit: str, compiler: HostCompiler | None, cmake: Version | None = None) -> None:
    """Refuse what this toolkit can't build, or what it can't be built with; None is "not known"."""
    gpus = [{"compute_capability": str(architecture.capability)} for architecture in architectures]
    request = Request(
        toolkit=parse_version(toolkit, "cuda_version", "13.0.3", parts=2),
        compiler=compiler,
        cmake=cmake,
        architectures=[str(architecture) for architecture in architectures],
    )
    if errors(problems := resolve(gpus, request).problems):
        raise UserError(failure_message(problems))


def needs_families(architectures: Iterable[Architecture]) -> bool:
    """Whether it depends on the CMake's version if it takes them."""
    return any(architecture.suffix == "f" for architecture in architectures)


def embedded_code(architectures: Iterable[Architecture]) -> set[Architecture]:
    """What a program for these holds: machine code, PTX, or one of each."""
    return {
        replace(architecture, real=kind == "real", virtual=kind == "virtual")
        for architecture in architectures
        for kind in ("real", "virtual")
        if getattr(architecture, kind)
    }


def parse_host_compiler_version(line: str) -> HostCompiler | None:
    """From the first line of ``--version``; None for a compiler of which nothing is known."""
    if match := re.search(r"clang version (\d+)", line):
        return HostCompiler("clang", int(match[1]))
    # "g++ (Debian 12.2.0-14) 12.2.0", "g++-12 (…) 12.2.0", "c++ (GCC) 15.1.1 20250425"
    match = re.match(r"\S+ \(.*\) (\d+)\.\d+", line)
    return HostCompiler("gcc", int(match[1])) if match else None


def parse_cmake_version(output: str) -> Version | None:
    match = re.match(r"cmake version (\d+)\.(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
