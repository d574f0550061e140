# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in the way of a host that is to use its GPUs: its driver, and whether GPUs, driver and toolkit fit together.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import plan_for
from ansible_collections.baremetal.llm.plugins.module_utils._driver_check import driver_problems
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem

# What a host that only builds for the GPUs of others may lack.
_OF_USE_ONLY = frozenset({"no_gpu"})


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
    toolkit_version: str = ""
    """Empty where nothing is to be compiled for the GPUs."""
    cuda_architectures: Sequence[str] = ()


def host_problems(host: Mapping[str, Any], wanted: Wanted) -> list[Problem]:
    """Everything that has to be put right before anything is changed on ``host``, which is what gpu_info returned."""
    return list(dict.fromkeys([*_of_driver(host, wanted), *_of_plan(host, wanted)]))


def _of_driver(host: Mapping[str, Any], wanted: Wanted) -> Iterator[Problem]:
    version, flavour = ("", "") if wanted.upgrade else (wanted.driver_version, wanted.kernel_module)
    for problem in driver_problems(host, version=version, kernel_module=flavour, manage=wanted.manage):
        if not (wanted.gpus and problem.code in _OF_USE_ONLY):
            yield problem


def _of_plan(host: Mapping[str, Any], wanted: Wanted) -> Sequence[Problem]:
    gpus = wanted.gpus or host["gpus"]
    if not gpus:
        return ()
    there = host["driver"]
    stays = there["installed_version"] is not None and not wanted.upgrade
    flavour = there["kernel_module"] if stays else wanted.kernel_module
    return plan_for(
        gpus,
        toolkit_version=wanted.toolkit_version,
        driver_version=there["installed_version"] if stays else wanted.driver_version,
        driver_kernel_module=flavour or None,
        cuda_architectures=wanted.cuda_architectures,
    ).problems
