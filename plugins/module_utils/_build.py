# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release of llama.cpp: planned from what is asked for and what is there, built, proven, activated, and gone back from."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._build_plan import (
    Plan,
    Request,
    asks_for,
    make_plan,
    missing_tools,
    source_of,
    toolkit_unfit,
)
from ansible_collections.baremetal.llm.plugins.module_utils._cmake import Cuda, build_argv, build_environment, configure_argv
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_root import DRIVER_STUB, LIBRARIES
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import Wish
from ansible_collections.baremetal.llm.plugins.module_utils._disk import free_bytes
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._ninja import Failure, find_failure, first_error, parse_step
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import ReleaseStore
from ansible_collections.baremetal.llm.plugins.module_utils._runtime_libraries import (
    DRIVER_LIBRARY,
    add_toolkit_libraries,
    loader_libraries,
)
from ansible_collections.baremetal.llm.plugins.module_utils._source import SourceCache, fetch, unpack_programs, unpack_tree
from ansible_collections.baremetal.llm.plugins.module_utils._staging import (
    checksums,
    own_files,
    prove_architectures,
    prove_device,
    prove_start,
    stage,
)
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import CCACHE, MAKE, missing_tools_message

KEPT_LOGS = 10

_SHOWN_LINES = 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do."""

    changed: bool
    before: str | None
    key: str | None
    manifest: Mapping[str, object] | None
    manifest_before: Mapping[str, object] | None
    rebuilt: bool = False
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    log: Path | None = None
    removed: tuple[str, ...] = ()
    asks_for: tuple[Wish, ...] = ()
    """What the controller has to send before it can go on."""


# --- present ------------------------------------------------------------------------------------------------------------


def ensure_present(request: Request, *, check_mode: bool) -> Outcome:
    store = ReleaseStore(request.prefix)
    store.check_prefix()
    plan = make_plan(request, store)
    if plan.build:
        check_free_space(request)
    predicted = replace(_predicted(store, plan), asks_for=asks_for(request, store, plan))
    if check_mode or not plan.changed:
        return predicted
    with store.locked() as lock:
        # Somebody else may have built it while this run waited.
        plan = make_plan(request, store)
        predicted, log = _predicted(store, plan), None
        if not plan.changed:
            return predicted
        if wishes := asks_for(request, store, plan):
            store.sources.mkdir(exist_ok=True)
            return replace(predicted, changed=False, asks_for=wishes)
        if plan.build:
            plan, log = _build(request, store, plan, lock)
        if plan.key is None:
            raise AssertionError("a plan that changes something has a key")
        store.activate(plan.key)
        store.prune(request.keep_releases)
        _prune_sources(store)
        store.clear_work()
    return replace(
        predicted, key=plan.key, manifest=store.manifest(plan.key), rebuilt=plan.build, reasons=plan.reasons, warnings=(), log=log
    )


def _predicted(store: ReleaseStore, plan: Plan) -> Outcome:
    """The outcome of carrying out ``plan``, as far as that can be told before."""
    manifest = store.manifest(plan.key) if plan.key else None
    return Outcome(
        changed=plan.changed,
        before=plan.before,
        key=plan.key,
        manifest=manifest or {"build_key": plan.key, "inputs": dict(plan.inputs)},
        manifest_before=store.manifest(plan.before) if plan.before else None,
        rebuilt=plan.build,
        reasons=plan.reasons,
        warnings=plan.warnings if plan.build else (),
    )


def check_free_space(request: Request) -> None:
    needed = request.work_mib
    available = free_bytes(request.prefix) // _MIB
    if available < needed:
        raise UserError(
            f"prefix: building llama.cpp under {request.prefix} needs {needed} MiB of free disk space, {available} MiB are available; "
            "free some, or give a prefix on a larger file system"
        )


def default_jobs() -> int:
    return len(os.sched_getaffinity(0))


# --- building -----------------------------------------------------------------------------------------------------------


def _build(request: Request, store: ReleaseStore, plan: Plan, lock: int) -> tuple[Plan, Path]:
    """Fetch, compile, prove and add the release; the plan that comes back knows its key."""
    source = source_of(request)
    if absent := missing_tools(request):
        raise UserError(missing_tools_message(absent))
    if reason := toolkit_unfit(request):
        raise UserError(reason)
    store.logs.mkdir(exist_ok=True)
    log = store.logs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{plan.key or source.kind}.log"
    work = store.new_work()
    with open(log, "w", encoding="utf-8", opener=_private) as file, ProgressFile(store.progress) as progress:
        job = Job(file, progress, (lock,))
        try:
            cache = SourceCache(store.sources)
            if plan.identity and request.delivery and request.delivery.delivered:
                cache.take(source, plan.identity, request.delivery.delivered[0])
            fetch(source, plan.identity, cache, work, job)
            if plan.key is None:
                plan = make_plan(request, store)
            if plan.build:
                _make(request, store, plan, work, job)
        except UserError as error:
            job.write(f"# {error.msg}")
            where = f"; the whole output is in {log}" if "cmd" in error.details else ""
            raise UserError(f"{error.msg}{where}", **error.details, log=str(log)) from error
        except OSError as error:
            raise UserError(_explained(request, error), log=str(log)) from error
        finally:
            store.clear_work()
            _prune_logs(store.logs)
    return plan, log


def _make(request: Request, store: ReleaseStore, plan: Plan, work: Path, job: Job) -> None:
    """Bring the programs about, put them together with what they need, and prove them: then they are a release."""
    if not (plan.key and plan.identity):
        raise AssertionError("a plan that builds knows what it builds")
    source = source_of(request)
    job.progress.step(f"unpack {source.label}")
    archive = SourceCache(store.sources).archive(plan.identity.digest)
    if source.prebuilt:
        built = unpack_programs(archive, source, work / "unpacked", request.targets[0], job.progress.beat)
    else:
        # One fixed path, whatever the archive calls its directories: the compiler cache and the prefix map depend on it.
        os.rename(unpack_tree(archive, source, work / "unpacked", job.progress.beat), work / "source")
        built = _compile(request, store, plan, work, job)

    job.progress.step("prove the new release")
    staged = work / "staged"
    stage(built, request.targets, staged / "bin")
    own = own_files(staged / "bin")
    _bring_libraries(request, staged / "bin")
    if request.backend == "cuda":
        prove_architectures(own, request.architectures, exactly=not source.prebuilt)
    prove_start(staged / "bin", job, _without_driver(request, work))
    if request.backend == "cuda":
        prove_device(staged / "bin", job)
    manifest = {"build_key": plan.key, "origin": source.label, "inputs": dict(plan.inputs), "files": checksums(staged / "bin")}
    store.add(plan.key, staged, manifest)


def _compile(request: Request, store: ReleaseStore, plan: Plan, work: Path, job: Job) -> Path:
    """Compile the sources in ``work``; returns the directory with the programs."""
    if not (plan.identity and plan.toolchain):
        raise AssertionError("a plan that compiles knows with what")
    build = work / "build"
    environment = build_environment(work=work, ccache=store.ccache)
    make_program = MAKE.find() or "ninja"
    job.progress.step("configure llama.cpp")
    configured = job.run(
        configure_argv(
            source=work / "source",
            build=build,
            options=request.options,
            commit=plan.identity.digest[:12],
            c_compiler=plan.toolchain.c_path,
            cxx_compiler=plan.toolchain.cxx_path,
            cuda=_cuda(request, plan, work),
            make_program=make_program,
            launcher=None if request.ccache is False else CCACHE.find(),
        ),
        env=environment,
    )
    if configured.rc != 0:
        raise _configure_error(request, configured)

    def show(line: str) -> None:
        if step := parse_step(line):
            job.progress.advance(step.done, total=step.total, unit=step.unit, detail=step.detail)

    job.progress.step("build llama.cpp")
    built = job.run(build_argv(make_program, build, request.targets, request.jobs or default_jobs()), env=environment, on_line=show)
    if built.rc != 0:
        raise _build_error(request, built)
    return build / "bin"


def _cuda(request: Request, plan: Plan, work: Path) -> Cuda | None:
    library = _driver_stand_in(request, work)
    if not (library and request.cuda_root and plan.toolchain and plan.toolchain.cuda_host_path):
        return None
    architectures = [str(architecture) for architecture in request.architectures]
    return Cuda(architectures, Path(request.cuda_root), plan.toolchain.cuda_host_path, library)


def _driver_stand_in(request: Request, work: Path) -> Path | None:
    """The toolkit's stub of the driver's library, under the name that a linker and a loader look for; None without a toolkit."""
    stub = Path(request.cuda_root or "/nonexistent") / DRIVER_STUB
    if request.backend != "cuda" or not stub.exists():
        return None
    library = work / "driver" / DRIVER_LIBRARY
    if not library.exists():
        library.parent.mkdir()
        library.symlink_to(stub)
    return library


def _without_driver(request: Request, work: Path) -> dict[str, str]:
    """Variables with which a program for CUDA starts on a host without a driver, as far as it comes without a GPU."""
    library = _driver_stand_in(request, work)
    return {"LD_LIBRARY_PATH": str(library.parent)} if library and DRIVER_LIBRARY not in loader_libraries() else {}


def _bring_libraries(request: Request, binaries: Path) -> None:
    if request.backend != "cuda" and not request.prebuilt:
        return
    toolkit = Path(request.cuda_root) / LIBRARIES if request.cuda_root else None
    missing = add_toolkit_libraries(binaries, toolkit) - loader_libraries()
    if request.prebuilt and missing:
        place = f"in {toolkit}" if toolkit else "in a CUDA toolkit, for want of a cuda_root"
        raise UserError(
            f"source: {source_of(request).label} needs {', '.join(sorted(missing))}, which is neither in it nor on this host nor {place}; "
            "install what has it, or build from source"
        )


def _configure_error(request: Request, failed: Completed) -> UserError:
    lines = failed.stdout.splitlines()
    begin = next((number for number, line in enumerate(lines) if line.startswith("CMake Error")), max(len(lines) - _SHOWN_LINES, 0))
    shown = [line for line in lines[begin:] if line.strip()][:_SHOWN_LINES]
    if _no_space(lines):
        return _disk_full(request, failed, shown)
    return UserError(f"llama.cpp can't be configured: {' '.join(line.strip() for line in shown[:3])}", **_excerpt(failed, shown))


def _build_error(request: Request, failed: Completed) -> UserError:
    lines = failed.stdout.splitlines()
    last = tuple(lines[-_SHOWN_LINES:])
    failure = find_failure(lines) or Failure("", "", first_error(last), last)
    shown = list(failure.output[:_SHOWN_LINES])
    if _no_space(lines):
        return _disk_full(request, failed, shown)
    details = _excerpt(failed, shown)
    if failure.target:
        details["target"] = failure.target
    if failure.command:
        details["cmd"] = failure.command
    if failure.killed:
        return UserError(
            f"building {failure.target} failed: the compiler was killed, most likely for want of memory; "
            f"set jobs below {request.jobs or default_jobs()}, or add memory",
            **details,
        )
    return UserError(f"building {failure.target or 'llama.cpp'} failed: {failure.error}", **details)


def _disk_full(request: Request, failed: Completed, shown: Sequence[str]) -> UserError:
    return UserError(_no_space_message(request), **_excerpt(failed, shown))


def _no_space(lines: Sequence[str]) -> bool:
    return any(os.strerror(errno.ENOSPC) in line for line in lines)


def _no_space_message(request: Request) -> str:
    return (
        f"prefix: no space was left on the file system of {request.prefix} while building llama.cpp "
        f"(a build needs about {request.work_mib} MiB); free some, or give a prefix on a larger one"
    )


def _explained(request: Request, error: OSError) -> str:
    return _no_space_message(request) if error.errno == errno.ENOSPC else f"building llama.cpp under {request.prefix} failed: {error}"


def _excerpt(failed: Completed, shown: Sequence[str]) -> dict[str, object]:
    """A failure's details with the lines that matter instead of all output; the rest is in the log."""
    return {**failed.details(), "stdout": "\n".join(shown), "stderr": ""}


