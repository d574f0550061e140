# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into a release, and the proof that it does what it was made for.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Architecture
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_build import embedded_code
from ansible_collections.baremetal.llm.plugins.module_utils._elf import DamagedElfError, mapped
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._fatbin import embedded_architectures
from ansible_collections.baremetal.llm.plugins.module_utils._files import sha256_of
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._ninja import first_error
from ansible_collections.baremetal.llm.plugins.module_utils._runtime_libraries import DRIVER_LIBRARY

SERVER = "llama-server"

_LOADED_DRIVER = Path("/proc/driver/nvidia/version")
_DEVICES = Path("/dev")


def stage(built: Path, targets: Sequence[str], staged: Path) -> None:
    """Copy the programs and the shared libraries, links as links."""
    absent = [target for target in targets if not (built / target).is_file()]
    if absent:
        raise UserError(f"targets: {', '.join(absent)} built no program of that name; name programs, such as {SERVER}")
    staged.mkdir(parents=True)
    for path in sorted({built / target for target in targets} | set(built.glob("*.so*"))):
        shutil.copy2(path, staged / path.name, follow_symlinks=False)


def checksums(staged: Path) -> dict[str, str]:
    """The sha256 of each file."""
    return {path.name: sha256_of(path) for path in own_files(staged)}


def own_files(staged: Path) -> list[Path]:
    return [path for path in sorted(staged.iterdir()) if not path.is_symlink()]


def prove_start(binaries: Path, job: Job, environment: Mapping[str, str]) -> None:
    """The server must at least start from where it now lies, without the build tree."""
    if not (binaries / SERVER).is_file():
        return
    proof = job.run([str(binaries / SERVER), "--version"], env=environment)
    if proof.rc != 0:
        said = first_error(proof.stdout.splitlines()) or "it said nothing"
        if DRIVER_LIBRARY in said:
            said += "; it comes with the NVIDIA driver: install that first, or give a cuda_root, which has something that stands in for it"
        raise UserError(f"the new {SERVER} does not start: {said}", **proof.details())


def prove_architectures(files: Iterable[Path], asked: Sequence[Architecture], *, exactly: bool) -> None:
    """The programs must hold the CUDA code that was asked for, and if ``exactly``, no other."""
    wanted, found = embedded_code(asked), embedded_in(files)
    if not wanted <= found or (exactly and wanted != found):
        raise UserError(
            f"cuda_architectures: the new programs hold code for {_list(found) or 'no GPU at all'}, but {_list(wanted)} was asked for"
        )


def embedded_in(files: Iterable[Path]) -> set[Architecture]:
    found = set()
    for file in files:
        try:
            with mapped(file) as data:
                found |= embedded_architectures(data) if data is not None else set()
        except DamagedElfError as error:
            raise UserError(f"{file.name} is damaged: {error}", path=str(file)) from error
    return found


def prove_device(binaries: Path, job: Job) -> None:
    """Where there is a GPU with its driver, the server must see it: without one it would serve from the CPU, and say nothing."""
    if not ((binaries / SERVER).is_file() and has_working_driver()):
        return
    asked = job.run([str(binaries / SERVER), "--list-devices"])
    if asked.rc != 0 or not lists_cuda_device(asked.stdout):
        said = first_error(line for line in asked.stdout.splitlines() if "Available devices" not in line) or "it said nothing"
        raise UserError(
            f"the new {SERVER} sees no CUDA device, though this host has an NVIDIA driver: {said.strip()}; "
            "look at what nvidia-smi says, and reboot if the driver was changed since the last start",
            **asked.details(),
        )


def has_working_driver() -> bool:
    return _LOADED_DRIVER.is_file() and any(re.fullmatch(r"nvidia\d+", device.name) for device in _DEVICES.glob("nvidia*"))


def lists_cuda_device(output: str) -> bool:
    """From the output of ``--list-devices``."""
    return re.search(r"^\s+CUDA\d+: ", output, re.MULTILINE) is not None


def _list(architectures: Iterable[Architecture]) -> str:
    return ";".join(str(architecture) for architecture in sorted(architectures))
