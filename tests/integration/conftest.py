"""Hosts for the integration tests: booted from the snapshot that the quickstart scenario leaves, so nothing is compiled twice."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest

from .deployment import RANGE, Deployment

SNAPSHOT = "converged"


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Deployment]:
    """A converged quickstart host of this test module's own."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    subprocess.run([RANGE, "up", name, "--from", SNAPSHOT], check=True, timeout=300)
    try:
        hosts = json.loads(subprocess.check_output([RANGE, "list", "--json"], text=True))
        address = next(host["address"] for host in hosts if host["name"] == name)
        directory = tmp_path_factory.mktemp(name)
        inventory = subprocess.check_output([RANGE, "inventory", f"quickstart={name}"], text=True)
        pathlib.Path(directory / "range.yml").write_text(inventory, encoding="utf-8")
        yield Deployment(name, address, directory)
    finally:
        subprocess.run([RANGE, "down", name], check=True, timeout=120)
