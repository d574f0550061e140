# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that stands in for vLLM, on a host with Docker, and a model for it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.baremetal.llm.tests.vllm.imagelib import build, model

from .conftest import booted
from .docker_hosts import DockerHost
from .gpu_hosts import APT_INSTALL

IMAGE = build.image_name()
MODEL = "/srv/models/mistral"


def put_image(host: DockerHost, **options: t.Any) -> str:
    """The image of vLLM on that host; its id. llama-server comes from a host where it was built."""
    with Path(tempfile.gettempdir(), "baremetal-llm-vllm-release.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not build.RELEASE.exists():
            with booted("vllm-release"):
                build.collect_release("vllm-release")
    return build.build_image(host.name, **options)


def put_model(host: DockerHost, path: str = MODEL, **options: t.Any) -> None:
    """A model's files; the hole in its weights takes no space, there and on the way."""
    with tempfile.TemporaryDirectory() as directory:
        model.write_model(Path(directory), **options).chmod(0o755)
        packed = subprocess.check_output(["tar", "--sparse", "-C", directory, "-c", "."])
    host.run("mkdir", "-p", path)
    host.put("/tmp/model.tar", packed)
    host.run("tar", "-C", path, "-xf", "/tmp/model.tar")


def switch_cdi_on(host: DockerHost, **configuration: t.Any) -> None:
    """By hand, for what is not about the role that does it."""
    host.put("/etc/docker/daemon.json", json.dumps({"features": {"cdi": True}, **configuration}).encode())
    host.run(*APT_INSTALL, "nvidia-container-toolkit")
    host.run("systemctl", "restart", "docker")
