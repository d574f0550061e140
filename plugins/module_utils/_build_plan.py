# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of llama_build would do: what is asked for, compared with what is there. Nothing is changed here.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._cmake import effective_options
from ansible_collections.baremetal.llm.plugins.module_utils._command import run
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Architecture
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_build import (
    check_toolkit,
    needs_families,
    parse_architectures,
    parse_cmake_version,
    parse_host_compiler_version,
)
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_root import missing_pieces, toolkit_version
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import Delivery, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._release_key import build_inputs, build_key, reasons_to_rebuild
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import ReleaseStore
from ansible_collections.baremetal.llm.plugins.module_utils._source import Identity, Source, SourceCache, resolve_revision
from ansible_collections.baremetal.llm.plugins.module_utils._staging import SERVER
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
WORK_MIB = {"cpu": 1536, "cuda": 6144, "prebuilt": 3072}


@dataclass(frozen=True)
class Request:
    """What the operator asks for; ``source`` is None where it does not matter."""

    prefix: Path
    source: Source | None = None
    backend: str = "cpu"
    cuda_architectures: tuple[str, ...] = ()
    cuda_root: str | None = None
    cuda_version: str | None = None
    cmake_options: Mapping[str, object] = field(default_factory=dict)
    targets: tuple[str, ...] = (SERVER,)
    jobs: int | None = None
    keep_releases: int = 3
    ccache: bool | None = None
    offline: bool = False
    delivery: Delivery | None = None

    @property
    def options(self) -> dict[str, str]:
        return effective_options(self.cmake_options, self.backend)

    @cached_property
    def architectures(self) -> list[Architecture]:
        return parse_architectures(self.cuda_architectures) if self.backend == "cuda" else []

    @property
    def prebuilt(self) -> bool:
        return self.source is not None and self.source.prebuilt

    @property
    def work_mib(self) -> int:
        return WORK_MIB["prebuilt" if self.prebuilt else self.backend]

    @cached_property
    def toolkit(self) -> str | None:
        """The version of the CUDA toolkit that there is to be; None where there is none, or nobody can tell yet."""
        if self.backend != "cuda":
            return None
        return self.cuda_version or (toolkit_version(Path(self.cuda_root)) if self.cuda_root else None)


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


def make_plan(request: Request, store: ReleaseStore) -> Plan:
    """Compare what is asked for with what is there. Reads only; the network only for a branch or a tag of a repository."""
    source = source_of(request)
    _check_request(request)
    before = store.current_key()
    warnings = tuple(_hindrances(request))
    identity = SourceCache(store.sources).known_identity(source)
    if identity is None and _closed(request):
        raise _unknown_offline(source)
    if not _toolchain_is_known(request) or (identity is None and missing(source.tools)):
        return Plan(before, None, {}, True, _reasons(store, source, before, {}), identity, warnings=warnings)
    toolchain = None if request.prebuilt else _ask_toolchain(request)
    if identity is None and source.kind == "git":
        identity = resolve_revision(source)
    inputs = build_inputs(
        source=identity.inputs() if identity else {},
        backend=request.backend,
        toolchain=toolchain.inputs() if toolchain else {"machine": os.uname().machine, "toolkit": request.toolkit},
        architectures=[str(architecture) for architecture in request.architectures],
        cmake_options=request.options if toolchain else {},
        targets=request.targets,
    )
    # Without the archive nobody can tell its sha256; one that was never here was never built here.
    key = build_key(inputs) if identity else None
    build = key is None or store.manifest(key) is None
    reasons = () if key == before and not build else _reasons(store, source, before, inputs)
    return Plan(before, key, inputs, build, reasons, identity, toolchain, warnings)


