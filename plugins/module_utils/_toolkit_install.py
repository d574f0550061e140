# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CUDA toolkit from the wheels of the Python package index: planned, fetched, unpacked, proven; or removed."""

from __future__ import annotations

import calendar
import contextlib
import errno
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._delivery import Delivery, Wish, arrival, prove
from ansible_collections.baremetal.llm.plugins.module_utils._disk import free_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_toolkits import parse_nvcc_version
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import C_COMPILER, PIP, Tool, missing
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_layout import (
    CUDA_HEADER,
    NVCC,
    STUB,
    VERSION_FILE,
    driver_functions,
    links,
    place_of,
    stub_argv,
    stub_source,
    version_json,
)
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_store import ToolkitStore
from ansible_collections.baremetal.llm.plugins.module_utils._wheel_download import Wheel, download, wheels_of

# Counts up when the same wheels become something else, so that toolkits that are there are made anew.
LAYOUT = 1

# Unpacked they are less than twice as large, and pip holds the largest of them twice for a moment.
_DISK_PER_WHEEL = 3
_MIB = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    version: str
    wheels: tuple[Wheel, ...]
    there: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def install(self) -> bool:
        return bool(self.reasons)

    @property
    def packages(self) -> dict[str, str]:
        return {wheel.package: wheel.version for wheel in self.wheels}

    @property
    def download_mib(self) -> int:
        return -(-sum(wheel.size for wheel in self.wheels) // _MIB)

    @property
    def made_of(self) -> list[object]:
        return [LAYOUT, *(wheel.sha256 for wheel in self.wheels)]


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do."""

    changed: bool
    packages_before: Mapping[str, str]
    packages: Mapping[str, str]
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    download_mib: int = 0
    asks_for: tuple[Wish, ...] = ()
    """What the controller has to send before it can go on."""


# --- what is asked for --------------------------------------------------------------------------------------------------


def make_plan(store: ToolkitStore, version: str, *, offline: bool = False) -> Plan:
    """Compare what is asked for with what is there. Reads only, and never the network."""
    wheels = wheels_of(version, os.uname().machine)
    store.check_prefix()
    store.check_own(version)
    plan = Plan(version, wheels, store.is_there(version))
    reasons = _reasons(store, plan)
    absent = _missing_tools(offline) if reasons else []
    return Plan(version, wheels, plan.there, reasons, (_missing_message(absent),) if absent else ())


def _reasons(store: ToolkitStore, plan: Plan) -> tuple[str, ...]:
    if not plan.there:
        return (f"{store.root(plan.version)} is not there",)
    if damaged := store.damaged(plan.version):
        others = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        return (f"{store.root(plan.version)} is damaged: {damaged[0]}{others} missing or cut short",)
    if store.made_of(plan.version) != plan.made_of:
        return (f"{store.root(plan.version)} was made of other packages, or by another release of the collection",)
    return ()


def _missing_tools(offline: bool) -> list[Tool]:
    return missing([C_COMPILER] if offline else [C_COMPILER, PIP])


def _missing_message(tools: Sequence[Tool]) -> str:
    what, packages = ", ".join(tool.what for tool in tools), " ".join(tool.package for tool in tools)
    return f"the toolkit can't be installed here, missing: {what}; install them first (Debian and Ubuntu: apt-get install {packages})"


def _check_free_space(store: ToolkitStore, plan: Plan) -> None:
    needed = plan.download_mib * _DISK_PER_WHEEL
    available = free_bytes(store.prefix) // _MIB
    if available < needed:
        raise UserError(
            f"prefix: installing CUDA {plan.version} under {store.prefix} needs {needed} MiB of free disk space, {available} MiB are "
            "available; free some, or give a prefix on a larger file system"
        )


# --- present ------------------------------------------------------------------------------------------------------------


def ensure_present(
    store: ToolkitStore, version: str, *, check_mode: bool, offline: bool = False, delivery: Delivery | None = None
) -> Outcome:
    plan = make_plan(store, version, offline=offline)
    if plan.install:
        store.check_writable()
        _check_free_space(store, plan)
    outcome = replace(_predicted(store, plan), asks_for=_wishes(plan, delivery) if offline else ())
    if check_mode or not plan.install:
        return outcome
    if absent := _missing_tools(offline):
        raise UserError(_missing_message(absent))
    with store.locked() as lock:
        # Somebody else may have installed it while this run waited.
        plan = make_plan(store, version, offline=offline)
        if plan.install and outcome.asks_for:
            store.wheels(version)
            return replace(outcome, changed=False)
        outcome = _predicted(store, plan)
        if plan.install:
            _install(store, plan, lock, offline=offline)
    return outcome


def _wishes(plan: Plan, delivery: Delivery | None) -> tuple[Wish, ...]:
    if not plan.install:
        return ()
    if delivery is None:
        raise UserError(
            f"offline: CUDA {plan.version} can't be fetched ({plan.reasons[0]}); run this once without offline, or bring it in a bundle"
        )
    sent = delivery.delivered
    return tuple(Wish(wheel.sha256, f"{wheel.package} {wheel.version}") for wheel in plan.wheels if wheel.sha256 not in sent)


def _predicted(store: ToolkitStore, plan: Plan) -> Outcome:
    before = store.packages(plan.version)
    return Outcome(plan.install, before, plan.packages, plan.reasons, plan.warnings, plan.download_mib if plan.install else 0)


def _install(store: ToolkitStore, plan: Plan, lock: int, *, offline: bool) -> None:
    work = store.new_work()
    with open(store.log, "w", encoding="utf-8", opener=_private) as log, ProgressFile(store.progress) as progress:
        job = Job(log, progress, (lock,))
        try:
            wheels = _received(store, plan, job) if offline else _fetch(store, plan, work, job)
            staged = work / "staged"
            _unpack(wheels, staged, plan.version, job)
            _complete(staged, plan, work, job)
            _prove(staged, plan, job)
            store.add(plan.version, staged, plan.made_of, plan.packages)
            store.clear_wheels()
        except UserError as error:
            job.write(f"# {error.msg}")
            raise UserError(error.msg, **error.details, log=str(store.log)) from error
        except OSError as error:
            raise UserError(_explained(store, plan, error), log=str(store.log)) from error
        finally:
            store.clear_work()


def _fetch(store: ToolkitStore, plan: Plan, work: Path, job: Job) -> list[Path]:
    return download(plan.wheels, store.wheels(plan.version), work, job, f"CUDA {plan.version}", no_space=_no_space(store, plan))


def _received(store: ToolkitStore, plan: Plan, job: Job) -> list[Path]:
    """The wheels that the controller has sent, each verified against its checksum."""
    job.progress.step(f"verify CUDA {plan.version}")
    into = store.wheels(plan.version)
    for wheel in plan.wheels:
        prove(arrival(into, wheel.sha256), wheel.sha256, f"{wheel.package} {wheel.version}", lambda _count: job.progress.beat())
    return [arrival(into, wheel.sha256) for wheel in plan.wheels]


def _unpack(wheels: Sequence[Path], staged: Path, version: str, job: Job) -> None:
    with contextlib.ExitStack() as stack:
        archives = [stack.enter_context(zipfile.ZipFile(wheel)) for wheel in wheels]
        members = [
            (archive, member, place)
            for archive in archives
            for member in archive.infolist()
            if (place := place_of(member.filename, version))
        ]
        job.progress.step(f"unpack CUDA {version}", total=sum(member.file_size for _archive, member, _place in members), unit="bytes")
        done = 0

        def show(count: int) -> None:
            nonlocal done
            done += count
            job.progress.advance(done)

        for archive, member, place in members:
            _extract(archive, member, staged / place, show)


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, show: Callable[[int], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as packed, path.open("wb") as file:
        while chunk := packed.read(_CHUNK):
            file.write(chunk)
            show(len(chunk))
    # The wheels let only the owner execute their programs.
    path.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)
    # A compiler cache knows a compiler by its time, among other things.
    modified = calendar.timegm((*member.date_time, 0, 0, 0))
    os.utime(path, (modified, modified))


def _complete(staged: Path, plan: Plan, work: Path, job: Job) -> None:
    """Add what the wheels lack."""
    job.progress.step(f"complete CUDA {plan.version}")
    places = [str(path.relative_to(staged)) for path in staged.rglob("*")]
    for place, target in links(places).items():
        (staged / place).symlink_to(target)
    (staged / VERSION_FILE).write_text(version_json(plan.version, plan.packages), encoding="utf-8")
    source, library = work / "libcuda.c", staged / STUB
    source.write_text(stub_source(driver_functions((staged / CUDA_HEADER).read_text("utf-8"))), encoding="utf-8")
    library.parent.mkdir()
    compiled = job.run(stub_argv(C_COMPILER.find() or "cc", str(source), str(library)))
    if compiled.rc != 0:
        said = compiled.stdout.strip().rpartition("\n")[2]
        raise UserError(f"the C compiler of this host can't make a library: {said}", **compiled.details())


def _prove(staged: Path, plan: Plan, job: Job) -> None:
    asked = job.run([str(staged / NVCC), "--version"])
    release = parse_nvcc_version(asked.stdout)
    if asked.rc != 0 or release != plan.version.rpartition(".")[0]:
        said = f"is of CUDA {release}" if release else "does not start on this host"
        raise UserError(f"version: the nvcc of the packages for CUDA {plan.version} {said}", **asked.details())


def _private(path: str, flags: int) -> int:
    # pip names the index, with a password where the address has one that is not masked.
    return os.open(path, flags, 0o600)


# --- what can go wrong --------------------------------------------------------------------------------------------------


def _no_space(store: ToolkitStore, plan: Plan) -> str:
    return (
        f"prefix: no space was left on the file system of {store.prefix} while installing CUDA {plan.version} "
        f"(it takes about {plan.download_mib * _DISK_PER_WHEEL} MiB); free some, or give a prefix on a larger one"
    )


def _explained(store: ToolkitStore, plan: Plan, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return _no_space(store, plan)
    return f"installing CUDA {plan.version} under {store.prefix} failed: {error}"


# --- absent -------------------------------------------------------------------------------------------------------------


def ensure_absent(store: ToolkitStore, version: str | None, *, check_mode: bool) -> Outcome:
    """Remove this version, or with None all that this module has made."""
    if version is not None and not re.fullmatch(r"\d+(\.\d+)*", version):
        raise UserError(f"version: {version!r} is not a version; write it like 13.0.3")
    store.check_prefix()
    if version is not None:
        store.check_own(version)
    versions = store.versions() if version is None else [version]
    packages = {package: of for each in versions for package, of in store.packages(each).items()}
    outcome = Outcome(any(store.is_there(each) for each in versions) or store.has_remains(), packages, {})
    if outcome.changed and not check_mode:
        store.check_writable()
        with store.locked():
            store.remove(versions)
    return outcome
