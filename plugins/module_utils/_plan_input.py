# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a plan gathered about the hosts, as the module plan_report takes it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import (
    Capacity,
    Driver,
    Estimate,
    Finding,
    Gpu,
    Host,
    HostShare,
    MemoryPlan,
    Model,
    ModelFile,
    Service,
    Share,
    Suggestion,
    Toolkit,
)
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import Amount, total
from ansible_collections.baremetal.llm.plugins.module_utils._text import clean

_LARGEST = 2**63
_Parsed = TypeVar("_Parsed")


def parse_hosts(entries: Iterable[object]) -> list[Host]:
    """The hosts, each a mapping. Keys that mean nothing here are passed over, so that results of modules can be given as they are."""
    hosts = [_host(_Entry.of(entry, f"hosts[{index}]")) for index, entry in enumerate(entries)]
    names = [host.name for host in hosts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"hosts has {twice!r} twice. Give each host once.")
    return hosts


def _host(entry: _Entry) -> Host:
    gpus = tuple(map(_gpu, entry.entries("gpus")))
    indices = [gpu.index for gpu in gpus if gpu.index is not None]
    if len(set(indices)) < len(indices):
        raise UserError(f"{entry.where}.gpus has the indices {', '.join(map(str, indices))}. Give each GPU an index of its own.")
    services = tuple(_placed(_service(each), gpus) for each in entry.entries("services"))
    for service in services:
        strange = [share.index for share in service.plan.gpus if share.index not in (None, *indices)] if service.plan else []
        if strange:
            raise UserError(
                f"{entry.where}: the plan of {service.name!r} has a GPU of index {strange[0]}, and gpus has "
                f"{', '.join(map(str, indices)) or 'none with an index'}. Give the plan that was made for the GPUs of this host."
            )
    return Host(
        name=entry.name("host"),
        groups=entry.texts("groups"),
        gpus=gpus,
        driver=entry.parsed("driver", _driver),
        toolkit=entry.parsed("toolkit", _toolkit),
        models=tuple(map(_model, entry.entries("models"))),
        services=services,
        given=tuple(map(_finding, entry.entries("problems"))),
        memory_mib=entry.number("memory_mib"),
    )


def _driver(entry: _Entry) -> Driver:
    return Driver(entry.text("installed_version"), entry.text("wanted_version"), entry.text("kernel_module"), entry.text("min"))


def _toolkit(entry: _Entry) -> Toolkit:
    return Toolkit(entry.text("version"), entry.text("min"), entry.text("max"), entry.texts("architectures"))


def _gpu(entry: _Entry) -> Gpu:
    return Gpu(entry.whole("index"), entry.text("name"), entry.number("memory_mib"), entry.text("uuid"), entry.text("compute_capability"))


def _model(entry: _Entry) -> Model:
    files = tuple(ModelFile(file.name("path"), file.whole("size"), file.flag("present")) for file in entry.entries("files"))
    missing = entry.whole("missing_bytes")
    return Model(
        repo_id=entry.text("repo_id"),
        revision=entry.text("revision"),
        files=files,
        missing=_missing(files) if missing is None else Amount(missing),
        directory=entry.text("directory"),
        free_bytes=entry.whole("free_bytes"),
    )


def _missing(files: Collection[ModelFile]) -> Amount:
    """Without a file nobody knows what is still to be fetched, nor of a file that may be there or not."""
    if not files:
        return Amount(complete=False)
    return total(None if file.present is None else file.size for file in files if not file.present)


def _service(entry: _Entry) -> Service:
    fits, plan = entry.flag("fits"), entry.parsed("plan", _plan)
    return Service(
        name=entry.name("name"),
        engine=entry.text("engine"),
        port=entry.whole("port"),
        gpus=entry.texts("gpus"),
        fits=plan.fits if plan and fits is None else fits,
        plan=plan,
    )


def _placed(service: Service, gpus: Collection[Gpu]) -> Service:
    """A plan that does not name its GPUs has those of the service, in their order."""
    if service.plan is None:
        return service
    meant = [next((gpu.index for gpu in gpus if gpu.is_meant_by(wanted)), None) for wanted in service.gpus]
    meant += [None] * (len(service.plan.gpus) - len(meant))
    shares = tuple(
        replace(share, index=place) if share.index is None else share for share, place in zip(service.plan.gpus, meant, strict=False)
    )
    return replace(service, plan=replace(service.plan, gpus=shares))


def _plan(entry: _Entry) -> MemoryPlan:
    return MemoryPlan(
        fits=entry.flag("fits"),
        gpus=tuple(map(_share, entry.entries("gpus"))),
        host=entry.parsed("host", _host_share),
        kv_bytes_per_token=entry.number("kv_bytes_per_token"),
        tokens_per_slot=entry.whole("tokens_per_slot"),
        slots=entry.whole("slots"),
        capacity=entry.parsed("capacity", _capacity),
        estimates=tuple(map(_estimate, entry.entries("estimates"))),
        calibrated=entry.flag("calibrated"),
        suggestions=tuple(map(_suggestion, entry.entries("suggestions"))),
        problems=tuple(map(_problem, entry.entries("problems"))),
    )


