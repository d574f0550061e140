# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GPUs of a service as the host's CDI specifications name them, and what changes when these give something else.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import CdiAccess
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import Device

KIND = "nvidia.com/gpu"
DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where Docker looks, in this order."""

_NAME = re.compile(r"^[\s-]*name: *[\"']?([\w:.-]+)[\"']?\s*$", re.MULTILINE)
# Of a device node they may be others at the next boot, and Docker looks them up anew for each start.
_VOLATILE = re.compile(r"^[\s-]*(?:major|minor|fileMode|uid|gid|permissions):")


class CdiHost:
    """The CDI specifications of this host."""

    def __init__(self, directories: Iterable[Path] = DIRECTORIES) -> None:
        self._directories = tuple(directories)

    def names(self) -> tuple[str, ...]:
        """What can be asked for of NVIDIA's GPUs: indices, UUIDs, `all`."""
        return tuple(dict.fromkeys(name for text in self._specifications() for name in _NAME.findall(text)))

    def access(self, gpus: GpuAccess) -> CdiAccess:
        """By UUID where the specification has UUIDs; so a card that changes its slot is no other one's."""
        listed = self.names()
        return CdiAccess(tuple(f"{KIND}={named(device, listed) or _wanted(device)}" for device in gpus.devices), self._digest())

    def problems(self, gpus: GpuAccess, severity: Severity) -> Iterator[Problem]:
        listed = self.names()
        missing = [device for device in gpus.devices if named(device, listed) is None]
        if missing:
            there = f"it lists {', '.join(listed)}" if listed else f"there is none for {KIND} in {' or '.join(map(str, self._directories))}"
            yield Problem(
                "cdi_device_missing",
                severity,
                f"gpus: the CDI specification, by which Docker gives devices to containers, has no {', '.join(map(str, missing))}; {there}",
                "Write it anew with `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`, as the role container_runtime does",
            )

    def _specifications(self) -> Iterator[str]:
        for directory in self._directories:
            for path in sorted(directory.glob("*")):
                text = read_text_or_none(path) if path.suffix in (".yaml", ".yml", ".json") else None
                if text and re.search(rf"""["']?kind["']?: *["']?{re.escape(KIND)}\b""", text):
                    yield _as_lines(text) if path.suffix == ".json" else text

    def _digest(self) -> str:
        lines = {line.strip() for text in self._specifications() for line in text.splitlines() if not _VOLATILE.match(line)}
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def named(device: Device, listed: Iterable[str]) -> str | None:
    """The name that a specification has for it."""
    by_name = {name.lower(): name for name in listed}
    wanted = [device.uuid, None if device.is_mig or device.index is None else str(device.index)]
    return next((by_name[name.lower()] for name in wanted if name is not None and name.lower() in by_name), None)


def _wanted(device: Device) -> str:
    return device.uuid or str(device.index)


def _as_lines(text: str) -> str:
    """JSON a line a value, with the keys written as YAML writes them."""
    try:
        pretty = json.dumps(json.loads(text), indent=1)
    except ValueError:
        return text
    return re.sub(r'^(\s*)"(\w+)": ', r"\1\2: ", pretty, flags=re.MULTILINE).replace(",\n", "\n")
