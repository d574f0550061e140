# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What doesn't fit together in a case, each with its remedy. The codes are documented in the module cuda_plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import (
    MIN_CMAKE,
    Architecture,
    Coverage,
    cmake_knows_families,
    parse,
)
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import Modules
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_case import Case, Gpu
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import TOOLKITS, HostCompiler, Toolkit
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version, show, show_driver
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, errors, warning

# Those that are for another driver to mend, or for other kernel modules of it.
OF_THE_DRIVER = frozenset(
    {
        "driver_too_old",
        "driver_too_new",
        "toolkit_newer_than_driver",
        "open_modules_required",
        "proprietary_modules_required",
        "gpus_without_common_driver",
    }
)


def conflicts(case: Case) -> list[Problem]:
    """Everything but the architectures that are asked for."""
    return [
        *_without_any_toolkit(case),
        *_wanted_toolkit(case),
        *_driver(case),
        *_kernel_modules(case),
        *_cmake(case),
    ]


def check_architectures(case: Case) -> tuple[list[Architecture], list[Problem]]:
    """The architectures to build for: those that are asked for if they will do, otherwise those that are needed."""
    if case.request.architectures is None:
        return case.needed, []
    parsed = {text: parse(text) for text in case.request.architectures}
    asked = sorted({architecture for architecture in parsed.values() if architecture})
    use = f"Use {_list(case.needed)}, or leave cuda_architectures out"
    if invalid := [text for text, architecture in parsed.items() if not architecture]:
        what = f"cuda_architectures has {_list(invalid)}, which is not the architecture of a known GPU"
        return case.needed, [error("architecture_invalid", what, use)]
    problems = [*_toolchain_for(asked, case, use), *_coverage(asked, case, use)]
    return case.needed if errors(problems) else asked, problems


def _without_any_toolkit(case: Case) -> Iterator[Problem]:
    """A driver that is too old for all toolkits is told among the driver's problems."""
    if not case.buildable:
        newest = max(case.gpus, key=lambda gpu: gpu.support.first_toolkit)
        oldest = min(case.gpus, key=lambda gpu: gpu.support.last_toolkit or newest.support.first_toolkit)
        yield error(
            "gpus_without_common_toolkit",
            f"no CUDA toolkit builds for both {newest.label} ({_toolkits_of(newest)}) and {oldest.label} ({_toolkits_of(oldest)})",
            "Put them into different hosts, or leave one of them out of gpus",
        )
    compiler, toolkit = case.request.compiler, case.compiler_limit
    if compiler and toolkit:
        limit = toolkit.newest(compiler.name)
        driver = f" with driver {show_driver(case.request.driver)}" if case.request.driver and toolkit is not case.buildable[-1] else ""
        yield error(
            "host_compiler_too_new",
            f"{compiler} is too new: {toolkit} is the newest for {_labels(case.gpus)}{driver}, and takes {compiler.name} up to {limit}",
            _either(
                _install_compiler(compiler, limit),
                f"driver {show_driver(case.min_driver)} or newer" if any(newer.takes(compiler) for newer in case.buildable) else None,
            ),
        )


def _wanted_toolkit(case: Case) -> Iterator[Problem]:
    request, wanted = case.request, case.wanted
    if not request.toolkit:
        return
    instead = f"use CUDA {_span(case.allowed)}" if case.allowed else None
    if not wanted:
        known = ", ".join(show(toolkit.version) for toolkit in TOOLKITS)
        yield error(
            "toolkit_unknown",
            f"toolkit_version is {show(request.toolkit)}, which is none of {known}",
            _either(instead or "use one of these", "a newer release of this collection if it knows it"),
        )
        return
    name = f"CUDA {show(request.toolkit)}"
    if case.buildable:
        another = _either(instead or f"use CUDA {_span(case.buildable)}")
        if too_new := [gpu for gpu in case.gpus if wanted.version < gpu.support.first_toolkit]:
            yield error("toolkit_too_old", f"{name} doesn't know {_described(too_new)}", another)
        if too_old := [gpu for gpu in case.gpus if gpu.support.last_toolkit and wanted.version > gpu.support.last_toolkit]:
            yield error("toolkit_too_new", f"{name} no longer builds for {_described(too_old)}", another)
    if wanted not in case.buildable:
        return  # no driver and no compiler would make it the right one
    if request.driver and request.driver < wanted.min_driver:
        runs_on = f"what it builds runs on {show_driver(wanted.min_driver)} or newer"
        yield error(
            "toolkit_newer_than_driver",
            f"{name} is newer than driver {show_driver(request.driver)}: {runs_on}",
            _either(f"install driver {show_driver(max(case.min_driver, wanted.min_driver))} or newer", instead),
        )
    if request.compiler and not wanted.takes(request.compiler) and not case.compiler_limit:
        limit = wanted.newest(request.compiler.name)
        yield error(
            "host_compiler_too_new",
            f"{request.compiler} is too new for {name}, whose nvcc takes {request.compiler.name} up to {limit}",
            _either(_install_compiler(request.compiler, limit), instead),
        )


