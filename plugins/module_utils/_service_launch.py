# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be run for a service, and what can then be expected of it; worked out from what was seen of the host.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flags
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import (
    alias,
    gpu_layers,
    locks_memory,
    slots,
)
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_url import base_url


@dataclass(frozen=True)
class Container:
    """What an engine needs of the container that it runs in."""

    image: str
    entrypoint: tuple[str, ...]
    """The program, to which the rest of the command is passed."""
    reads: tuple[str, ...] = ()
    """Files and directories of the host that it finds at the same place."""
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 30
    """How long it may take to end what it is at."""
    shm_bytes: int | None = None
    """Of /dev/shm, where the service does not say."""


@dataclass(frozen=True)
class Launch:
    """What a manager has to know to run a service, whichever manager that is."""

    service: Service
    release: str
    """The directory of the release that the engine belongs to."""
    command: Sequence[Sequence[str]]
    """The engine, and each of its options with the words of its value."""
    base_url: str
    """Where the host itself reaches the API."""
    locks_memory: bool
    model_version: str
    """What changes when a file of the model is replaced."""
    gpus: GpuAccess | None = None
    container: Container | None = None
    """None for a manager that runs it on the host itself."""


def ulimits(launch: Launch) -> dict[str, int]:
    """What its process may take at most, by the kernel's names; -1 is no limit."""
    # A core dump would hold prompts and the key; a busy server has a socket for each client.
    limits = {"core": 0, "nofile": 65536, **({"memlock": -1} if launch.locks_memory else {}), **launch.service.resources.ulimits}
    return dict(sorted(limits.items()))


def launch_of(service: Service, binary: str, lines: Sequence[Sequence[str]], gpus: GpuAccess | None, *, model_version: str) -> Launch:
    """``lines`` are the arguments of the engine, those of each option in one."""
    directory = os.path.dirname(binary)
    command = [[binary], *lines]
    return Launch(
        service=service,
        release=os.path.dirname(directory) if os.path.basename(directory) == "bin" else directory,
        command=command,
        # In a container it listens elsewhere than where the host reaches it.
        base_url=base_url(service),
        locks_memory=locks_memory(service),
        model_version=model_version,
        gpus=gpus,
    )


def expectation(service: Service, flags: Flags | None, trained_context: int | None, gpus: GpuAccess | None) -> dict[str, object]:
    """What inference_probe can prove, in the form of its parameter ``expect``."""
    capacity = slots(service, flags, trained_context)
    return {
        "alias": alias(service, flags),
        "n_ctx": capacity.tokens,
        "slots": capacity.count,
        "listen": service.listen,
        "gpus": [device.uuid for device in gpus.devices if device.uuid] if gpus else [],
        "gpu_layers": gpu_layers(service, flags),
    }
