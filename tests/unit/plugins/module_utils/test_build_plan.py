# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _build_plan
from ansible_collections.baremetal.llm.plugins.module_utils._build_plan import Request, asks_for, make_plan, toolkit_unfit
from ansible_collections.baremetal.llm.plugins.module_utils._delivery import Delivery
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._release_store import ReleaseStore
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import CXX_COMPILER, Toolchain

GCC_12 = "c++ (Debian 12.2.0-14+deb12u1) 12.2.0"
TOOLCHAIN = Toolchain("/cc", "/c++", "cc 12", GCC_12, "x86_64", "glibc 2.36", "3.0", "-march=x", None)


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the host's C++ compiler says; empty where there is none."""
    said = [GCC_12]

    def ask(_options: object, toolkit: str | None) -> Toolchain:
        return replace(TOOLCHAIN, toolkit=toolkit, cuda_host_path="/c++", cuda_host_compiler=said[0]) if toolkit else TOOLCHAIN

    monkeypatch.setattr(_build_plan, "ask_toolchain", ask)
    monkeypatch.setattr(_build_plan, "compilers_missing", lambda _options: [] if said else [CXX_COMPILER])
    return said


def cuda(tmp_path: Path, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "prefix": tmp_path / "opt" / "llama.cpp",
        "source": Source("archive", path="/a.tar", sha256="a" * 64),
        "backend": "cuda",
        "cuda_architectures": ("86-real",),
        "cuda_root": str(tmp_path / "cuda"),
        **changes,
    }
    return Request(**fields)


def toolkit(tmp_path: Path, version: str) -> None:
    (tmp_path / "cuda" / "bin").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cuda" / "bin" / "nvcc").touch()
    (tmp_path / "cuda" / "version.json").write_text(f'{{"cuda": {{"version": "{version}"}}}}')


def plan(request: Request) -> Any:
    return make_plan(request, ReleaseStore(request.prefix))


def installed(request: Request) -> ReleaseStore:
    """A store with the release that ``request`` describes."""
    store, planned = ReleaseStore(request.prefix), plan(request)
    staged = request.prefix / "staged"
    (staged / "bin").mkdir(parents=True)
    store.add(planned.key, staged, {"build_key": planned.key, "origin": "/a.tar", "inputs": dict(planned.inputs), "files": {}})
    store.activate(planned.key)
    return store


@pytest.mark.usefixtures("compilers")
def test_key_is_the_same_before_the_toolkit_is_there(tmp_path: Path) -> None:
    before = plan(cuda(tmp_path, cuda_version="13.0.3"))
    assert before.key and before.inputs["toolkit"] == "13.0.3" and "there is no CUDA toolkit in" in before.warnings[0]
    toolkit(tmp_path, "13.0.3")
    assert plan(cuda(tmp_path, cuda_version="13.0.3")).key == plan(cuda(tmp_path)).key == before.key
    # Where it lies can't change the binary.
    assert plan(cuda(tmp_path, cuda_root="/elsewhere", cuda_version="13.0.3")).key == before.key
    # No toolkit is missed for a release that is there.
    store = installed(cuda(tmp_path))
    again = make_plan(cuda(tmp_path, cuda_root=None, cuda_version="13.0.3"), store)
    assert not again.changed and again.reasons == ()


@pytest.mark.usefixtures("compilers")
def test_another_toolkit_is_the_reason(tmp_path: Path) -> None:
    toolkit(tmp_path, "13.0.3")
    store = installed(cuda(tmp_path))
    toolkit(tmp_path, "13.1.2")
    new = make_plan(cuda(tmp_path), store)
    assert new.build and new.reasons == ("toolkit: 13.0.3 -> 13.1.2",)


@pytest.mark.usefixtures("compilers")
def test_other_architectures_are_the_reason(tmp_path: Path) -> None:
    store = installed(cuda(tmp_path, cuda_version="13.0.3"))
    same = cuda(tmp_path, cuda_version="13.0.3", cuda_architectures=("86-real", " 86-real"))
    assert not make_plan(same, store).changed
    new = make_plan(cuda(tmp_path, cuda_version="13.0.3", cuda_architectures=("86-real", "120-real")), store)
    assert new.reasons == ("cuda_architectures: 86-real -> 120a-real 86-real",)


@pytest.mark.usefixtures("compilers")
def test_nothing_is_known_without_toolkit_and_version(tmp_path: Path) -> None:
    unknown = plan(cuda(tmp_path))
    assert unknown.key is None and unknown.build and unknown.reasons == ("no release is installed",)
    assert unknown.warnings == (
        *(
            f"cuda_root: there is no CUDA toolkit in {tmp_path}/cuda; install it (the role cuda_toolkit does), or give the directory of one",
        ),
    )


