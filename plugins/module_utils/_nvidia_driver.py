# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of NVIDIA's driver on a host, from what was read there: which GPUs there are, which driver runs, what is wrong.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import Capability, Modules
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_names import family_of
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import Answer, MigDevice, Row, Trouble, Versions
from ansible_collections.baremetal.llm.plugins.module_utils._pci_gpus import PciGpu, bus_order
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning


class Flavour(str, enum.Enum):
    """Of the kernel modules."""

    OPEN = "open"
    PROPRIETARY = "proprietary"
    NONE = "none"


class ModuleVersion(NamedTuple):
    version: str
    flavour: Flavour


class ProcGpu(NamedTuple):
    """A GPU by its file below /proc/driver/nvidia/gpus: there as soon as the module is loaded, even when nvidia-smi cannot work."""

    name: str | None
    uuid: str | None


@dataclass(frozen=True)
class Evidence:
    """What was found on the host.

    ``smi`` is None where there is no nvidia-smi, ``pending_reboot`` where no package asks for one. ``versions`` are nvidia-smi's own, asked
    for only where nothing better tells them.
    """

    pci: tuple[PciGpu, ...] = ()
    smi: Answer | None = None
    versions: Versions = field(default_factory=Versions)
    mig: Mapping[str, list[MigDevice]] = field(default_factory=dict)
    proc: Mapping[str, ProcGpu] = field(default_factory=dict)
    loaded: ModuleVersion | None = None
    on_disk: ModuleVersion | None = None
    library: str | None = None
    nouveau: bool = False
    pending_reboot: tuple[str, ...] | None = None
    kernel: str = ""
    timeout: float = 0.0
    pinned: str | None = None