def _private(path: str, flags: int) -> int:
    # A compiler's output is no secret, but the address of a repository may be one.
    return os.open(path, flags, 0o600)


def _prune_logs(directory: Path) -> None:
    for old in sorted(directory.glob("*.log"))[:-KEPT_LOGS]:
        old.unlink()


def _prune_sources(store: ReleaseStore) -> None:
    wanted = set()
    for key in store.release_keys():
        inputs = (store.manifest(key) or {}).get("inputs")
        source = inputs.get("source") if isinstance(inputs, Mapping) else None
        if isinstance(source, Mapping):
            wanted.add(str(source.get("digest")))
    SourceCache(store.sources).prune(wanted)


# --- rolled back, absent ------------------------------------------------------------------------------------------------


def ensure_rolled_back(request: Request, *, check_mode: bool) -> Outcome:
    """Go back one release: from the one that ``source`` describes, if that is current, or else from whichever is."""
    store = ReleaseStore(request.prefix)
    store.check_prefix()
    outcome = _plan_rollback(request, store)
    if not outcome.changed or check_mode:
        return outcome
    with store.locked():
        outcome = _plan_rollback(request, store)
        if outcome.changed and outcome.key:
            store.point_to(outcome.key)
    return outcome


def _plan_rollback(request: Request, store: ReleaseStore) -> Outcome:
    before = store.current_key()
    manifest_before = store.manifest(before) if before else None
    if request.source is not None:
        described = make_plan(request, store)
        if described.key is None and described.warnings:
            raise UserError(f"whether to roll back can't be told: {described.warnings[0]}; or leave source out to go back one release")
        if before is not None and described.key != before:
            return Outcome(False, before, before, manifest_before, manifest_before)
    target = store.previous_key()
    if target is None:
        there = ", ".join(store.release_keys()) or "none"
        raise UserError(f"state: rolled_back is impossible, no release under {store.prefix} was active before {before}; there: {there}")
    reason = f"rolled back: {before} -> {target}"
    return Outcome(True, before, target, store.manifest(target), manifest_before, reasons=(reason,))


def ensure_absent(request: Request, *, check_mode: bool) -> Outcome:
    store = ReleaseStore(request.prefix)
    store.check_prefix()
    before = store.current_key()
    outcome = Outcome(
        changed=request.prefix.exists(),
        before=before,
        key=None,
        manifest=None,
        manifest_before=store.manifest(before) if before else None,
        removed=tuple(store.release_keys()),
    )
    _refuse_while_in_use(store)
    if outcome.changed and not check_mode:
        with store.locked():
            _refuse_while_in_use(store)
            store.remove()
    return outcome


def _refuse_while_in_use(store: ReleaseStore) -> None:
    if running := store.executed_by():
        raise UserError(f"state: absent is refused, {running[0]} runs from {store.prefix}; stop it first")
