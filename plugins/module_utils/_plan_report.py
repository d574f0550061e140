# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan found out about each host, before anything is touched: the data, and what follows from it for a host as a whole.

Everywhere None is a figure that is not known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import Amount, show_bytes, show_mib, total

PARTS = ("weights_mib", "mmproj_mib", "kv_cache_mib", "compute_mib", "overhead_mib")
"""What a GPU's memory is used for, in the order in which it is shown."""


@dataclass(frozen=True)
class Gpu:
    index: int | None
    name: str | None
    memory_mib: float | None
    uuid: str | None
    compute_capability: str | None

    def is_meant_by(self, wanted: str) -> bool:
        """Whether a service means this one by an index or a UUID."""
        if wanted.isdecimal():
            return self.index == int(wanted)
        return self.index is not None and self.uuid is not None and self.uuid.lower() == wanted.lower()


@dataclass(frozen=True)
class Driver:
    installed_version: str | None
    """None where none is installed."""
    wanted_version: str | None
    kernel_module: str | None
    min: str | None


@dataclass(frozen=True)
class Toolkit:
    version: str | None
    min: str | None
    max: str | None
    architectures: tuple[str, ...]


@dataclass(frozen=True)
class ModelFile:
    path: str
    size: int | None
    present: bool | None


@dataclass(frozen=True)
class Model:
    repo_id: str | None
    revision: str | None
    files: tuple[ModelFile, ...]
    missing: Amount
    """Bytes still to fetch."""
    directory: str | None
    free_bytes: int | None


@dataclass(frozen=True)
class Share:
    """What a service takes of one GPU."""

    index: int | None
    memory_mib: float | None
    """Of the whole GPU."""
    weights_mib: float | None
    mmproj_mib: float | None
    kv_cache_mib: float | None
    compute_mib: float | None
    overhead_mib: float | None
    driver_mib: float | None
    """The part of the overhead that is the driver's, which services on the same GPU take together and not each."""
    claim_mib: float | None = None
    """What has to be free before the service starts, whatever it then takes."""

    def part(self, name: str) -> float | None:
        value: float | None = getattr(self, name)
        return value

    @property
    def used(self) -> Amount:
        return total(self.part(name) for name in PARTS)


@dataclass(frozen=True)
class HostShare:
    """What a service takes of the host's memory."""

    weights_mib: float | None
    mmproj_mib: float | None
    kv_cache_mib: float | None
    compute_mib: float | None

    @property
    def used(self) -> Amount:
        return total(dataclasses.astuple(self))


@dataclass(frozen=True)
class Estimate:
    """A figure that is not exact, by its place in the plan, such as gpus[0].compute_mib."""

    figure: str
    low_mib: float | None
    high_mib: float | None
    basis: str | None


@dataclass(frozen=True)
class Suggestion:
    code: str
    message: str
    options: tuple[tuple[str, Any], ...]
    """What to set for it."""
    free_mib: float | None
    """What is then left on the fullest GPU."""

    def as_dict(self) -> dict[str, object]:
        return {"code": self.code, "message": self.message, "options": dict(self.options), "free_mib": self.free_mib}


@dataclass(frozen=True)
class Capacity:
    """How much vLLM can keep."""

    kv_cache_tokens: int | None
    sequences_of_full_length: float | None
    kv_cache_tokens_low: int | None = None
    kv_cache_tokens_high: int | None = None
    """The same if all estimates are at their most, and at their least."""


@dataclass(frozen=True)
class MemoryPlan:
    fits: bool | None
    gpus: tuple[Share, ...]
    host: HostShare | None
    kv_bytes_per_token: float | None
    tokens_per_slot: int | None
    slots: int | None
    capacity: Capacity | None
    estimates: tuple[Estimate, ...]
    calibrated: bool | None
    suggestions: tuple[Suggestion, ...]
    problems: tuple[Problem, ...]

    def as_dict(self) -> dict[str, object]:
        lists = {name: [each.as_dict() for each in getattr(self, name)] for name in ("suggestions", "problems")}
        return {**dataclasses.asdict(self), **lists}


@dataclass(frozen=True)
class Service:
    name: str
    engine: str | None
    port: int | None
    gpus: tuple[str, ...]
    """Indices or UUIDs; empty for the CPU."""
    fits: bool | None
    plan: MemoryPlan | None

    def as_dict(self) -> dict[str, object]:
        return {**dataclasses.asdict(self), "plan": self.plan and self.plan.as_dict()}

    def share_of(self, gpu: Gpu) -> Share | None:
        """What it takes of this GPU; None where it takes nothing, all its figures None where nobody can tell."""
        if self.plan is None:
            meant = any(gpu.is_meant_by(wanted) for wanted in self.gpus)
            return _unknown(gpu) if meant else None
        return next((share for share in self.plan.gpus if gpu.index is not None and share.index == gpu.index), None)


@dataclass(frozen=True)
class Finding:
    problem: Problem
    service: str | None = None

    @property
    def is_error(self) -> bool:
        return self.problem.severity is Severity.ERROR

    def as_dict(self) -> dict[str, str | None]:
        return {**self.problem.as_dict(), "service": self.service}


