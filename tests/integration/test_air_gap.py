# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without a route out: llama.cpp and a model come from a bundle that was packed on this machine."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import typing as t
import urllib.request
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Repository
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub

from .deployment import ROOT, Deployment, Run

MODEL = ROOT / ".cache" / "quickstart" / "quickstart-tiny.gguf"
REACH = """\
import sys, urllib.request
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5)
"""


@dataclasses.dataclass
class AirGap:
    host: Deployment
    hub: Hub
    bundle: Path
    lock: Path
    key: str
    """The build key of the release that was built with a network."""

    def commit(self, name: str) -> str:
        """The model under another name: a commit of its own."""
        return self.hub.by_name["acme/tiny"].commit({name: MODEL, "README.md": b"# tiny\n"})

    def pack(self, *flags: str, **variables: t.Any) -> Run:
        locked = self.play("playbooks/lock.yml", inference_lock_update=True)
        assert locked.rc == 0, locked.output
        return self.play("playbooks/bundle.yml", *flags, **variables)

    def play(self, playbook: str, *flags: str, **variables: t.Any) -> Run:
        everywhere = {"inference_bundle": str(self.bundle), "inference_lock_file": str(self.lock), "inference_require_lock": True}
        return self.host.play(playbook, {**everywhere, **variables}, *flags)

    def deploy(self, *flags: str, **variables: t.Any) -> Run:
        return self.play("site.yml", *flags, inference_offline=True, **variables)

    def healthy(self) -> bool:
        with urllib.request.urlopen(f"http://{self.host.address}:8080/health", timeout=10) as response:
            return bool(json.load(response)["status"] == "ok")


@pytest.fixture(scope="module")
def air_gap(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[AirGap]:
    key = Path(deployment.run("readlink", "/opt/llama.cpp/current").strip()).name
    directory = tmp_path_factory.mktemp("bundle")
    with Hub([Repository("acme/tiny")]) as hub:
        gap = AirGap(deployment, hub, directory / "bundle", directory / "deploy.lock.yml", key)
        variables = {
            "models_local_files": [],
            "models_hub_endpoint": hub.endpoint,
            "inference_services": [
                {
                    "name": "tiny",
                    "model": {"repo_id": "acme/tiny", "file": "tiny.gguf"},
                    "host": "0.0.0.0",
                    "port": 8080,
                    "options": {"ctx_size": 2048, "parallel": 2},
                }
            ],
        }
        (deployment.directory / "group_vars").mkdir()
        (deployment.directory / "group_vars" / "all.yml").write_text(json.dumps(variables))
        gap.commit("tiny.gguf")
        packed = gap.pack()
        assert packed.rc == 0, packed.output
        deployment.run("systemctl", "stop", "inference-tiny")
        deployment.run("rm", "-rf", *(f"/opt/llama.cpp/{name}" for name in ("releases", "current", "history.json", "sources")))
        deployment.run("ip", "route", "delete", "default")
        yield gap


def test_nothing_is_within_reach(air_gap: AirGap) -> None:
    """So that what follows proves something."""
    assert air_gap.host.run("ip", "route", "show", "default") == ""
    air_gap.host.put("/root/reach.py", REACH.encode())
    for url in (air_gap.hub.endpoint, "https://huggingface.co"):
        assert "URLError" in air_gap.host.run("python3", "/root/reach.py", url, check=False), url
    assert "No matching distribution" in air_gap.host.run(
        *("python3", "-m", "pip", "download", "--retries=0", "--timeout=3", "--no-deps", "--dest=/tmp", "filelock"), check=False
    )


def test_the_bundle_is_whole_and_packed_once(air_gap: AirGap) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=air_gap.bundle, check=True)
    again = air_gap.play("playbooks/bundle.yml")
    assert again.rc == 0 and again.changed == [], again.output


def test_deployed_from_the_bundle_alone(air_gap: AirGap) -> None:
    asked = len(air_gap.hub.requests)
    run = air_gap.deploy()
    assert run.rc == 0, run.output
    built = run.task("Build and activate llama.cpp")
    assert built.result["rebuilt"] and built.result["build_key"] == air_gap.key, "the same key as with a network"
    assert "send llama-cpp-python" in run.output and "send tiny.gguf of acme/tiny" in run.output
    assert air_gap.healthy() and len(air_gap.hub.requests) == asked
    assert air_gap.host.run("find", "/opt/llama.cpp", "/var/lib/inference", "-name", "'*.partial'") == ""

    again = air_gap.deploy()
    assert again.rc == 0 and again.changed == [], again.output
    away = air_gap.bundle.rename(air_gap.bundle.with_name("away"))
    assert air_gap.deploy().rc == 0, "what is there is not looked for in the bundle"
    away.rename(air_gap.bundle)


def test_a_damaged_bundle_is_refused_and_the_service_stays(air_gap: AirGap) -> None:
    commit = air_gap.commit("tiny.gguf")
    packed = air_gap.pack()
    assert packed.rc == 0, packed.output
    place = air_gap.bundle / "models" / "acme" / "tiny" / commit / "tiny.gguf"
    air_gap.host.run("rm", "-rf", "/var/lib/inference/hub/models--acme--tiny/blobs", "/var/lib/inference/hub/models--acme--tiny/snapshots")
    content = MODEL.read_bytes()
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # not in the header, which the plan reads
    before = air_gap.host.state()
    refused = air_gap.deploy()
    assert refused.rc != 0 and f"{place} is damaged" in refused.failure and air_gap.host.state() == before and air_gap.healthy()
    place.unlink()
    refused = air_gap.deploy("--check")
    assert refused.rc != 0 and "does not hold tiny.gguf of acme/tiny" in refused.failure and air_gap.healthy()
    place.write_bytes(content)


def test_debian_packages_are_named_and_not_fetched(air_gap: AirGap) -> None:
    other = {"llama_cpp_cmake_options": {"GGML_AVX512": False}, "llama_cpp_build_packages": ["cmake", "fortune-mod"]}
    refused = air_gap.deploy(**other)
    assert refused.rc != 0 and "not installed: fortune-mod; with inference_offline" in refused.failure and air_gap.healthy()