def test_toolkit_that_nothing_can_be_built_with(tmp_path: Path) -> None:
    toolkit(tmp_path, "13.1.2")
    message = toolkit_unfit(cuda(tmp_path, cuda_version="13.0.3"))
    assert message and message.startswith(f"cuda_version: the CUDA toolkit in {tmp_path}/cuda is 13.1.2, not 13.0.3; install that one")
    message = toolkit_unfit(cuda(tmp_path))
    assert message and "is not complete, missing: nvvm/bin/cicc, include/crt/host_config.h" in message
    message = toolkit_unfit(cuda(tmp_path, cuda_root=None, cuda_version="13.0.3"))
    assert message and message.startswith("cuda_root: tell where the CUDA toolkit is")
    assert toolkit_unfit(cuda(tmp_path, backend="cpu")) is None


@pytest.mark.parametrize(
    ("changes", "compiler", "message"),
    [
        ({"cuda_architectures": ()}, GCC_12, "cuda_architectures is empty"),
        ({"cuda_architectures": ("native",)}, "", "cuda_architectures has native"),
        ({"cuda_root": None}, GCC_12, "cuda_root: tell where the CUDA toolkit is, such as /usr/local/cuda-13.0"),
        (
            {"cuda_version": "12.2.2", "cuda_architectures": ("120a-real",)},
            "",
            "CUDA 12.2.2 doesn't know the GPU of compute capability 12.0",
        ),
        ({"cuda_version": "13.0.3"}, "g++ (GCC) 16.1.0", "gcc 16 is too new for CUDA 13.0.3"),
        ({"cuda_version": "13.0.3", "cmake_options": {"CMAKE_CUDA_ARCHITECTURES": "75"}}, GCC_12, "is what cuda_architectures says"),
    ],
)
def test_refused_before_anything_is_done(
    tmp_path: Path, compilers: list[str], changes: dict[str, Any], compiler: str, message: str
) -> None:
    compilers[:] = [compiler] if compiler else []
    with pytest.raises(UserError) as caught:
        plan(cuda(tmp_path, **changes))
    assert message in caught.value.msg
    assert list(tmp_path.iterdir()) == []


def test_prebuilt_needs_neither_compilers_nor_toolkit(tmp_path: Path, compilers: list[str]) -> None:
    compilers.clear()
    source = Source("prebuilt", path="/b.tar.gz", sha256="b" * 64)
    planned = plan(cuda(tmp_path, source=source, cuda_root=None))
    assert planned.key and planned.warnings == ()
    assert sorted(planned.inputs) == ["backend", "cmake_options", "cuda_architectures", "machine", "recipe", "source", "targets", "toolkit"]
    assert planned.inputs["toolkit"] is None and planned.inputs["cmake_options"] == {}
    # Its libraries may come from a toolkit.
    toolkit(tmp_path, "13.0.3")
    assert plan(cuda(tmp_path, source=source)).inputs["toolkit"] == "13.0.3"
    with pytest.raises(UserError, match=r"cmake_options: /b.tar.gz is not compiled here, so it has no effect; leave it out"):
        plan(cuda(tmp_path, source=source, cmake_options={"GGML_NATIVE": False}))


# --- offline ------------------------------------------------------------------------------------------------------------

PYPI = Source("pypi", version="0.3.36", sha256="a" * 64)
GIT = Source("git", repo="https://example.org/l.git", version="c" * 40)


def offline(tmp_path: Path, source: Source, **changes: Any) -> Request:
    return Request(prefix=tmp_path / "llama.cpp", source=source, offline=True, **changes)


@pytest.mark.usefixtures("compilers")
@pytest.mark.parametrize("source", [PYPI, GIT])
def test_sources_that_are_not_there_come_from_a_bundle_or_not_at_all(tmp_path: Path, source: Source) -> None:
    request = offline(tmp_path, source)
    store, planned = ReleaseStore(request.prefix), plan(request)
    assert planned.key == plan(replace(request, offline=False)).key, "the same release, wherever its sources come from"
    with pytest.raises(UserError, match=r"offline: .* is not in .*/sources, so it can't be built"):
        asks_for(request, store, planned)
    bundled = replace(request, delivery=Delivery())
    assert [wish.digest for wish in asks_for(bundled, store, planned)] == [planned.identity.digest]
    assert asks_for(replace(request, delivery=Delivery(("d" * 64,))), store, planned) == ()
    installed(request)
    assert asks_for(request, store, plan(request)) == (), "what is built needs no sources"


@pytest.mark.usefixtures("compilers")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source("git", repo="https://example.org/l.git", version="b9999"), "source.version: what 'b9999' is can't be asked for offline"),
        (Source("pypi", version="0.3.36"), "source.sha256: that of llama-cpp-python 0.3.36 can't be asked for offline"),
    ],
)
def test_what_is_not_settled_can_not_be_asked_for(tmp_path: Path, source: Source, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(offline(tmp_path, source, delivery=Delivery()))


@pytest.mark.usefixtures("compilers")
def test_what_a_host_holds_itself_needs_no_bundle(tmp_path: Path) -> None:
    request = offline(tmp_path, Source("archive", path="/a.tar", sha256="a" * 64))
    assert plan(request).build and asks_for(request, ReleaseStore(request.prefix), plan(request)) == ()