def asks_for(request: Request, store: ReleaseStore, plan: Plan) -> tuple[Wish, ...]:
    """What the controller has to send from its bundle before the plan can be carried out."""
    source, identity = source_of(request), plan.identity
    sent = request.delivery is not None and request.delivery.delivered
    if sent or not (plan.build and identity and _closed(request)) or SourceCache(store.sources).has(source, identity):
        return ()
    if request.delivery is None:
        raise UserError(
            f"offline: {source.label} ({identity.digest}) is not in {store.sources}, so it can't be built; "
            "run this once without offline, or bring it in a bundle"
        )
    return (Wish(identity.digest, source.label),)


def _closed(request: Request) -> bool:
    """Whether the sources are somewhere that must not be asked."""
    return request.offline and source_of(request).remote


def _unknown_offline(source: Source) -> UserError:
    what = f"version: what {source.version!r} is" if source.kind == "git" else f"sha256: that of {source.label}"
    return UserError(f"source.{what} can't be asked for offline; write a lock (playbooks/lock.yml), or give the exact commit or sha256")


def _check_request(request: Request) -> None:
    """Refuse what can't work, whatever is on the host."""
    if request.prebuilt and request.cmake_options:
        raise UserError(
            f"cmake_options: {source_of(request).label} is not compiled here, so it has no effect; leave it out, or build from source"
        )
    if request.backend != "cuda":
        return
    if not request.prebuilt and not request.cuda_root and not request.cuda_version:
        raise UserError("cuda_root: tell where the CUDA toolkit is, such as /usr/local/cuda-13.0")
    architectures = request.architectures
    if request.toolkit and not request.prebuilt:
        check_toolkit(architectures, request.toolkit, None)


def _toolchain_is_known(request: Request) -> bool:
    if request.prebuilt:
        return True
    return not compilers_missing(request.options) and (request.backend != "cuda" or request.toolkit is not None)


def _ask_toolchain(request: Request) -> Toolchain:
    toolchain = ask_toolchain(request.options, request.toolkit)
    if toolchain.toolkit and toolchain.cuda_host_compiler:
        compiler = parse_host_compiler_version(toolchain.cuda_host_compiler)
        check_toolkit(request.architectures, toolchain.toolkit, compiler, _cmake_version(request))
    return toolchain


def _cmake_version(request: Request) -> Version | None:
    """Asked for only where it matters."""
    cmake = CMAKE.find() if needs_families(request.architectures) else None
    return parse_cmake_version(run([cmake, "--version"]).stdout) if cmake else None


def _hindrances(request: Request) -> Iterator[str]:
    """What would keep this host from building now; it may still be installed before that."""
    if absent := missing_tools(request):
        yield missing_tools_message(absent)
    if reason := toolkit_unfit(request):
        yield reason


def toolkit_unfit(request: Request) -> str | None:
    """Why llama.cpp can't be compiled with the CUDA toolkit that is there."""
    if request.backend != "cuda" or request.prebuilt:
        return None
    if not request.cuda_root:
        return "cuda_root: tell where the CUDA toolkit is that llama.cpp is to be built with, such as /usr/local/cuda-13.0"
    root = Path(request.cuda_root)
    there = toolkit_version(root)
    if there is None:
        return f"cuda_root: there is no CUDA toolkit in {root}; install it (the role cuda_toolkit does), or give the directory of one"
    if there != request.toolkit:
        return f"cuda_version: the CUDA toolkit in {root} is {there}, not {request.toolkit}; install that one, or give the directory of one"
    absent = missing_pieces(root)
    if absent:
        return (
            f"cuda_root: the CUDA toolkit in {root} is not complete, missing: {', '.join(absent)}; "
            "install all of it (the role cuda_toolkit does), or give the directory of one that is"
        )
    return None


def missing_tools(request: Request) -> list[Tool]:
    fetching = [] if _closed(request) else source_of(request).tools
    if request.prebuilt:
        return missing(fetching)
    wanted = [CMAKE, MAKE, *fetching, *([CCACHE] if request.ccache else [])]
    return [*compilers_missing(request.options), *missing(wanted)]


def source_of(request: Request) -> Source:
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
