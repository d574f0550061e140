# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels that a CUDA toolkit is made of, and how pip brings them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed, without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_wheels import WHEELS
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._pip import hash_mismatch, index_unreachable, not_offered

# Which C libraries the wheels of another machine may be for: all that there have been. Theirs is older than any supported host.
_GLIBC_MINORS = range(5, 51)


class Wheel(NamedTuple):
    package: str
    version: str
    sha256: str
    size: int


def wheels_of(version: str, machine: str) -> tuple[Wheel, ...]:
    """The wheels of a toolkit, or an error that says which toolkits there are."""
    if version not in WHEELS:
        raise UserError(
            f"version: {version!r} is no toolkit that the Python package index has for this module; there are {', '.join(WHEELS)}. "
            "CUDA 12 and others come from NVIDIA's own repository: with role cuda_toolkit, set cuda_toolkit_source: apt"
        )
    machines = WHEELS[version]
    if machine not in machines:
        raise UserError(
            f"version: there is no CUDA {version} on the Python package index for {machine}, only for {' and '.join(machines)}; "
            "with role cuda_toolkit, set cuda_toolkit_source: existing and cuda_toolkit_root to a toolkit of your own"
        )
    return tuple(Wheel(*wheel) for wheel in machines[machine])


def requirements(wheels: Sequence[Wheel]) -> str:
    """For pip: these files and no others."""
    return "".join(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels)


def download(
    wheels: Sequence[Wheel], into: Path, work: Path, job: Job, what: str, *, no_space: str, machine: str | None = None
) -> list[Path]:
    """The wheels, found as pip is configured to find packages, each verified against its checksum.

    They are for the machine that this runs on, or for another ``machine``. ``no_space`` is what to say when the disk is full.
    """
    wanted = work / "requirements.txt"
    wanted.write_text(requirements(wheels), encoding="utf-8")
    total = sum(wheel.size for wheel in wheels)
    job.progress.step(f"fetch {what}", total=total, unit="bytes")

    def show() -> None:
        # pip itself says nothing between the beginning and the end of a file.
        job.progress.advance(min(_fetched(into, work), total))

    # pip's cache would only be a second copy of what is never fetched again; older ones hold a whole file in memory for it.
    argv = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar=off"]
    argv += ["--retries=2", "--no-deps", "--only-binary=:all:", "--require-hashes", f"--dest={into}", f"--requirement={wanted}"]
    argv += [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS] if machine else []
    done = job.run(argv, env={"TMPDIR": str(work / "tmp")}, on_beat=show)
    if done.rc != 0:
        raise pip_error(what, no_space, done)
    return [next(into.glob(f"{wheel.package.replace('-', '_')}-{wheel.version}-*.whl")) for wheel in wheels]


def _fetched(*directories: Path) -> int:
    """How much of the wheels is there by now. pip moves a file by copying it, so one can be there twice for a moment."""
    sizes: dict[str, int] = {}
    for top in directories:
        # Unlike Path.rglob, os.walk does not mind that pip removes its directories meanwhile.
        for directory, _subdirectories, names in os.walk(top):
            for name in (name for name in names if name.endswith(".whl")):
                with contextlib.suppress(FileNotFoundError):
                    sizes[name] = max(os.stat(f"{directory}/{name}").st_size, sizes.get(name, 0))
    return sum(sizes.values())


def pip_error(what: str, no_space: str, failed: Completed) -> UserError:
    output = failed.stdout
    details = {**failed.details(), "stdout": without_credentials("\n".join(output.splitlines()[-10:]))}
    index = "the package index that pip on this host is configured for"
    if os.strerror(errno.ENOSPC) in output:
        return UserError(no_space, **details)
    if mismatch := hash_mismatch(output):
        package, expected, got = mismatch
        return UserError(
            f"version: {index} gave another file for {package} than {what} is made of (sha256 {got}, not {expected}), so "
            "nothing of it was used; run this again, and if it stays so find out who changed the file on the way",
            **details,
        )
    if index_unreachable(output):
        return UserError(f"{index} can't be reached, so {what} can't be fetched; check the network and `pip config list` there", **details)
    if absent := not_offered(output):
        return UserError(
            f"version: {index} has no {absent}, of which {what} is made; complete the mirror, "
            f"or take another version ({', '.join(WHEELS)})",
            **details,
        )
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "it said nothing")
    return UserError(f"pip can't fetch {what}: {without_credentials(last)}", **details)
