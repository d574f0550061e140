# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA builds with NVIDIA's own nvcc: some objects of llama.cpp itself, and a miniature of it through llama_build; needs no range host."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cmake import Cuda, build_environment, configure_argv, effective_options
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_root import DRIVER_STUB
from ansible_collections.baremetal.llm.plugins.module_utils._files import sha256_of
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._source import Identity, SourceCache, fetch, parse_source, unpack_tree
from ansible_collections.baremetal.llm.plugins.module_utils._staging import embedded_in

from .miniature import Host, Result, make_archive, make_tree

LLAMA_CPP = parse_source(
    {"kind": "pypi", "version": "0.3.36", "sha256": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"}
)
SOURCES = Path(__file__).parents[2] / ".cache" / "sources"

ARCHITECTURES = {"A10": "86-real", "RTX 5090": "120a-real"}
GENCODE = {"86-real": "--generate-code=arch=compute_86,code=[sm_86]", "120a-real": "--generate-code=arch=compute_120a,code=[sm_120a]"}
# Quick ones, and one with the parts of CUB that name symbols after the path of the source.
OBJECTS = [f"ggml/src/ggml-cuda/CMakeFiles/ggml-cuda.dir/{name}.cu.o" for name in ("acc", "softcap", "cumsum")]


# --- llama.cpp itself ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("llama-cpp")
    cache, identity = SourceCache(SOURCES), Identity(LLAMA_CPP.sha256, LLAMA_CPP.subdirectory)
    SOURCES.mkdir(parents=True, exist_ok=True)
    fetch(LLAMA_CPP, identity, cache, directory, Job(io.StringIO(), ProgressFile(directory / "progress.json")))
    return unpack_tree(cache.archive(identity.digest), LLAMA_CPP, directory / "unpacked", lambda: None)


class Configured:
    """A build of llama.cpp as llama_build configures it."""

    def __init__(self, work: Path, tree: Path, cuda_root: Path, architecture: str) -> None:
        self.build = work / "build"
        (work / "driver").mkdir(parents=True)
        (work / "tmp").mkdir()
        shutil.copytree(tree, work / "source", symlinks=True)
        driver_library = work / "driver" / "libcuda.so.1"
        driver_library.symlink_to(cuda_root / DRIVER_STUB)
        self._environment = {**os.environ, **build_environment(work=work, ccache=work / "ccache")}
        self._run(
            configure_argv(
                source=work / "source",
                build=self.build,
                options=effective_options({"CMAKE_EXPORT_COMPILE_COMMANDS": True}, "cuda"),
                commit="0123456789ab",
                c_compiler="/usr/bin/cc",
                cxx_compiler="/usr/bin/c++",
                cuda=Cuda([architecture], cuda_root, "/usr/bin/c++", driver_library),
                make_program="/usr/bin/ninja",
                launcher=None,
            )
        )

    def commands(self) -> list[str]:
        """How each CUDA source is compiled."""
        entries = json.loads((self.build / "compile_commands.json").read_text())
        return [entry["command"] for entry in entries if entry["file"].endswith(".cu")]

    def compile(self, *objects: str) -> list[Path]:
        self._run(["ninja", "-C", str(self.build), *objects])
        return [self.build / name for name in objects]

    def _run(self, argv: list[str]) -> None:
        done = subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("gpu", ARCHITECTURES)
def test_llama_cpp_is_compiled_for_the_gpu_and_nothing_else(gpu: str, llama_cpp: Path, cuda_root: Path, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[gpu]
    configured = Configured(tmp_path / "work", llama_cpp, cuda_root, architecture)
    commands = configured.commands()
    assert len(commands) > 100
    for command in commands:
        assert [word for word in command.split() if "--generate-code" in word] == [GENCODE[architecture]]
        assert f"{cuda_root}/bin/nvcc" in command and "-ccbin=/usr/bin/c++" in command
    objects = configured.compile(*OBJECTS)
    for path in objects:
        assert [str(each) for each in embedded_in([path])] == [architecture]
    cuobjdump = shutil.which("cuobjdump")
    for path in objects if cuobjdump else []:
        listed = subprocess.run([str(cuobjdump), "--list-elf", path], capture_output=True, text=True, check=True).stdout
        assert f"sm_{architecture.removesuffix('-real')}.cubin" in listed


def test_llama_cpp_gives_the_same_bytes_in_another_directory(llama_cpp: Path, cuda_root: Path, tmp_path: Path) -> None:
    toolkit = tmp_path / "toolkit"
    shutil.copytree(cuda_root, toolkit, symlinks=True, copy_function=os.link)
    here = Configured(tmp_path / "a" / "work", llama_cpp, cuda_root, "86-real")
    there = Configured(tmp_path / "other" / "and" / "deeper" / "work", llama_cpp, toolkit, "86-real")
    for mine, theirs in zip(here.compile(OBJECTS[-1]), there.compile(OBJECTS[-1]), strict=True):
        assert mine.read_bytes() == theirs.read_bytes()


# --- a miniature, through the module ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("archive")
    return make_archive(make_tree(directory / "tree", cuda=True), directory / "miniature.tar.gz")


@pytest.fixture(scope="module")
def wanted(archive: dict[str, str], cuda_root: Path) -> dict[str, t.Any]:
    return {"source": archive, "backend": "cuda", "cuda_architectures": ["86-real", "120a-real"], "cuda_root": str(cuda_root)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, t.Any]) -> tuple[Host, Result]:
    """A prefix with one release for CUDA. Not to be changed."""
    host = Host(tmp_path_factory.mktemp("built"))
    done = host.run(**wanted)
    assert not done.failed, done["msg"]
    return host, done


@pytest.fixture
def toolkit(tmp_path: Path, cuda_root: Path) -> Path:
    """A toolkit of the test's own."""
    shutil.copytree(cuda_root, tmp_path / "toolkit", symlinks=True, copy_function=os.link)
    return tmp_path / "toolkit"


def another_version(toolkit: Path, version: str) -> None:
    told = json.loads((toolkit / "version.json").read_text())
    (toolkit / "version.json").unlink()  # it is a link to the original
    (toolkit / "version.json").write_text(json.dumps({**told, "cuda": {**told["cuda"], "version": version}}))


def test_release_has_all_that_it_needs_beside_it(built: tuple[Host, Result], cuda_root: Path) -> None:
    _host, done = built
    binaries = Path(done["bin_dir"])
    assert {"libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libggml-cuda.so"} <= set(os.listdir(binaries))
    assert not (binaries / "libcuda.so.1").exists()
    if os.stat(binaries).st_dev == os.stat(cuda_root).st_dev:
        assert (binaries / "libcublasLt.so.13").stat().st_nlink > 1
    assert {str(each) for each in embedded_in([binaries / "libggml-cuda.so"])} == {"86-real", "120a-real"}
    assert done["manifest"]["inputs"]["toolkit"] == json.loads((cuda_root / "version.json").read_text())["cuda"]["version"]


def test_nothing_to_do(built: tuple[Host, Result], wanted: dict[str, t.Any]) -> None:
    host, done = built
    version = done["manifest"]["inputs"]["toolkit"]
    for state in ("present", "planned"):
        again = host.run(state=state, **wanted)
        assert not again["changed"] and again["reasons"] == []
    # Without a toolkit, as long as it is known which one it would be.
    without = host.run(**{**wanted, "cuda_root": "/nonexistent", "cuda_version": version})
    assert not without.failed and not without["changed"]


def test_same_bytes_later_and_elsewhere_without_ccache(built: tuple[Host, Result], wanted: dict[str, t.Any], tmp_path: Path) -> None:
    there = Host(tmp_path / "other" / "and" / "deeper").run(ccache=False, **wanted)
    assert there["rebuilt"] and there["manifest"] == built[1]["manifest"]


def test_starts_after_the_toolkit_is_gone_and_another_one_is_a_reason(toolkit: Path, wanted: dict[str, t.Any], tmp_path: Path) -> None:
    host = Host(tmp_path)
    wanted = {**wanted, "cuda_root": str(toolkit)}
    done = host.run(**wanted)
    assert not done.failed, done["msg"]
    version = done["manifest"]["inputs"]["toolkit"]

    another_version(toolkit, "13.1.2")
    predicted = host.run(check=True, **wanted)
    assert predicted["rebuilt"] and predicted["reasons"] == [f"toolkit: {version} -> 13.1.2"]
    refused = host.run(cuda_version="13.0.1", **wanted)
    assert refused.failed and f"cuda_version: the CUDA toolkit in {toolkit} is 13.1.2, not 13.0.1" in refused["msg"]
    rebuilt = host.run(**wanted)
    assert rebuilt["rebuilt"] and rebuilt["build_key"] != done["build_key"]
    assert rebuilt["manifest"]["files"] == done["manifest"]["files"]  # it is the same toolkit after all

    stub = tmp_path / "driver"
    stub.mkdir()
    shutil.copyfile(toolkit / DRIVER_STUB, stub / "libcuda.so.1")
    shutil.rmtree(toolkit)
    for program in ("llama-server", "llama-bench"):
        started = subprocess.run(
            [Path(done["current"], "bin", program), "--version"],
            env={"LD_LIBRARY_PATH": str(stub)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert started.returncode == 0 and "commit" in started.stderr, started.stderr


def test_bad_input(built: tuple[Host, Result], wanted: dict[str, t.Any], toolkit: Path) -> None:
    host, _done = built
    before = host.releases(), host.current(), sorted(os.listdir(host.prefix)), sorted(os.listdir(host.prefix / "log"))
    for changes, message in (
        ({"cuda_architectures": []}, "cuda_architectures is empty"),
        ({"cuda_architectures": ["native"]}, "cuda_architectures has native, which can mean something else tomorrow"),
        ({"cuda_architectures": ["sm_86"]}, "cuda_architectures has 'sm_86', which is not the architecture of a known GPU"),
        ({"cuda_architectures": ["70-real"]}, "no longer builds for the GPU of compute capability 7.0"),
        ({"cuda_root": "/nonexistent", "cuda_version": "13.1.2"}, "cuda_root: there is no CUDA toolkit in /nonexistent"),
        ({"cuda_root": "/nonexistent"}, "cuda_root: there is no CUDA toolkit in /nonexistent"),
        ({"cuda_root": None}, "cuda_root: tell where the CUDA toolkit is"),
        ({"cmake_options": {"CMAKE_CUDA_HOST_COMPILER": "g++-99"}}, "CMAKE_CUDA_HOST_COMPILER is 'g++-99', which is not on this host"),
    ):
        refused = host.run(**{**wanted, **changes})
        assert refused.failed and message in refused["msg"], refused
    (toolkit / "lib64").resolve().joinpath("libcublas.so").unlink()
    (toolkit / "nvvm" / "bin" / "cicc").unlink()
    another_version(toolkit, "13.1.2")
    refused = host.run(**{**wanted, "cuda_root": str(toolkit)})
    assert refused.failed and f"in {toolkit} is not complete, missing: nvvm/bin/cicc, lib64/libcublas.so; install" in refused["msg"]
    assert (host.releases(), host.current(), sorted(os.listdir(host.prefix)), sorted(os.listdir(host.prefix / "log"))) == before


def test_other_code_than_was_asked_for_is_no_release(wanted: dict[str, t.Any], tmp_path: Path) -> None:
    # A tree that does not care for what it is asked.
    tree = make_tree(tmp_path / "tree", cuda=True)
    text = (tree / "CMakeLists.txt").read_text()
    (tree / "CMakeLists.txt").write_text(text.replace("enable_language(CUDA)", "set(CMAKE_CUDA_ARCHITECTURES 86)\nenable_language(CUDA)"))
    host = Host(tmp_path)
    refused = host.run(**{**wanted, "source": make_archive(tree, tmp_path / "tree.tar.gz")})
    assert refused.failed
    assert "hold code for 86-virtual;86-real, but 86-real;120a-real was asked for" in refused["msg"]
    assert host.releases() == []


# --- prebuilt -----------------------------------------------------------------------------------------------------------

TOOLKIT_LIBRARIES = ("libcudart", "libcublas")


def prebuilt(built: Result, archive: Path, *, leave_out: tuple[str, ...] = (), top: str = "llama-b12000/bin") -> dict[str, str]:
    """A release archive of the programs that were built, in a directory below its top."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(Path(built["bin_dir"]).iterdir()):
            if not path.name.startswith(leave_out or ("\0",)):
                tar.add(path, arcname=f"{top}/{path.name}")
    return {"kind": "prebuilt", "path": str(archive), "sha256": sha256_of(archive)}


# The module finds no compiler, no CMake and no pip.
NOTHING_IN_PATH = {"PATH": "/nonexistent"}


def test_prebuilt_release(built: tuple[Host, Result], cuda_root: Path, tmp_path: Path) -> None:
    source = prebuilt(built[1], tmp_path / "llama.tar.gz", leave_out=TOOLKIT_LIBRARIES)
    host = Host(tmp_path)
    wanted = {"source": source, "backend": "cuda", "cuda_architectures": ["86-real"], "cuda_root": str(cuda_root)}
    predicted = host.run(check=True, env=NOTHING_IN_PATH, **wanted)
    done = host.run(env=NOTHING_IN_PATH, **wanted)
    assert not done.failed, done["msg"]
    assert done["rebuilt"] and done["build_key"] == predicted["build_key"] == host.current()
    assert done["manifest"]["files"] == built[1]["manifest"]["files"]
    assert not {"c_compiler", "cxx_compiler", "cuda_host_compiler", "libc", "native"} & done["manifest"]["inputs"].keys()
    assert not host.run(env=NOTHING_IN_PATH, **wanted)["changed"]

    more = host.run(check=True, **{**wanted, "cuda_architectures": ["86-real", "120a-real"]})
    assert more["rebuilt"] and more["reasons"] == ["cuda_architectures: 86-real -> 120a-real 86-real"]
    lacking = host.run(**{**wanted, "cuda_architectures": ["86-real", "90-real"]})
    assert lacking.failed and "hold code for 86-real;120a-real, but 86-real;90-real was asked for" in lacking["msg"]
    assert host.current() == done["build_key"] and host.releases() == [done["build_key"]]


def test_prebuilt_without_its_libraries(built: tuple[Host, Result], tmp_path: Path) -> None:
    source = prebuilt(built[1], tmp_path / "llama.tar.gz", leave_out=TOOLKIT_LIBRARIES, top="llama")
    host = Host(tmp_path)
    refused = host.run(source=source, backend="cuda", cuda_architectures=["86-real"])
    assert refused.failed
    # The machine may have others of them, but the first one is in no Debian package.
    assert "llama.tar.gz needs libcublas.so.13" in refused["msg"]
    assert "which is neither in it nor on this host nor in a CUDA toolkit, for want of a cuda_root" in refused["msg"]
    wrong = host.run(source={**source, "sha256": "0" * 64}, backend="cuda", cuda_architectures=["86-real"])
    assert wrong.failed and "source.sha256" in wrong["msg"]
    assert host.releases() == []


def test_prebuilt_that_is_none(archive: dict[str, str], tmp_path: Path) -> None:
    refused = Host(tmp_path).run(source={**archive, "kind": "prebuilt"})
    assert refused.failed and "miniature.tar.gz holds no program llama-server" in refused["msg"]
    odd = Host(tmp_path / "odd").run(source={**archive, "kind": "prebuilt"}, cmake_options={"GGML_NATIVE": False})
    assert odd.failed and "is not compiled here, so it has no effect" in odd["msg"]
