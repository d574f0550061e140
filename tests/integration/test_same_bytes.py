# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One description, two hosts: what is built at another time, in other directories and with a toolkit elsewhere is the same to the byte."""

from __future__ import annotations

import hashlib
import pathlib
import re
import typing as t

import pytest

from . import cuda_release
from .conftest import CUDA_PREFIX, SNAPSHOT
from .gpu_hosts import gpu_host


class Place(t.NamedTuple):
    """Where a host keeps its things."""

    host: str
    prefix: str
    toolkits: str
    archive: str


class Build(t.NamedTuple):
    place: Place
    result: dict[str, t.Any]
    sums: dict[str, str]
    """Of the files in the release, as the host's own sha256sum counts them."""
    compiled_at: float


HERE = Place("bytes-here", "/opt/llama.cpp", "/opt/cuda", "/opt/served.tar.gz")
THERE = Place("bytes-there", "/srv/other/and/deeper/llama.cpp", "/srv/toolkits/of-nvidia", "/srv/another-name.tar.gz")


def build(place: Place, packed: bytes) -> Build:
    with gpu_host(place.host, snapshot=SNAPSHOT, binds=[f"{CUDA_PREFIX}:{place.toolkits}"]) as host:
        host.put(place.archive, packed)
        run = host.play(
            "site.yml",
            {
                "nvidia_driver_gpus": [{"name": "NVIDIA A10"}],
                "cuda_toolkit_prefix": place.toolkits,
                "llama_cpp_prefix": place.prefix,
                "llama_cpp_backend": "cuda",
                "llama_cpp_source": {"kind": "archive", "path": place.archive, "sha256": hashlib.sha256(packed).hexdigest()},
                "llama_cpp_targets": cuda_release.TARGETS,
            },
        )
        assert run.rc == 0, run.output
        result = run.task("Build and activate llama.cpp").result
        listed = host.run("sh", "-c", f"'cd {result['bin_dir']} && find -type f -printf \"%P\\0\" | xargs -0 sha256sum --'")
        sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in listed.splitlines())}
        compiled_at = float(host.run("stat", "--format=%.Y", f"{result['bin_dir']}/libggml-cuda.so"))
    return Build(place, result, sums, compiled_at)


@pytest.fixture(scope="module")
def builds(llama_server: str, cuda_root: pathlib.Path) -> list[Build]:
    """The same source for the same GPU on two hosts without one, one after the other."""
    packed = cuda_release.archive(pathlib.Path(llama_server).parent)
    return [build(place, packed) for place in (HERE, THERE)]


def test_both_were_compiled_and_not_copied(builds: list[Build]) -> None:
    for build in builds:
        assert build.result["rebuilt"], build.result
        assert build.result["bin_dir"].startswith(f"{build.place.prefix}/releases/")
        assert build.result["manifest"]["inputs"]["cuda_architectures"] == ["86-real"]
    assert builds[1].compiled_at - builds[0].compiled_at > 1  # so that a time in the bytes, in seconds, would show


def test_the_keys_are_the_same(builds: list[Build]) -> None:
    here, there = (build.result for build in builds)
    assert re.fullmatch("[0-9a-f]+", here["build_key"])
    assert here["build_key"] == there["build_key"]
    assert here["manifest"]["inputs"] == there["manifest"]["inputs"]


def test_the_programs_and_libraries_are_the_same_to_the_byte(builds: list[Build]) -> None:
    here, there = (build.result["manifest"]["files"] for build in builds)
    assert {"llama-server", "llama-server-built", "libggml-cuda.so"} <= set(here)
    assert here == there
    for build in builds:
        assert build.sums == build.result["manifest"]["files"]
