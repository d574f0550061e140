# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver and toolkit from a mirror of NVIDIA's repository, on a host whose apt does not know it yet."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible_collections.baremetal.llm.tests.range.rangelib.gpu_packages import TOOLKIT

from .deployment import Run
from .gpu_hosts import GpuHost, gpu_host

DRIVER = "580.126.09"
SOURCES = "/etc/apt/sources.list.d"
WANTED: dict[str, t.Any] = {
    "llama_cpp_backend": "cuda",
    "nvidia_driver_version": DRIVER,
    "nvidia_repository_source": {"uris": "file:/srv/range-gpus/apt", "suites": "./", "trusted": True},
    "cuda_toolkit_source": "apt",
    "cuda_toolkit_version": TOOLKIT,
}
PLAYBOOK = [
    {
        "hosts": "all",
        "become": True,
        "gather_facts": False,
        "tasks": [
            {"name": "Provide the driver", "ansible.builtin.include_role": {"name": "baremetal.llm.nvidia_driver"}},
            {"name": "Provide the toolkit", "ansible.builtin.include_role": {"name": "baremetal.llm.cuda_toolkit"}},
            {"name": "Look", "baremetal.llm.gpu_info": {}},
        ],
    }
]


@pytest.fixture(scope="module")
def host() -> t.Iterator[GpuHost]:
    with gpu_host("nvidia-repository", "a10", driver="none") as host:
        host.run("rm", f"{SOURCES}/range-gpus.sources")
        host.run("apt-get", "-qq", "update")
        (host.directory / "play.yml").write_text(yaml.safe_dump(PLAYBOOK), encoding="utf-8")
        yield host


def play(host: GpuHost, *flags: str, **extra: t.Any) -> Run:
    return host.play(str(host.directory / "play.yml"), {**WANTED, **extra}, *flags)


def installed(host: GpuHost) -> str:
    return host.run("sh", "-c", f"'ls {SOURCES}; dpkg-query -W; ls /usr/local /etc/apt/preferences.d'")


def test_a_check_goes_as_far_as_it_can_see(host: GpuHost) -> None:
    before = installed(host)
    run = play(host, "--check")
    assert run.rc == 0, run.output
    assert run.changed
    assert installed(host) == before


def test_a_repository_that_somebody_else_was_to_set_up_is_missed(host: GpuHost) -> None:
    run = play(host, nvidia_repository_manage=False)
    assert run.rc != 0
    assert "apt offers no NVIDIA driver" in run.failure and "role nvidia_repository" in run.failure
    assert "nvidia-cuda.sources" not in installed(host)


def test_a_repository_out_of_reach_is_told_with_what_helps(host: GpuHost) -> None:
    run = play(host, nvidia_repository_source={**WANTED["nvidia_repository_source"], "uris": "http://127.0.0.1:9/cuda"})
    assert run.rc != 0
    assert "The repository http://127.0.0.1:9/cuda can't be used: " in run.failure and "(nvidia_repository_source)" in run.failure
    host.run("rm", f"{SOURCES}/nvidia-cuda.sources")


def test_driver_and_toolkit_come_from_the_mirror(host: GpuHost) -> None:
    run = play(host)

    assert run.rc == 0, run.output
    assert "URIs: file:/srv/range-gpus/apt" in host.run("cat", f"{SOURCES}/nvidia-cuda.sources")
    found = run.task("Look").result
    assert found["driver"]["loaded_version"] == DRIVER
    assert {"root": f"/usr/local/cuda-{TOOLKIT}", "version": TOOLKIT} in found["cuda_toolkits"], json.dumps(found["cuda_toolkits"])


def test_a_second_run_changes_nothing(host: GpuHost) -> None:
    again = play(host)
    assert (again.rc, again.changed) == (0, []), again.output


def test_a_check_now_sees_everything(host: GpuHost) -> None:
    run = play(host, "--check", cuda_toolkit_repository_packages=["cuda-nvcc", "cuda-nothing"])
    assert run.rc != 0
    assert f"cuda-nothing-{TOOLKIT.replace('.', '-')}" in run.failure
