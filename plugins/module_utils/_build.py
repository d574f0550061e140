# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release of llama.cpp: planned from what is asked for and what is there, built, proven, activated, and gone back from."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._cmake import (
    build_argv,
    build_environment,
    configure_argv,
    effective_options,
)
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import sha256_of
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._ninja import Failure, find_failure, first_error, parse_step
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._release_key import build_inputs, build_key, reasons_to_rebuild
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import ReleaseStore
from ansible_collections.baremetal.llm.plugins.module_utils._source import (
    Identity,
    Source,
    SourceCache,
    fetch,
    resolve_revision,
    unpack,
)
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import (
    CCACHE,
    CMAKE,
    MAKE,
    Tool,
    Toolchain,
    ask_toolchain,
    compilers_missing,
    missing,
    missing_tools_message,
)

# Sources, objects, the release and the compiler cache of one build, with room to spare.
WORK_MIB = {"cpu": 1536, "cuda": 6144}
KEPT_LOGS = 10

_SHOWN_LINES = 20
_MIB = 1 << 20
_SERVER = "llama-server"


@dataclass(frozen=True)
class Request:
    """What the operator asks for; ``source`` is None where it does not matter."""

    prefix: Path
    source: Source | None = None
    backend: str = "cpu"
    cuda_architectures: tuple[str, ...] = ()
    cuda_root: str | None = None
    cmake_options: Mapping[str, object] = field(default_factory=dict)
    targets: tuple[str, ...] = (_SERVER,)
    jobs: int | None = None
    keep_releases: int = 3
    ccache: bool | None = None

    @property
    def options(self) -> dict[str, str]:
        return effective_options(self.cmake_options, self.backend, self.cuda_architectures)


@dataclass(frozen=True)
class Plan:
    """What a run would do. ``key`` is None as long as the sources or the compilers are not there to tell it."""

    before: str | None
    key: str | None
    inputs: Mapping[str, object]
    build: bool
    reasons: tuple[str, ...] = ()
    identity: Identity | None = None
    toolchain: Toolchain | None = None
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.build or self.before != self.key


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


# --- present ------------------------------------------------------------------------------------------------------------


def ensure_present(request: Request, *, check_mode: bool) -> Outcome:
    store = ReleaseStore(request.prefix)
    store.check_prefix()
    plan = make_plan(request, store)
    if plan.build:
        check_free_space(request)
    if check_mode or not plan.changed:
        return _predicted(store, plan)
    with store.locked() as lock:
        # Somebody else may have built it while this run waited.
        plan = make_plan(request, store)
        predicted, log = _predicted(store, plan), None
        if not plan.changed:
            return predicted
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


def make_plan(request: Request, store: ReleaseStore) -> Plan:
    """Compare what is asked for with what is there. Reads only; the network only for a branch or a tag of a repository."""
    source = _source_of(request)
    before = store.current_key()
    absent = missing_tools(request)
    warnings = (missing_tools_message(absent),) if absent else ()
    identity = SourceCache(store.sources).known_identity(source)
    if compilers_missing(request.options) or (identity is None and missing(source.tools)):
        return Plan(before, None, {}, True, _reasons(store, source, before, {}), warnings=warnings)
    toolchain = ask_toolchain(request.options, request.backend, request.cuda_root)
    if identity is None and source.kind == "git":
        identity = resolve_revision(source)
    inputs = build_inputs(
        source=identity.inputs() if identity else {},
        backend=request.backend,
        toolchain=toolchain.inputs(),
        architectures=request.cuda_architectures,
        cmake_options=request.options,
        targets=request.targets,
    )
    # Without the archive nobody can tell its sha256; one that was never here was never built here.
    key = build_key(inputs) if identity else None
    build = key is None or store.manifest(key) is None
    reasons = () if key == before and not build else _reasons(store, source, before, inputs)
    return Plan(before, key, inputs, build, reasons, identity, toolchain, warnings)


def missing_tools(request: Request) -> list[Tool]:
    wanted = [CMAKE, MAKE, *_source_of(request).tools, *([CCACHE] if request.ccache else [])]
    return [*compilers_missing(request.options), *missing(wanted)]


def check_free_space(request: Request) -> None:
    needed = WORK_MIB[request.backend]
    existing = request.prefix
    while not existing.exists():
        existing = existing.parent
    available = free_mib(existing)
    if available < needed:
        raise UserError(
            f"prefix: building llama.cpp under {request.prefix} needs {needed} MiB of free disk space, {available} MiB are available; "
            "free some, or give a prefix on a larger file system"
        )