@dataclass(frozen=True)
class GpuUse:
    """A GPU with what all services of the host together take of it."""

    gpu: Gpu
    services: tuple[str, ...]
    parts: Mapping[str, Amount]
    memory_mib: float | None
    free_mib: float | None
    """Below zero where so much is missing."""

    @property
    def used(self) -> Amount:
        return sum(self.parts.values(), Amount())

    @property
    def lacking(self) -> Amount | None:
        """By how many MiB it is too small; None where it is not, or where nobody can tell."""
        if self.free_mib is not None:
            return Amount(-self.free_mib) if self.free_mib < 0 else None
        lacking = 0 if self.memory_mib is None else self.used.known - self.memory_mib
        return Amount(lacking, complete=False) if lacking > 0 else None

    def as_dict(self) -> dict[str, object]:
        return {
            **dataclasses.asdict(self.gpu),
            "memory_mib": self.memory_mib,
            "services": list(self.services),
            **{name: amount.exact for name, amount in self.parts.items()},
            "free_mib": self.free_mib,
        }


@dataclass(frozen=True)
class Disk:
    """A directory with what is still to be fetched into it."""

    directory: str | None
    missing: Amount
    free_bytes: int | None


@dataclass(frozen=True)
class Host:
    name: str
    groups: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    driver: Driver | None
    toolkit: Toolkit | None
    models: tuple[Model, ...]
    services: tuple[Service, ...]
    given: tuple[Finding, ...]
    """What was found wrong with the host as a whole."""
    memory_mib: float | None = None
    """Its own memory, beside that of its GPUs."""

    @cached_property
    def uses(self) -> tuple[GpuUse, ...]:
        return tuple(_use(gpu, self.services) for gpu in self.gpus)

    @cached_property
    def disks(self) -> tuple[Disk, ...]:
        return tuple(_disk(directory, self.models) for directory in dict.fromkeys(model.directory for model in self.models))

    @cached_property
    def told(self) -> tuple[Finding, ...]:
        """What others found wrong, the plans of the services among them."""
        plans = [(service.name, service.plan) for service in self.services if service.plan]
        return (*self.given, *(Finding(problem, name) for name, plan in plans for problem in plan.problems))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that is wrong, errors first."""
        found = dict.fromkeys([*self.told, *_unexplained(self), *_of_shared_gpus(self), *_of_memory(self), *_of_disks(self)])
        return tuple(sorted(found, key=lambda finding: not finding.is_error))

    @property
    def errors(self) -> int:
        return sum(finding.is_error for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors

    @property
    def fits(self) -> bool | None:
        """Whether all services have the memory that they need; None where nobody can tell."""
        answers = {service.fits for service in self.services}
        if False in answers or any(use.lacking for use in self.uses):
            return False
        if not answers and any(finding.is_error for finding in self.given):
            return None  # it could not even be seen what there is to fit
        return None if None in answers else True

    def indices(self, service: Service) -> tuple[str, ...]:
        """Its GPUs by their indices, also where it names their UUIDs; one that is not there stays as it is."""
        return tuple(next((str(gpu.index) for gpu in self.gpus if gpu.is_meant_by(wanted)), wanted) for wanted in service.gpus)

    def crowds(self, service: Service) -> bool:
        """Whether a service would have its place, were it not for others on the same GPU."""
        return any(use.lacking and len(use.services) > 1 and service.name in use.services for use in self.uses)

    @property
    def missing(self) -> Amount:
        return sum((model.missing for model in self.models), Amount())

    def as_dict(self) -> dict[str, object]:
        plain = dataclasses.asdict(self)
        models = [
            {**{key: value for key, value in model.items() if key != "missing"}, "missing_bytes": own.missing.exact}
            for model, own in zip(plain["models"], self.models, strict=True)
        ]
        return {
            "host": self.name,
            "groups": plain["groups"],
            "fits": self.fits,
            "memory_mib": self.memory_mib,
            "driver": plain["driver"],
            "toolkit": plain["toolkit"],
            "gpus": [use.as_dict() for use in self.uses],
            "models": models,
            "services": [service.as_dict() for service in self.services],
            "problems": [finding.as_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class Summary:
    hosts: int
    fit: int
    do_not_fit: int
    unknown: int
    errors: int
    warnings: int
    missing: Amount

    def as_dict(self) -> dict[str, Any]:
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "missing"}
        return {**plain, "missing_bytes": self.missing.exact}


def summary_of(hosts: Iterable[Host]) -> Summary:
    hosts = list(hosts)
    answers = [host.fits for host in hosts]
    return Summary(
        hosts=len(hosts),
        fit=answers.count(True),
        do_not_fit=answers.count(False),
        unknown=answers.count(None),
        errors=sum(host.errors for host in hosts),
        warnings=sum(host.warnings for host in hosts),
        missing=sum((host.missing for host in hosts), Amount()),
    )


def _use(gpu: Gpu, services: Iterable[Service]) -> GpuUse:
    taking = [(service.name, share) for service in services if (share := service.share_of(gpu))]
    shares = [share for _name, share in taking]
    parts = {name: total(share.part(name) for share in shares) for name in PARTS}
    parts["overhead_mib"] += Amount(-_counted_twice(shares))
    memory = gpu.memory_mib
    if memory is None:  # as before there is a driver, when the plan knows it by the GPU's name
        memory = next((share.memory_mib for share in shares if share.memory_mib is not None), None)
    used = sum(parts.values(), Amount())
    free = memory - used.known if memory is not None and used.complete else None
    return GpuUse(gpu, tuple(name for name, _share in taking), parts, memory, free)


def _counted_twice(shares: Iterable[Share]) -> float:
    drivers = [share.driver_mib for share in shares if share.driver_mib is not None]
    return sum(drivers) - max(drivers, default=0)


def _unknown(gpu: Gpu) -> Share:
    return Share(gpu.index, gpu.memory_mib, None, None, None, None, None, None)


def _disk(directory: str | None, models: Iterable[Model]) -> Disk:
    there = [model for model in models if model.directory == directory]
    free = [model.free_bytes for model in there if model.free_bytes is not None]
    return Disk(directory, sum((model.missing for model in there), Amount()), min(free, default=None))


def _unexplained(host: Host) -> Iterator[Finding]:
    """That a service does not fit is an error, also where nobody says why."""
    explained = {finding.service for finding in host.told if finding.is_error}
    alone = {use.services[0] for use in host.uses if use.lacking and len(use.services) == 1}
    for service in host.services:
        if (service.fits is False or service.name in alone) and service.name not in explained:
            remedy = "Give it less context, fewer slots, a smaller model or more GPUs"
            yield Finding(error("does_not_fit", "It does not fit into the memory that there is", remedy), service.name)


def _of_shared_gpus(host: Host) -> Iterator[Finding]:
    """What nobody sees who plans one service at a time."""
    told = [finding.problem.message for finding in host.given if finding.problem.code == "gpu_shares_exceed_one"]
    for use in host.uses:
        if any(message.startswith(f"{name}: ") for message in told for name in use.services):
            continue  # their shares alone are too much, as was found before anything was planned
        if claim := _unmet_claim(host, use):
            yield claim
        elif use.lacking and len(use.services) > 1:
            *others, last = use.services
            yield Finding(
                error(
                    "gpu_shared_too_small",
                    f"GPU {use.gpu.index} has {show_mib(use.memory_mib)}, which is {_at_least(use.lacking)}{show_mib(use.lacking.known)} "
                    f"too little for {', '.join(others)} and {last} together",
                    "Move one of them to another GPU, or give them less context, fewer slots or smaller models",
                )
            )


def _unmet_claim(host: Host, use: GpuUse) -> Finding | None:
    """Of a service that starts only with so much free, which those that start before it leave or do not."""
    shares = [(service.name, share) for service in host.services if (share := service.share_of(use.gpu))]
    taken = max((share.driver_mib or 0 for _name, share in shares), default=0)
    before: list[str] = []
    for name, share in shares:
        claim = share.claim_mib or 0
        if before and use.memory_mib is not None and claim > use.memory_mib - taken:
            has = f"GPU {use.gpu.index} has {show_mib(max(0, use.memory_mib - taken))} left beside {' and '.join(before)}"
            remedy = "Lower gpu_memory_utilization, so that all shares of the GPU together are less than 1, or move one to another GPU"
            return Finding(
                error("gpu_claim_unmet", f"{has}, and {name} does not start with less than {show_mib(claim)} free", remedy), name
            )
        taken += share.used.known - (share.driver_mib or 0)
        before.append(name)
    return None


def _of_memory(host: Host) -> Iterator[Finding]:
    """Against the memory that the host has; what a service may take of it was weighed with its plan."""
    shares = [service.plan.host for service in host.services if service.plan and service.plan.host]
    weights = total(share.weights_mib for share in shares).known
    needed = sum((share.used for share in shares), Amount()).known - weights
    if host.memory_mib is None or needed + weights <= host.memory_mib:
        return
    have = f"The host has {show_mib(host.memory_mib)} of memory, and its services take {show_mib(needed)} of it"
    remedy = "Give them less context, fewer slots or smaller models, or more of their layers to a GPU"
    if needed > host.memory_mib:
        yield Finding(error("host_memory_too_small", have, remedy))
    else:
        slow = f"{have} beside {show_mib(weights)} of weights, which would be read from the disk again and again"
        yield Finding(warning("host_memory_short", slow, remedy))


def _of_disks(host: Host) -> Iterator[Finding]:
    for disk in host.disks:
        if disk.free_bytes is not None and disk.missing.known > disk.free_bytes:
            yield Finding(
                error(
                    "disk_too_small",
                    f"{disk.directory or 'The directory of the models'} has {show_bytes(disk.free_bytes)} left, "
                    f"and {_at_least(disk.missing)}{show_bytes(disk.missing.known)} are still to be fetched into it",
                    "Make room there, or have the models in another directory",
                )
            )


def _at_least(amount: Amount) -> str:
    return "" if amount.complete else "at least "
