# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in the way of a host that is to use its GPUs: its driver, and whether GPUs, driver and toolkit fit together.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import Plan, plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import find, parse_toolkit_version
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_wheels import WHEELS
from ansible_collections.baremetal.llm.plugins.module_utils._driver_check import driver_problems
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_names import identify
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, errors

# The plan speaks of the parameters of cuda_plan, which the inventory has under these names.
_VARIABLES = {
    "gpus": "nvidia_driver_gpus",
    "driver_version": "nvidia_driver_version",
    "toolkit_version": "cuda_toolkit_version",
    "cuda_architectures": "llama_cpp_cuda_architectures",
}
_PARAMETER = re.compile(rf"\b({'|'.join(_VARIABLES)})\b")
# Of these, the plan says which toolkits would do, and not where to say so.
_ANOTHER_TOOLKIT = frozenset({"toolkit_too_old", "toolkit_too_new", "toolkit_newer_than_driver"})
# Why a host has no GPU to use, where it has none: to gpu_info no error, since not every host needs one.
_NOT_THERE = frozenset({"no_gpu", "gpu_passed_through"})


@dataclass(frozen=True)
class Wanted:
    """What the inventory asks for; empty is no wish."""

    gpus: Sequence[Mapping[str, object]] = ()
    """Instead of those that were found."""
    driver_version: str = ""
    kernel_module: str = ""
    manage: bool = True
    """Whether the driver is this collection's to install."""
    upgrade: bool = False
    """Whether a driver that is installed is to be changed for the wanted one."""
    needs_gpu: bool = False
    """Whether there is nothing to do here without one, found or named."""
    toolkit_version: str = ""
    """Empty where nothing is to be compiled for the GPUs."""
    toolkit_source: str = ""
    """As the role cuda_toolkit takes it: what `pypi` has is known."""
    cuda_architectures: Sequence[str] = ()


def host_problems(host: Mapping[str, Any], wanted: Wanted) -> list[Problem]:
    """Everything that has to be put right before anything is changed on ``host``, which is what gpu_info returned."""
    if not_understood := list(_not_understood(wanted)):
        return not_understood
    return list(dict.fromkeys([*_of_driver(host, wanted), *_of_gpus(host, wanted)]))


