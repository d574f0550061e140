# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _staging
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_build import parse_architectures
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._staging import (
    checksums,
    lists_cuda_device,
    own_files,
    prove_architectures,
    prove_device,
    prove_start,
    stage,
)
from ansible_collections.baremetal.llm.tests.unit.plugins.elf_writer import elf, fatbin

ONE_DEVICE = "Available devices:\n  CUDA0: NVIDIA A10 (22502 MiB, 22245 MiB free)\n"
NO_DEVICE = "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected\nAvailable devices:\n  (none)\n"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(io.StringIO(), ProgressFile(tmp_path / "progress.json"))


def server(directory: Path, output: str, status: int = 0) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "llama-server").write_text(f"#!/bin/sh\ncat <<'END'\n{output}\n$LD_LIBRARY_PATH\nEND\nexit {status}\n")
    (directory / "llama-server").chmod(0o755)
    return directory


def test_staged_are_programs_and_libraries(tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    for name in ("llama-server", "llama-cli", "libggml.so.0.1"):
        (built / name).write_text(name)
    (built / "libggml.so").symlink_to("libggml.so.0.1")
    stage(built, ["llama-server"], tmp_path / "staged")
    assert sorted(os.listdir(tmp_path / "staged")) == ["libggml.so", "libggml.so.0.1", "llama-server"]
    assert sorted(checksums(tmp_path / "staged")) == ["libggml.so.0.1", "llama-server"]
    with pytest.raises(UserError, match="targets: llama-nothing built no program"):
        stage(built, ["llama-nothing"], tmp_path / "again")


@pytest.mark.parametrize(
    ("held", "asked", "exactly", "message"),
    [
        (["86-real"], ["86-real"], True, None),
        (["86-real", "120a-real"], ["120-real", "86-real"], True, None),
        (["86-real", "120a-real"], ["86-real"], False, None),
        (["86-real", "120a-real"], ["86-real"], True, "hold code for 86-real;120a-real, but 86-real was asked for"),
        (["86-real"], ["120a-real"], False, "hold code for 86-real, but 120a-real was asked for"),
        (["86-real"], ["86"], True, "hold code for 86-real, but 86-virtual;86-real was asked for"),
        ([], ["86-real"], False, "hold code for no GPU at all, but 86-real was asked for"),
    ],
)
def test_embedded_code(tmp_path: Path, held: list[str], asked: list[str], exactly: bool, message: str | None) -> None:
    (tmp_path / "llama-server").write_bytes(elf())
    for number, name in enumerate(held):
        (tmp_path / f"lib{number}.so").write_bytes(elf(fatbin=fatbin(name)))
    files, architectures = own_files(tmp_path), parse_architectures(asked)
    if message is None:
        prove_architectures(files, architectures, exactly=exactly)
        return
    with pytest.raises(UserError) as caught:
        prove_architectures(files, architectures, exactly=exactly)
    assert message in caught.value.msg


def test_damaged_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "libggml-cuda.so").write_bytes(elf(fatbin=b"x" * 64))
    with pytest.raises(UserError, match=r"libggml-cuda.so is damaged: its CUDA code at byte \d+ starts with 78787878"):
        prove_architectures(own_files(tmp_path), parse_architectures(["86-real"]), exactly=True)


def test_server_must_start(tmp_path: Path, job: Job) -> None:
    prove_start(tmp_path, job, {})  # a release without a server
    prove_start(server(tmp_path / "good", "version: 1"), job, {})
    with pytest.raises(UserError, match="the new llama-server does not start: version: 1"):
        prove_start(server(tmp_path / "bad", "version: 1", status=3), job, {})


@pytest.mark.parametrize(("output", "sees"), [(ONE_DEVICE, True), (NO_DEVICE, False), ("", False), ("CUDA0: is not in a list", False)])
def test_list_of_devices(output: str, sees: bool) -> None:
    assert lists_cuda_device(output) is sees


@pytest.fixture
def gpu_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a loaded driver and one GPU."""
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.126.09")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    monkeypatch.setattr(_staging, "_LOADED_DRIVER", tmp_path / "version")
    monkeypatch.setattr(_staging, "_DEVICES", tmp_path / "dev")
    return tmp_path


def test_server_must_see_the_gpu_that_is_there(gpu_host: Path, job: Job) -> None:
    prove_device(server(gpu_host / "good", ONE_DEVICE), job)
    blind = server(gpu_host / "blind", NO_DEVICE)
    with pytest.raises(
        UserError, match="sees no CUDA device, though this host has an NVIDIA driver: ggml_cuda_init: failed to initialize CUDA"
    ):
        prove_device(blind, job)
    (gpu_host / "dev" / "nvidia0").rename(gpu_host / "dev" / "nvidiactl")
    prove_device(blind, job)
    (gpu_host / "dev" / "nvidiactl").rename(gpu_host / "dev" / "nvidia1")
    (gpu_host / "version").unlink()
    prove_device(blind, job)
