# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Range hosts for the benchmarks: the CPU quickstart, and the same service on a simulated A10; from the snapshot of `make molecule`."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.baremetal.llm.tests.integration import cuda_release
from ansible_collections.baremetal.llm.tests.integration.deployment import RANGE, ROOT, Run
from ansible_collections.baremetal.llm.tests.integration.gpu_hosts import GpuHost, gpu_host

SNAPSHOT = "converged"
DRIVER = "580.126.09"
ARCHIVE = "/opt/served.tar.gz"
# What llama-server holds on the GPU of the simulation, by the names that the kernel gives its processes.
PROGRAMS = {"llama-server": 812, "llama-server-built"[:15]: 812}


class Served(t.NamedTuple):
    """A host and the variables that it was converged with."""

    host: GpuHost
    wanted: dict[str, t.Any]

    def must(self, playbook: str = "site.yml", **more: t.Any) -> Run:
        """Run a playbook that must succeed."""
        run = self.host.play(playbook, {**self.wanted, **more})
        if run.rc:
            sys.exit(f"{playbook} failed on {self.host.name}:\n{run.output}")
        return run


def backend_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=["cpu", "cuda"],
        default="cuda",
        help="what the GPU host builds: a kernel for the A10, with a toolkit that it downloads (default), or what the CPU host has",
    )


@contextlib.contextmanager
def on_cpu(name: str) -> t.Iterator[Served]:
    with gpu_host(name, driver="none", snapshot=SNAPSHOT) as host:
        served = Served(host, {})
        served.must()
        yield served


@contextlib.contextmanager
def on_a10(name: str, backend: str) -> t.Iterator[Served]:
    with gpu_host(name, "a10", driver=DRIVER, programs=PROGRAMS, snapshot=SNAPSHOT) as host:
        served = Served(host, {"nvidia_repository_manage": False, **(_release(host) if backend == "cuda" else {})})
        # The service as the quickstart has it, and a key of the inventory's own making.
        served.must()
        served.wanted["inference_services"] = [_service()]
        served.must()
        yield served


def _service() -> dict[str, t.Any]:
    return {
        "name": "tiny",
        "model": {"file": "/var/lib/inference/models/quickstart-tiny.gguf"},
        "host": "0.0.0.0",
        "port": 8080,
        "api_key": (ROOT / ".cache" / "quickstart" / "api-key").read_text(encoding="utf-8").strip(),
        "options": {"ctx_size": 2048, "parallel": 2},
        "gpus": [0],
    }


def _release(host: GpuHost) -> dict[str, t.Any]:
    """One for the A10, of the binaries that are on the host already."""
    with tempfile.TemporaryDirectory() as directory:
        pack = [RANGE, "ssh", host.name, "--", "tar", "-C", "/opt/llama.cpp/current", "-cf", "-", "bin"]
        packed = subprocess.run(pack, stdout=subprocess.PIPE, check=True, timeout=120).stdout
        subprocess.run(["tar", "-C", directory, "-xf", "-"], input=packed, check=True, timeout=120)
        content = cuda_release.archive(Path(directory, "bin"))
    host.put(ARCHIVE, content)
    return {
        "llama_cpp_backend": "cuda",
        "llama_cpp_source": {"kind": "archive", "path": ARCHIVE, "sha256": hashlib.sha256(content).hexdigest()},
        "llama_cpp_targets": cuda_release.TARGETS,
    }