def _share(entry: _Entry) -> Share:
    return Share(
        index=entry.whole("index"),
        memory_mib=entry.number("memory_mib"),
        weights_mib=entry.number("weights_mib"),
        mmproj_mib=entry.number("mmproj_mib"),
        kv_cache_mib=entry.number("kv_cache_mib"),
        compute_mib=entry.number("compute_mib"),
        overhead_mib=entry.number("overhead_mib"),
        driver_mib=entry.number("driver_mib"),
        claim_mib=entry.number("claim_mib"),
    )


def _host_share(entry: _Entry) -> HostShare:
    return HostShare(
        weights_mib=entry.number("weights_mib"),
        mmproj_mib=entry.number("mmproj_mib"),
        kv_cache_mib=entry.number("kv_cache_mib"),
        compute_mib=entry.number("compute_mib"),
    )


def _capacity(entry: _Entry) -> Capacity:
    return Capacity(
        kv_cache_tokens=entry.whole("kv_cache_tokens"),
        sequences_of_full_length=entry.number("sequences_of_full_length"),
        kv_cache_tokens_low=entry.whole("kv_cache_tokens_low"),
        kv_cache_tokens_high=entry.whole("kv_cache_tokens_high"),
    )


def _estimate(entry: _Entry) -> Estimate:
    return Estimate(entry.name("figure"), entry.number("low_mib"), entry.number("high_mib"), entry.text("basis"))


def _suggestion(entry: _Entry) -> Suggestion:
    return Suggestion(entry.name("code"), entry.name("message"), entry.scalars("options"), entry.number("free_mib", signed=True))


def _finding(entry: _Entry) -> Finding:
    return Finding(_problem(entry), entry.text("service"))


def _problem(entry: _Entry) -> Problem:
    severity = entry.name("severity")
    if severity not in (known := [each.value for each in Severity]):
        raise entry.refused("severity", " or ".join(known))
    return Problem(entry.name("code"), Severity(severity), entry.name("message"), entry.name("remedy"))


@dataclass(frozen=True)
class _Entry:
    """A mapping and where it stands. A key that is not there counts as None."""

    where: str
    data: Mapping[str, Any]

    @classmethod
    def of(cls, value: object, where: str) -> _Entry:
        if not isinstance(value, Mapping):
            raise UserError(f"{where} is {reprlib.repr(value)}. Give a dict.")
        return cls(where, value)

    def refused(self, key: str, wanted: str) -> UserError:
        return UserError(f"{self.where}.{key} is {reprlib.repr(self.data.get(key))}. Give {wanted}.")

    def name(self, key: str) -> str:
        text = self.text(key)
        if not text:
            raise self.refused(key, "a text")
        return text

    def text(self, key: str) -> str | None:
        value = self.data.get(key)
        if value is None or isinstance(value, str):
            return None if value is None else clean(value)
        raise self.refused(key, "a text, or null where it is not known")

    def number(self, key: str, *, signed: bool = False) -> float | None:
        value = self.data.get(key)
        if value is None:
            return None
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not numeric or not math.isfinite(value) or abs(value) > _LARGEST or (value < 0 and not signed):
            raise self.refused(key, f"a number{'' if signed else ' from 0 on'}, or null where it is not known")
        return float(value)

    def whole(self, key: str) -> int | None:
        number = self.number(key)
        if number is None:
            return None
        if number != int(number):
            raise self.refused(key, "a whole number from 0 on, or null where it is not known")
        return int(self.data[key])

    def flag(self, key: str) -> bool | None:
        value = self.data.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.refused(key, "true or false, or null where it is not known")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, of which some may look like numbers."""
        values = self._list(key, "a list of texts")
        if not all(isinstance(value, (str, int)) and not isinstance(value, bool) for value in values):
            raise self.refused(key, "a list of texts")
        return tuple(clean(str(value)) for value in values)

    def scalars(self, key: str) -> tuple[tuple[str, str | int | float | bool], ...]:
        """A mapping from names to plain values."""
        values = {} if self.data.get(key) is None else self.data[key]
        if not isinstance(values, Mapping) or not all(isinstance(value, (str, int, float)) for value in values.values()):
            raise self.refused(key, "a dict of texts, numbers and booleans")
        return tuple((clean(str(name)), clean(value) if isinstance(value, str) else value) for name, value in values.items())

    def parsed(self, key: str, parse: Callable[[_Entry], _Parsed]) -> _Parsed | None:
        value = self.data.get(key)
        return None if value is None else parse(_Entry.of(value, f"{self.where}.{key}"))

    def entries(self, key: str) -> list[_Entry]:
        return [_Entry.of(value, f"{self.where}.{key}[{index}]") for index, value in enumerate(self._list(key, "a list of dicts"))]

    def _list(self, key: str, wanted: str) -> list[Any]:
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.refused(key, wanted)
        return value
