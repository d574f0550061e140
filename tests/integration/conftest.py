"""Hosts for the integration tests: booted from the snapshot that the quickstart scenario leaves, so nothing is compiled twice."""

from __future__ import annotations

import contextlib
import json
import subprocess
import typing as t
from pathlib import Path

import pytest

from .cuda import TOOLKIT, Toolkits
from .deployment import RANGE, Deployment

SNAPSHOT = "converged"
# Kept from one run to the next: it takes 780 MiB and 504 MiB to download.
CUDA_PREFIX = Path(__file__).resolve().parents[2] / ".cache" / "cuda"


@contextlib.contextmanager
def booted(name: str) -> t.Iterator[None]:
    subprocess.run([RANGE, "up", name, "--from", SNAPSHOT], check=True, timeout=300)
    try:
        yield
    finally:
        subprocess.run([RANGE, "down", name], check=True, timeout=120)


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Deployment]:
    """A converged quickstart host of this test module's own."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    directory = tmp_path_factory.mktemp(name)
    with booted(name):
        hosts = json.loads(subprocess.check_output([RANGE, "list", "--json"], text=True))
        inventory = subprocess.check_output([RANGE, "inventory", f"quickstart={name}"], text=True)
        (directory / "range.yml").write_text(inventory, encoding="utf-8")
        deployment = Deployment(name, next(host["address"] for host in hosts if host["name"] == name), directory)
        # The snapshot may be that of another clone, with another API key.
        converged = deployment.play()
        assert converged.rc == 0, converged.output
        yield deployment


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The release that was built on the host, brought to this machine."""
    directory = tmp_path_factory.mktemp("release")
    name = f"release-{worker_id}"
    pack = [RANGE, "ssh", name, "--", "tar", "-C", "/opt/llama.cpp/current", "-cf", "-", "bin"]
    with booted(name), subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        subprocess.run(["tar", "-C", str(directory), "-xf", "-"], stdin=packing.stdout, check=True, timeout=120)
    return str(directory / "bin" / "llama-server")


@pytest.fixture(scope="session")
def cuda_root() -> Path:
    """A CUDA toolkit to compile with, installed by cuda_toolkit as on a host."""
    installed = Toolkits(CUDA_PREFIX).run(version=TOOLKIT)
    assert not installed.get("failed"), installed
    return Path(installed["root"])
