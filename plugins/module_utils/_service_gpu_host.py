# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GPUs of a service on the host that is to run it: which these are, and what keeps them from working.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import MODPROBE, SMI, GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Evidence, survey
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_host import NvidiaHost
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, error, errors, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import Device, devices, find, gpu_problems

_NOT_VISIBLE = error("gpu_not_visible", "nvidia-smi does not show them", "Run `nvidia-smi` on the host, and see `dmesg`")


class GpuHost:
    """A host, which is asked about its GPUs only for a service that wants some."""

    def __init__(self, host: NvidiaHost | None = None) -> None:
        self._host = host or NvidiaHost()

    def access(self, service: Service, *, predict: bool, container: bool = False) -> tuple[GpuAccess | None, list[Problem]]:
        """How the service gets at its GPUs, and what is wrong; ``predict`` where a driver may still be installed.

        A container is given its devices; a unit has to make them.
        """
        if not service.gpus:
            return None, []
        evidence = self._host.evidence()
        found = survey(evidence)
        gpus = [gpu.as_dict() for gpu in found.gpus]
        problems = list(gpu_problems(service, gpus))
        there = devices(gpus)
        chosen = [find(wanted, there) or Device(wanted, wanted, "NVIDIA GPU", None) for wanted in service.gpus]
        smi, modprobe = self._host.program("nvidia-smi"), self._host.program("nvidia-modprobe")
        if not problems and not _answer(chosen, evidence):
            problems.append(_driver_problem(service, found.problems, predict))
        elif modprobe is None and smi is not None and not container:
            problems.append(
                warning(
                    "nvidia_modprobe_missing",
                    "nvidia-modprobe is not there, so the unit cannot make /dev/nvidia-uvm, without which CUDA finds no GPU",
                    "Install the package nvidia-modprobe, unless something else makes that node at every boot",
                )
            )
        driver = found.driver.loaded_version or found.driver.installed_version
        return GpuAccess(tuple(chosen), smi or SMI, modprobe or MODPROBE, tuple(gpus), driver), problems


def _answer(chosen: list[Device], evidence: Evidence) -> bool:
    """Whether nvidia-smi, which the unit asks as well, shows each of them without complaint."""
    rows = evidence.smi.rows if evidence.smi else ()
    working = {row.uuid for row in rows if row.uuid and row.trouble is None}
    return all(device.gpu in working for device in chosen)


def _driver_problem(service: Service, found: tuple[Problem, ...], predict: bool) -> Problem:
    """The first reason why no program can use the GPUs; the others mostly follow from it."""
    reasons = [*errors(found), *(problem for problem in found if problem.code == "no_nvidia_smi"), _NOT_VISIBLE]
    severity = Severity.WARNING if predict else Severity.ERROR
    message = f"gpus: {', '.join(service.gpus)} cannot be used: {reasons[0].message}"
    return Problem(reasons[0].code, severity, message, reasons[0].remedy)