def picture(host: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """GPUs, driver and toolkit as a plan shows them."""
    gpus = wanted.gpus or host["gpus"]
    if not gpus or list(_not_understood(wanted)):
        return {"gpus": host["gpus"], "driver": None, "toolkit": None}
    there = host["driver"]
    plan: dict[str, Any] = _plan(gpus, there, wanted).as_dict()
    driver, toolkit = plan["driver"], plan["toolkit"]
    needed = wanted.kernel_module or ("open" if driver["open_required"] else None)
    return {
        "gpus": host["gpus"],
        "driver": {
            "installed_version": there["installed_version"],
            "wanted_version": _other_version(there["installed_version"], wanted.driver_version),
            "kernel_module": there["kernel_module"] if there["installed_version"] else needed,
            "min": driver["min"],
        },
        "toolkit": {
            "version": toolkit["chosen"],
            "min": toolkit["min"],
            "max": toolkit["max"],
            "architectures": list(wanted.cuda_architectures or plan["cuda_architectures"]),
        }
        if wanted.toolkit_version
        else None,
    }


def unseen(gpus: Sequence[Mapping[str, object]]) -> dict[str, Any]:
    """A host that can't be looked at, as gpu_info would return it if it had these GPUs and no driver."""
    blank = {"index": None, "uuid": None, "name": None, "pci_bus_id": None, "pci_id": None, "compute_capability": None, "memory_mib": None}
    driver = {"installed_version": None, "loaded_version": None, "pinned_version": None, "kernel_module": "none"}
    return {"gpus": [{**blank, **gpu} for gpu in gpus], "driver": driver, "problems": []}


def _not_understood(wanted: Wanted) -> Iterator[Problem]:
    checks = (
        ("nvidia_driver_version", wanted.driver_version, r"\d{3}|\d+\.\d+(\.\d+)?", "580.126.09, or 580 for the newest of that branch"),
        ("nvidia_driver_kernel_module", wanted.kernel_module, "open|proprietary", "open or proprietary"),
        ("cuda_toolkit_version", wanted.toolkit_version, r"\d+(\.\d+)+", "13.0.3"),
    )
    for variable, value, pattern, like in checks:
        if value and not re.fullmatch(pattern, value, re.ASCII):
            yield error("not_understood", f"{variable} is {value!r}, which means nothing here", f"Write it like {like}, or leave it empty")


def _of_driver(host: Mapping[str, Any], wanted: Wanted) -> Sequence[Problem]:
    version, flavour = ("", "") if wanted.upgrade else (wanted.driver_version, wanted.kernel_module)
    return driver_problems(host, version=version, kernel_module=flavour, manage=wanted.manage)


def _of_gpus(host: Mapping[str, Any], wanted: Wanted) -> Sequence[Problem]:
    gpus = wanted.gpus or host["gpus"]
    if not gpus:
        return [_no_gpu(host["problems"])] if wanted.needs_gpu else []
    if not wanted.gpus and (unknown := [_unknown(gpu) for gpu in host["gpus"] if not _is_known(gpu)]):
        return unknown
    problems = _of_plan(gpus, host["driver"], wanted)
    return problems if errors(problems) else [*problems, *_of_packages(wanted)]


def _is_known(gpu: Mapping[str, Any]) -> bool:
    return bool(gpu.get("compute_capability") or identify(gpu["name"] or ""))


def _no_gpu(found: Iterable[Mapping[str, str]]) -> Problem:
    why = "; ".join(problem["message"] for problem in found if problem["code"] in _NOT_THERE)
    return error(
        "no_gpu",
        f"{why or 'No NVIDIA GPU is in this host'}, and llama_cpp_backend is cuda",
        "Set llama_cpp_backend to cpu for this host, or check the seat and power of its card, or the passthrough to a virtual machine; "
        "where it only compiles for the GPUs of other hosts, name those in nvidia_driver_gpus",
    )


def _unknown(gpu: Mapping[str, Any]) -> Problem:
    where = f"The GPU at {gpu['pci_bus_id']} with the PCI id {gpu['pci_id']}"
    return error(
        "gpu_unknown",
        f"{where} is none that this collection knows, and without a driver nothing tells its compute capability",
        "Set nvidia_driver_gpus to all GPUs of this host, such as [{compute_capability: '12.0'}], as NVIDIA's table of CUDA GPUs has it; "
        "or install a driver yourself, which tells it",
    )


def _of_plan(gpus: Sequence[Mapping[str, object]], there: Mapping[str, Any], wanted: Wanted) -> list[Problem]:
    return [_in_words_of_the_inventory(problem) for problem in _plan(gpus, there, wanted).problems]


def _plan(gpus: Sequence[Mapping[str, object]], there: Mapping[str, Any], wanted: Wanted) -> Plan:
    stays = there["installed_version"] is not None and not wanted.upgrade
    flavour = there["kernel_module"] if stays else wanted.kernel_module
    return plan_for(
        gpus,
        toolkit_version=wanted.toolkit_version,
        driver_version=there["installed_version"] if stays else wanted.driver_version,
        driver_kernel_module=flavour or None,
        cuda_architectures=wanted.cuda_architectures,
    )


def _other_version(installed: str | None, wanted: str) -> str | None:
    """The version that is to come, where it is another one; a branch may be the installed one's."""
    return None if not wanted or (installed and (installed == wanted or installed.startswith(f"{wanted}."))) else wanted


def _of_packages(wanted: Wanted) -> Iterator[Problem]:
    version = wanted.toolkit_version
    if version and wanted.toolkit_source == "pypi" and version not in WHEELS:
        toolkit = find(parse_toolkit_version(version))
        packaged = toolkit is not None and toolkit.pypi
        elsewhere = "" if packaged else ", or cuda_toolkit_source to apt, which takes it from NVIDIA's own repository"
        yield error(
            "toolkit_not_packaged",
            f"cuda_toolkit_version is {version}, and cuda_toolkit_source is pypi, which has {', '.join(WHEELS)} only",
            f"Set cuda_toolkit_version to one of these{elsewhere}",
        )


def _in_words_of_the_inventory(problem: Problem) -> Problem:
    where = f" ({_VARIABLES['toolkit_version']})" if problem.code in _ANOTHER_TOOLKIT else ""
    return replace(problem, message=_with_variables(problem.message), remedy=_with_variables(problem.remedy) + where)


def _with_variables(text: str) -> str:
    return _PARAMETER.sub(lambda match: _VARIABLES[match[1]], text)
