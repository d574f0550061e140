# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fits together: GPUs, driver, toolkit, host compiler and CMake, weighed before anything is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Architecture
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import CAPABILITIES, Capability, Modules
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_case import Case, Gpu, Request
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_conflicts import check_architectures, conflicts
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import Toolkit, parse_host_compiler, parse_toolkit_version
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version, parse_version, show, show_driver
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_names import identify, known_names
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning


@dataclass(frozen=True)
class Plan:
    gpus: list[Gpu] = field(default_factory=list)
    architectures: list[Architecture] = field(default_factory=list)
    toolkits: list[Toolkit] = field(default_factory=list)
    """All that GPUs, driver and compiler allow, oldest first, without a gap."""
    chosen: Version | None = None
    min_driver: Version | None = None
    last_driver: int | None = None
    open_required: bool = False
    problems: list[Problem] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """What the module cuda_plan returns."""
        return {
            "gpus": [{"name": gpu.name or None, "family": gpu.family.name, "compute_capability": str(gpu.capability)} for gpu in self.gpus],
            "cuda_architectures": [str(architecture) for architecture in self.architectures],
            "toolkit": {
                "min": show(self.toolkits[0].version) if self.toolkits else None,
                "max": show(self.toolkits[-1].version) if self.toolkits else None,
                "chosen": show(self.chosen) if self.chosen else None,
            },
            "driver": {
                "min": show_driver(self.min_driver) if self.min_driver else None,
                "max": str(self.last_driver) if self.last_driver else None,
                "open_required": self.open_required,
            },
            "problems": [problem.as_dict() for problem in self.problems],
        }


def plan_for(
    gpus: Sequence[Mapping[str, object]],
    *,
    toolkit_version: str | None = None,
    driver_version: str | None = None,
    driver_kernel_module: str | None = None,
    host_compiler: str | None = None,
    cmake_version: str | None = None,
    cuda_architectures: Sequence[str] | None = None,
) -> Plan:
    """The plan from what people write. An empty text or list is what a variable that nobody has set gives, and counts as left out."""
    request = Request(
        toolkit=parse_toolkit_version(toolkit_version) if toolkit_version else None,
        driver=parse_version(driver_version, "driver_version", "580.126.09 or 580") if driver_version else None,
        kernel_module=driver_kernel_module,
        compiler=parse_host_compiler(host_compiler) if host_compiler else None,
        cmake=parse_version(cmake_version, "cmake_version", "3.25.1", parts=2) if cmake_version else None,
        architectures=cuda_architectures or None,
    )
    return resolve(gpus, request)


def resolve(entries: Sequence[Mapping[str, object]], request: Request) -> Plan:
    """The plan for a host with these GPUs, each a mapping with a ``name``, a ``compute_capability`` or both."""
    gpus, problems = _identify_all(entries)
    if not gpus:
        return Plan(problems=problems)
    case = Case(request, gpus)
    architectures, architecture_problems = check_architectures(case)
    return Plan(
        gpus=gpus,
        architectures=architectures,
        toolkits=case.allowed,
        chosen=(request.toolkit or case.chosen.version) if case.chosen else None,
        min_driver=case.min_driver,
        last_driver=case.last_driver,
        open_required=bool(case.needing(Modules.OPEN)),
        problems=[*problems, *conflicts(case), *architecture_problems],
    )


def _identify_all(entries: Sequence[Mapping[str, object]]) -> tuple[list[Gpu], list[Problem]]:
    if not entries:
        what = "gpus is empty: there is no GPU to plan for"
        return [], [error("no_gpus", what, "Use the CPU backend on this host, or give the name or compute_capability of its GPUs")]
    found = [_identify(entry, f"gpus[{index}]") for index, entry in enumerate(entries)]
    return [gpu for gpu, _problem in found if gpu], list(dict.fromkeys(problem for _gpu, problem in found if problem))


def _identify(entry: Mapping[str, object], where: str) -> tuple[Gpu | None, Problem | None]:
    name, given = _text(entry, "name"), _text(entry, "compute_capability")
    model = identify(name)
    if not given:
        if model:
            return Gpu(name, model.capability, model.family), None
        what = f"{where} is {name!r}, which belongs to no known family" if name else f"{where} has neither a name nor a compute_capability"
        return None, error(
            "gpu_unknown",
            f"{what}; known are {known_names()}",
            "Give its compute_capability, from nvidia-smi --query-gpu=compute_cap --format=csv or NVIDIA's table of CUDA GPUs",
        )
    capability = Capability.parse(given)
    if capability is None or capability not in CAPABILITIES:
        known = ", ".join(str(each) for each in CAPABILITIES)
        own = f"; such a GPU has {model.capability}" if model else ""
        return None, error(
            "capability_unknown",
            f"the compute_capability of {name or where} is {given!r}, which is none of {known}{own}",
            "Write it like 8.6; GPUs older than Volta are not served, and newer ones than these by a newer release of this collection",
        )
    if model and model.capability == capability:
        return Gpu(name, capability, model.family), None
    gpu = Gpu(name, capability, CAPABILITIES[capability].family)
    if not model:
        return gpu, None
    return gpu, warning(
        "capability_differs",
        f"the compute_capability of {name} is given as {capability}, but such a GPU has {model.capability}",
        f"Leave compute_capability out, unless nvidia-smi itself says {capability}",
    )


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    return "" if value is None else str(value).strip()