def _driver(case: Case) -> Iterator[Problem]:
    driver = case.request.driver
    if not driver:
        return
    neediest = max(case.gpus, key=lambda gpu: gpu.support.driver)
    least: Version = max([(neediest.support.driver,), *(toolkit.min_driver for toolkit in case.buildable[:1])])
    if driver < least:
        yield error(
            "driver_too_old",
            f"driver {show_driver(driver)} is too old for {neediest.label}, which needs {show_driver(least)} or newer",
            f"Install driver {show_driver(case.min_driver)} or newer",
        )
    if case.last_driver and driver[0] > case.last_driver:
        dropped = [gpu for gpu in case.gpus if gpu.family.last_driver and driver[0] > gpu.family.last_driver]
        yield error(
            "driver_too_new",
            f"driver {show_driver(driver)} no longer drives {_labels(dropped)}: {case.last_driver} is the last branch that does",
            f"Install a driver of branch {case.last_driver}, and pin it",
        )


def _kernel_modules(case: Case) -> Iterator[Problem]:
    open_only, proprietary_only = case.needing(Modules.OPEN), case.needing(Modules.PROPRIETARY)
    if open_only and proprietary_only:
        flavours = f"{_labels(open_only)} works with the open kernel modules only, {_labels(proprietary_only)} with the proprietary ones"
        yield error(
            "gpus_without_common_driver",
            f"{flavours}, and a host has one of them",
            "Put them into different hosts, or pass one of them through to a virtual machine and leave it out of gpus",
        )
    elif open_only and case.request.kernel_module == "proprietary":
        yield error(
            "open_modules_required",
            f"{_labels(open_only)} works with the open kernel modules only, and this driver has the proprietary ones",
            "Install the open flavour of the driver (nvidia-open); nvidia-smi says 'No devices were found' until then",
        )
    elif proprietary_only and case.request.kernel_module == "open":
        yield error(
            "proprietary_modules_required",
            f"{_labels(proprietary_only)} works with the proprietary kernel modules only, and this driver has the open ones",
            f"Install the proprietary flavour of the driver (cuda-drivers), of branch {case.last_driver} or older",
        )


def _cmake(case: Case) -> Iterator[Problem]:
    if case.request.cmake and case.request.cmake < MIN_CMAKE:
        yield error(
            "cmake_too_old",
            f"CMake {show(case.request.cmake)} doesn't know CUDA architectures",
            f"Install CMake {show(MIN_CMAKE)} or newer",
        )


def _toolchain_for(asked: Sequence[Architecture], case: Case, use: str) -> Iterator[Problem]:
    families = [architecture for architecture in asked if architecture.suffix == "f"]
    if families and case.request.cmake and not cmake_knows_families(case.request.cmake):
        yield error(
            "cmake_without_family_architectures",
            f"CMake {show(case.request.cmake)} rejects {_list(families)} in cuda_architectures",
            f"{use}, or install CMake 4.0.2 or newer (3.31.8 takes it too)",
        )
    toolkit = case.chosen or case.wanted
    if toolkit and (unknown := [architecture for architecture in asked if not architecture.built_by(toolkit.version)]):
        yield error("architecture_unknown_to_toolkit", f"{toolkit} doesn't build for {_list(unknown)} of cuda_architectures", use)


def _coverage(asked: Sequence[Architecture], case: Case, use: str) -> Iterator[Problem]:
    have = f"cuda_architectures ({_list(asked)}) has"
    for gpu in dict.fromkeys(case.gpus):
        coverage = max((architecture.coverage(gpu.capability) for architecture in asked), default=Coverage.NONE)
        if coverage is Coverage.NONE:
            yield error("architecture_missing", f"{have} nothing that {gpu.label} can run", use)
        elif coverage is Coverage.BINARY:
            yield warning("architecture_inexact", f"{have} no code of {gpu.label}'s own compute capability, {gpu.capability}", use)
        elif coverage is Coverage.PTX:
            yield _only_ptx(f"{have} only PTX for {gpu.label}", case, use)


def _only_ptx(what: str, case: Case, use: str) -> Problem:
    driver, toolkit = case.request.driver, case.chosen
    if driver and toolkit and driver < toolkit.paired_driver:
        able = f"only driver {show_driver(toolkit.paired_driver)} or newer compiles that of {toolkit}"
        return error("architecture_ptx_only", f"{what}, and {able}; this is {show_driver(driver)}", use)
    return warning("architecture_ptx_only", f"{what}, which the driver has to compile when the program first runs", use)


def _labels(gpus: Iterable[Gpu]) -> str:
    return " and ".join(dict.fromkeys(gpu.label for gpu in gpus))


def _described(gpus: Iterable[Gpu]) -> str:
    return " and ".join(dict.fromkeys(f"{gpu.label} (compute capability {gpu.capability}; {_toolkits_of(gpu)})" for gpu in gpus))


def _toolkits_of(gpu: Gpu) -> str:
    first = f"CUDA {show(gpu.support.first_toolkit)}"
    return f"{first} to {show(gpu.support.last_toolkit)}" if gpu.support.last_toolkit else f"{first} or newer"


def _span(toolkits: Sequence[Toolkit]) -> str:
    first, last = show(toolkits[0].version), show(toolkits[-1].version)
    return first if first == last else f"{first} to {last}"


def _list(items: Iterable[object]) -> str:
    return ";".join(str(item) for item in items)


def _install_compiler(compiler: HostCompiler, limit: int) -> str:
    packages, program = (f"gcc-{limit} and g++-{limit}", "g++") if compiler.name == "gcc" else (f"clang-{limit}", "clang++")
    return f"Install {packages} and set CMAKE_CUDA_HOST_COMPILER to {program}-{limit} in cmake_options"


def _either(*ways: str | None) -> str:
    text = ", or ".join(way for way in ways if way)
    return text[0].upper() + text[1:]
