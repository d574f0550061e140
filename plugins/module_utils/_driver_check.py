# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host's driver is the wanted one and works, from what gpu_info returned: known before anything is asked of apt.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import UPGRADE_PLAYBOOK, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import branch_of
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, error

# An installation, or a reboot after one, is there to put these right.
CURABLE = ("no_driver", "no_kernel_module", "driver_not_loaded", "driver_mismatch", "nouveau_loaded")
_FLAVOUR = "wrong_module_flavour"


def driver_due(host: Mapping[str, Any], *, manage: bool = True) -> bool:
    """Whether there is something to install, to finish or to pin: a driver is missing or in part, another one runs, or it is not kept."""
    driver = host["driver"]
    installed = driver["installed_version"]
    return manage and bool(host["gpus"]) and (_curable(host) or not driver["loaded_version"] == installed == driver["pinned_version"])


def driver_problems(host: Mapping[str, Any], *, version: str = "", kernel_module: str = "", manage: bool = True) -> list[Problem]:
    """What has to be put right by a person before anything is changed on the host."""
    wish = Wish(version, Flavour(kernel_module) if kernel_module else None)
    return [*_found(host, manage=manage), *(_unlike(host, wish, manage=manage) if host["gpus"] else ())]


def driver_failures(host: Mapping[str, Any], before: Mapping[str, Any], *, version: str, kernel_module: str) -> list[Problem]:
    """What is wrong after an installation and its reboot. ``before`` is the host as it was."""
    if "driver" not in host:
        return [_not_seen(host)]
    return [*_still_wrong(host), *_missing(host, before), *_not_that(host, version, kernel_module)]


def _not_seen(host: Mapping[str, Any]) -> Problem:
    """Of a gpu_info that failed."""
    said = ": ".join(text for text in (str(host.get(key, "")).strip() for key in ("msg", "module_stderr")) if text)
    return error("host_not_seen", f"gpu_info could not look at the host: {said}", "Put that right, and run this again")


def _curable(host: Mapping[str, Any]) -> bool:
    return any(problem["code"] in CURABLE for problem in host["problems"])


def _found(host: Mapping[str, Any], *, manage: bool) -> Iterator[Problem]:
    for found in host["problems"]:
        if found["severity"] != Severity.ERROR.value or (manage and found["code"] in CURABLE):
            continue
        remedy = found["remedy"]
        if not manage:
            remedy += "; this collection leaves the driver of this host alone (nvidia_driver_manage: false)"
        elif found["code"] == _FLAVOUR:
            remedy = f"Set nvidia_driver_kernel_module to the other flavour, or leave it empty, and run {UPGRADE_PLAYBOOK}"
        yield Problem(found["code"], Severity.ERROR, found["message"], remedy)


def _unlike(host: Mapping[str, Any], wish: Wish, *, manage: bool) -> Iterator[Problem]:
    installed, modules = host["driver"]["installed_version"], host["driver"]["kernel_module"]
    if installed is None:
        return
    change = (
        f"Run {UPGRADE_PLAYBOOK}, which changes the driver and goes back if the new one does not serve" if manage else "Change it there"
    )
    if wish.version and installed != wish.version and branch_of(installed) != wish.branch:
        yield error(
            "other_version",
            f"NVIDIA driver {installed} is installed, and nvidia_driver_version is {wish.version}",
            f"{change}; or set nvidia_driver_version to {installed}",
        )
    elif wish.flavour and modules not in (wish.flavour.value, Flavour.NONE.value) and not _has(host, _FLAVOUR):
        yield error(
            "other_flavour",
            f"NVIDIA driver {installed} has the {modules} kernel modules, and nvidia_driver_kernel_module is {wish.flavour.value}",
            f"{change}; or set nvidia_driver_kernel_module to {modules}",
        )


def _still_wrong(host: Mapping[str, Any]) -> Iterator[Problem]:
    for found in host["problems"]:
        if found["severity"] == Severity.ERROR.value:
            yield Problem(found["code"], Severity.ERROR, found["message"], found["remedy"])


def _missing(host: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Problem]:
    """GPUs are known by their UUID where they had one, and otherwise by their place on the bus. While no driver runs, nobody can tell."""
    if _curable(host):
        return
    uuids, places = ({gpu[key] for gpu in host["gpus"]} for key in ("uuid", "pci_bus_id"))
    for gpu in before["gpus"]:
        if gpu["uuid"] not in uuids if gpu["uuid"] else gpu["pci_bus_id"] not in places:
            yield error(
                "gpu_missing",
                f"{gpu['name']} at {gpu['pci_bus_id']} ({gpu['uuid'] or gpu['pci_id']}) was there before, and is not any more",
                "See in `dmesg` what the module nvidia says about it; a power cycle helps where the GPU did not start",
            )


def _not_that(host: Mapping[str, Any], version: str, kernel_module: str) -> Iterator[Problem]:
    driver = host["driver"]
    for key, what in (("loaded_version", "the kernel runs"), ("installed_version", "the libraries are of")):
        if driver[key] != version and not (driver[key] is None and _curable(host)):
            yield error("not_that_version", f"NVIDIA driver {version} was installed, but {what} {driver[key] or 'none'}", "Reboot the host")
    if driver["kernel_module"] not in (kernel_module, Flavour.NONE.value):
        yield error(
            "other_flavour",
            f"The {kernel_module} kernel modules were installed, but the {driver['kernel_module']} ones are loaded",
            "Look with `modinfo nvidia` and `dkms status` for modules of another driver, and remove them",
        )


def _has(host: Mapping[str, Any], code: str) -> bool:
    return any(problem["code"] == code for problem in host["problems"])