def free_mib(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize // _MIB


def default_jobs() -> int:
    return len(os.sched_getaffinity(0))


def _source_of(request: Request) -> Source:
    if request.source is None:
        raise UserError("source: tell what to build, for example {kind: pypi, version: 0.3.36}")
    return request.source


def _reasons(store: ReleaseStore, source: Source, before: str | None, inputs: Mapping[str, object]) -> tuple[str, ...]:
    if before is None:
        return ("no release is installed",)
    manifest = store.manifest(before)
    if manifest is None:
        return (f"release {before} is missing from {store.releases}",)
    known = manifest.get("inputs")
    old = dict(known) if isinstance(known, Mapping) else {}
    new = dict(inputs) or old
    if old.get("source") != new.get("source") or not inputs:
        # What the sources are called says more than their digest does.
        old["source"] = _origin(str(manifest.get("origin")), old.get("source"))
        new["source"] = _origin(source.label, new.get("source") if inputs else None)
    return tuple(reasons_to_rebuild(old, new))


def _origin(label: str, identity: object) -> str:
    digest = str(identity.get("digest", "")) if isinstance(identity, Mapping) else ""
    return f"{label} ({digest[:12]})" if digest else label


# --- building -----------------------------------------------------------------------------------------------------------


def _build(request: Request, store: ReleaseStore, plan: Plan, lock: int) -> tuple[Plan, Path]:
    """Fetch, compile, prove and add the release; the plan that comes back knows its key."""
    source = _source_of(request)
    if absent := missing_tools(request):
        raise UserError(missing_tools_message(absent))
    store.logs.mkdir(exist_ok=True)
    log = store.logs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{plan.key or source.kind}.log"
    work = store.new_work()
    with open(log, "w", encoding="utf-8", opener=_private) as file, ProgressFile(store.progress) as progress:
        job = Job(file, progress, (lock,))
        try:
            fetch(source, plan.identity, SourceCache(store.sources), work, job)
            if plan.key is None:
                plan = make_plan(request, store)
            if plan.build:
                _compile(request, store, plan, work, job)
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


def _compile(request: Request, store: ReleaseStore, plan: Plan, work: Path, job: Job) -> None:
    if not (plan.key and plan.identity and plan.toolchain):
        raise AssertionError("a plan that builds knows what it builds")
    source = _source_of(request)
    job.progress.step(f"unpack {source.label}")
    archive = SourceCache(store.sources).archive(plan.identity.digest)
    # One fixed path, whatever the archive calls its directories: the compiler cache and the prefix map depend on it.
    tree, build = work / "source", work / "build"
    os.rename(unpack(archive, source, work / "unpacked", job.progress.beat), tree)

    environment = build_environment(work=work, ccache=store.ccache)
    make_program = MAKE.find() or "ninja"
    job.progress.step("configure llama.cpp")
    configured = job.run(
        configure_argv(
            source=tree,
            build=build,
            options=request.options,
            commit=plan.identity.digest[:12],
            c_compiler=plan.toolchain.c_path,
            cxx_compiler=plan.toolchain.cxx_path,
            cuda_root=request.cuda_root if request.backend == "cuda" else None,
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

    job.progress.step("prove the new release")
    staged = work / "staged"
    files = _stage(request, build / "bin", staged / "bin")
    _prove(staged / "bin", files, job)
    manifest = {"build_key": plan.key, "origin": source.label, "inputs": dict(plan.inputs), "files": files}
    store.add(plan.key, staged, manifest)


def _stage(request: Request, built: Path, staged: Path) -> dict[str, str]:
    """Copy the programs and the shared libraries, links as links; returns the sha256 of each file."""
    absent = [target for target in request.targets if not (built / target).is_file()]
    if absent:
        raise UserError(f"targets: {', '.join(absent)} built no program of that name; name programs, such as {_SERVER}")
    staged.mkdir(parents=True)
    for path in sorted({built / target for target in request.targets} | set(built.glob("*.so*"))):
        shutil.copy2(path, staged / path.name, follow_symlinks=False)
    return {path.name: sha256_of(path) for path in sorted(staged.iterdir()) if not path.is_symlink()}


def _prove(binaries: Path, files: Mapping[str, str], job: Job) -> None:
    """The server must at least start from where it now lies, without the build tree."""
    if _SERVER not in files:
        return
    proof = job.run([str(binaries / _SERVER), "--version"])
    if proof.rc != 0:
        said = first_error(proof.stdout.splitlines()) or "it said nothing"
        raise UserError(f"the new {_SERVER} does not start: {said}", **proof.details())


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
        f"(a build needs about {WORK_MIB[request.backend]} MiB); free some, or give a prefix on a larger one"
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