@dataclass(frozen=True)
class Gpu:
    index: int | None
    uuid: str | None
    name: str | None
    pci_bus_id: str | None
    pci_id: str | None
    compute_capability: str | None
    memory_mib: int | None
    mig_devices: tuple[MigDevice, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {**vars(self), "mig_devices": [device._asdict() for device in self.mig_devices]}

    def __str__(self) -> str:
        return f"{self.name} at {self.pci_bus_id}"


@dataclass(frozen=True)
class Driver:
    loaded_version: str | None
    installed_version: str | None
    kernel_module: Flavour
    reboot_required: bool
    pinned_version: str | None = None

    def as_dict(self) -> dict[str, object]:
        return {**vars(self), "kernel_module": self.kernel_module.value}


@dataclass(frozen=True)
class Survey:
    gpus: tuple[Gpu, ...]
    driver: Driver
    problems: tuple[Problem, ...]


def parse_proc_version(text: str) -> ModuleVersion | None:
    """The module that is loaded, from /proc/driver/nvidia/version."""
    match = re.search(r"^NVRM version: NVIDIA UNIX (Open )?.*?\s(\d+\.\d+(?:\.\d+)?)\s", text, re.MULTILINE)
    return ModuleVersion(match[2], Flavour.OPEN if match[1] else Flavour.PROPRIETARY) if match else None


def parse_proc_gpu(text: str) -> ProcGpu:
    """From /proc/driver/nvidia/gpus/*/information; a UUID of question marks belongs to a GPU that was not used since boot."""
    values = {name.strip(): value.strip() for name, _colon, value in (line.partition(":") for line in text.splitlines())}
    uuid = values.get("GPU UUID", "")
    return ProcGpu(name=values.get("Model") or None, uuid=uuid if re.fullmatch(r"GPU-[0-9a-f-]+", uuid) else None)


def flavour_of_licence(licence: str) -> Flavour:
    """From ``modinfo -F license nvidia``: `Dual MIT/GPL` or `NVIDIA`."""
    return Flavour.PROPRIETARY if licence.strip() == "NVIDIA" else Flavour.OPEN


def library_version(names: Iterable[str]) -> str | None:
    """The newest version among file names such as ``libnvidia-ml.so.580.126.09``."""
    found = (re.fullmatch(r"libnvidia-ml\.so\.(\d+(?:\.\d+)+)", name) for name in names)
    return max((match[1] for match in found if match), key=version_key, default=None)


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


# Debian calls its module differently where several branches of the driver can be installed side by side.
MODULES = ("nvidia", "nvidia-current")
_REQUIRED = {Modules.OPEN: Flavour.OPEN, Modules.PROPRIETARY: Flavour.PROPRIETARY}


def required_flavour(capability: str | None, name: str | None) -> Flavour | None:
    """The kernel modules without which a GPU does not work; None where both do, or nobody knows."""
    family = family_of(name or "", Capability.parse(capability or ""))
    return _REQUIRED.get(family.modules) if family else None


def survey(evidence: Evidence) -> Survey:
    ours = tuple(gpu for gpu in evidence.pci if not gpu.handed_away)
    gpus = _gpus(evidence, ours)
    reasons = tuple(_reboot_reasons(evidence))
    loaded = _loaded_version(evidence)
    flavours = (module.flavour for module in (evidence.loaded, evidence.on_disk) if module)
    driver = Driver(
        loaded_version=loaded,
        installed_version=evidence.library or (evidence.on_disk.version if evidence.on_disk else evidence.versions.tools),
        kernel_module=next((flavour for flavour in flavours if flavour is not Flavour.NONE), Flavour.NONE),
        reboot_required=bool(reasons),
        pinned_version=evidence.pinned,
    )
    problems = [*_pci_problems(evidence, gpus)]
    if gpus:
        problems += _running_driver_problems(evidence, driver, gpus) if _runs(evidence, loaded) else _driver_problems(evidence, driver)
    if reasons:
        problems.append(warning("reboot_required", f"The host has to be rebooted: {'; '.join(reasons)}", "Reboot it"))
    return Survey(gpus, driver, tuple(problems))


def _loaded_version(evidence: Evidence) -> str | None:
    if evidence.loaded:
        return evidence.loaded.version
    return next((row.driver_version for row in _rows(evidence) if row.driver_version), evidence.versions.driver)


def _runs(evidence: Evidence, loaded: str | None) -> bool:
    # Anything else that nvidia-smi may complain about, it heard from the driver.
    return loaded is not None or (evidence.smi is not None and evidence.smi.trouble not in (None, Trouble.NOT_LOADED, Trouble.OTHER))


def _name(version: str | None) -> str:
    return f"NVIDIA driver {version}" if version else "NVIDIA driver (version unknown)"


def _rows(evidence: Evidence) -> tuple[Row, ...]:
    return evidence.smi.rows if evidence.smi else ()


def _gpus(evidence: Evidence, pci: tuple[PciGpu, ...]) -> tuple[Gpu, ...]:
    """Those that nvidia-smi shows, as it counts them, then the others; all in the order of the bus where it shows none."""
    slots = {gpu.address: gpu for gpu in pci}
    shown = [_gpu_of_row(row, slots.get(row.address or ""), evidence) for row in _rows(evidence)]
    seen = {gpu.pci_bus_id for gpu in shown}
    others = [_gpu_of_slot(gpu, evidence) for gpu in sorted(pci, key=lambda gpu: bus_order(gpu.address)) if gpu.address not in seen]
    if not shown:
        others = [replace(gpu, index=index) for index, gpu in enumerate(others)]
    return (*shown, *others)


def _gpu_of_row(row: Row, slot: PciGpu | None, evidence: Evidence) -> Gpu:
    model = slot.model if slot else None
    return Gpu(
        index=row.index,
        uuid=row.uuid,
        name=row.name or (slot.name if slot else None),
        pci_bus_id=row.address,
        pci_id=slot.pci_id if slot else None,
        compute_capability=row.compute_capability or (model.compute_capability if model else None),
        memory_mib=row.memory_mib,
        mig_devices=tuple(evidence.mig.get(row.uuid or "", ())),
    )


def _gpu_of_slot(slot: PciGpu, evidence: Evidence) -> Gpu:
    known = evidence.proc.get(slot.address, ProcGpu(None, None))
    return Gpu(
        index=None,
        uuid=known.uuid,
        name=known.name or slot.name,
        pci_bus_id=slot.address,
        pci_id=slot.pci_id,
        compute_capability=slot.model.compute_capability if slot.model else None,
        memory_mib=None,
    )


def _reboot_reasons(evidence: Evidence) -> Iterator[str]:
    loaded = evidence.loaded
    installed = {version for version in (evidence.library, evidence.on_disk.version if evidence.on_disk else None) if version}
    if loaded and (newer := installed - {loaded.version}):
        yield f"the kernel runs {_name(loaded.version)}, installed is {' and '.join(sorted(newer, key=version_key))}"
    elif evidence.smi and evidence.smi.trouble is Trouble.MISMATCH:
        yield "the kernel runs another NVIDIA driver than the one that is installed"
    if not loaded and evidence.nouveau and evidence.on_disk:
        yield "nouveau was loaded before NVIDIA's driver was installed"
    if evidence.pending_reboot is not None:
        yield f"packages ask for it ({', '.join(evidence.pending_reboot) or 'they do not say which'})"


def _pci_problems(evidence: Evidence, gpus: Collection[Gpu]) -> Iterator[Problem]:
    away = [gpu for gpu in evidence.pci if gpu.handed_away]
    if not gpus and not away:
        yield warning(
            "no_gpu",
            "No NVIDIA GPU is in this host",
            "Use backend: cpu here, or check the card's seat and power, and the passthrough if this is a virtual machine",
        )
    for slot in away:
        yield warning(
            "gpu_passed_through",
            f"{slot.name} at {slot.address} is bound to {slot.kernel_driver} and left out: it is kept for a virtual machine",
            "Bind it to the driver nvidia if this host shall use it",
        )
    for gpu in gpus:
        if gpu.compute_capability is None:
            yield warning(
                "unknown_gpu",
                f"The compute capability of {gpu} is not known (PCI id {gpu.pci_id})",
                "Install a driver, which tells it, or give compute_capability to cuda_plan or cuda_architectures to llama_build",
            )


def _driver_problems(evidence: Evidence, driver: Driver) -> Iterator[Problem]:
    """What is wrong while no driver runs: the first thing to put right."""
    if driver.installed_version is None:
        yield error("no_driver", "No NVIDIA driver is installed", "Install one, for example with the role nvidia_driver")
    elif evidence.on_disk is None:
        yield error(
            "no_kernel_module",
            f"{_name(driver.installed_version)} is installed, but has no module for the kernel that runs, {evidence.kernel}",
            f"Install linux-headers-{evidence.kernel} and run `dkms autoinstall`, or boot the kernel that the module was built for",
        )
    elif evidence.nouveau:
        yield error(
            "nouveau_loaded",
            f"nouveau holds the GPU, so {_name(driver.installed_version)} is not loaded",
            "Blacklist nouveau, run `update-initramfs -u` and reboot",
        )
    else:
        yield error(
            "driver_not_loaded",
            f"{_name(driver.installed_version)} is installed, but not loaded",
            "Run `modprobe nvidia` and see in `dmesg` why it fails; with Secure Boot, the module has to be signed with an enrolled key",
        )


def _running_driver_problems(evidence: Evidence, driver: Driver, gpus: Collection[Gpu]) -> Iterator[Problem]:
    answer = evidence.smi
    if answer is None:
        mismatch = bool(driver.installed_version) and driver.installed_version != driver.loaded_version
        yield warning(
            "no_nvidia_smi",
            f"{_name(driver.loaded_version)} runs, but nvidia-smi is not there to tell the memory and the health of the GPUs",
            "Install it: nvidia-utils-<branch>-server on Ubuntu, nvidia-smi or nvidia-driver-cuda on Debian",
        )
    else:
        mismatch = answer.trouble is Trouble.MISMATCH
    if mismatch:
        yield error(
            "driver_mismatch",
            f"The kernel runs {_name(driver.loaded_version)}, the libraries are of {driver.installed_version or 'another version'}: "
            "nothing that starts now can use a GPU",
            "Reboot; so that it does not happen again, pin the driver and keep unattended upgrades away from it",
        )
    wrong = list(_in_need_of_other_modules(driver, gpus, _rows(evidence)))
    for gpu in wrong:
        other = Flavour.OPEN if driver.kernel_module is Flavour.PROPRIETARY else Flavour.PROPRIETARY
        package = "nvidia-open, or nvidia-headless-<branch>-server-open" if other is Flavour.OPEN else "cuda-drivers-580 or older"
        yield error(
            "wrong_module_flavour",
            f"{gpu} works with the {other.value} kernel modules only, and this host has the {driver.kernel_module.value} ones",
            f"Install the {other.value} modules ({package}) and reboot",
        )
    if answer is None:
        return
    by_address = {gpu.pci_bus_id: gpu for gpu in gpus}
    yield from _answer_problems(answer, evidence.timeout, by_address)
    for gpu in _not_shown(answer, gpus):
        if gpu not in wrong:
            yield error(
                "gpu_not_visible",
                f"The driver does not show {gpu}",
                "See in `dmesg` what the module nvidia says about it; a power cycle helps where the GPU did not start",
            )
    for row in answer.rows:
        if row.mig and not evidence.mig.get(row.uuid or ""):
            yield warning(
                "mig_without_devices",
                f"MIG is on for {by_address[row.address]}, which has no MIG devices: no program can use it",
                f"Create them with `nvidia-smi mig -i {row.index} -cgi <profile> -C`, or switch it off: `nvidia-smi -i {row.index} -mig 0`",
            )


def _in_need_of_other_modules(driver: Driver, gpus: Iterable[Gpu], rows: Iterable[Row]) -> Iterator[Gpu]:
    working = {row.address for row in rows if row.trouble is None}
    for gpu in gpus:
        required = required_flavour(gpu.compute_capability, gpu.name)
        if required and driver.kernel_module not in (required, Flavour.NONE) and gpu.pci_bus_id not in working:
            yield gpu


def _not_shown(answer: Answer, gpus: Iterable[Gpu]) -> list[Gpu]:
    if answer.trouble not in (None, Trouble.NO_DEVICES):
        return []
    shown = {row.address for row in answer.rows}
    return [gpu for gpu in gpus if gpu.pci_bus_id not in shown]


def _answer_problems(answer: Answer, timeout: float, gpus: Mapping[str | None, Gpu]) -> Iterator[Problem]:
    troubles = [(row.trouble, row.address) for row in answer.rows if row.trouble]
    if answer.trouble:
        troubles.append((answer.trouble, answer.address))
    for trouble, address in troubles:
        gpu = str(gpus[address]) if address in gpus else f"The GPU at {address}" if address else "A GPU"
        if trouble is Trouble.LOST:
            yield error(
                "gpu_lost",
                f"{gpu} is lost: it has fallen off the bus, and the driver cannot reach it",
                "Stop what uses GPUs and power-cycle the host; where it comes again, check power, cooling and the seat of the card",
            )
        elif trouble is Trouble.NEEDS_RESET:
            yield error(
                "gpu_needs_reset",
                f"{gpu} has to be reset before it works again",
                "Stop what uses it and run `nvidia-smi --gpu-reset`, or reboot",
            )
        elif trouble is Trouble.NO_PERMISSION:
            yield error("no_permission", "nvidia-smi may not talk to the driver", "Run this task as root: become: true")
        elif trouble is Trouble.HANGS:
            yield error(
                "nvidia_smi_hangs",
                f"nvidia-smi did not answer within {timeout:g} s",
                "See in `dmesg` for lines with Xid: a GPU or its firmware may hang, and then only a reboot helps",
            )
        elif trouble in (Trouble.OTHER, Trouble.NOT_LOADED):
            yield error("nvidia_smi_failed", f"The driver is loaded, but nvidia-smi failed: {answer.said}", "See `dmesg` for the reason")
