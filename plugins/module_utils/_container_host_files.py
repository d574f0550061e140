# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that a container runtime with GPUs needs beside its packages: pins of apt, and what systemd does around Docker.

Docker starts the containers of before as soon as it runs, and tries once. Two things can be missing then, and both are dealt with here:

- The CDI specification. It lies in /run, and NVIDIA's nvidia-cdi-refresh.service writes it at a moment of its own, in 1.19.0 after
  multi-user.target, which waits for Docker: to order Docker behind it would be a cycle. So Docker's own unit writes it first.
- CDI itself. Engines before 28.2 know it only after they have started those containers (moby/moby#49989 on GitHub). So those that Docker
  could not give their devices are started again, by a unit that comes after each start of Docker.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import SPEC
from ansible_collections.baremetal.llm.plugins.module_utils._debian_packages import pin
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import MODPROBE

TOOLKIT_PROGRAM = "/usr/bin/nvidia-ctk"

PIN = "/etc/apt/preferences.d/baremetal-llm-container-runtime"
DROP_IN = "/etc/systemd/system/docker.service.d/50-baremetal-llm-cdi.conf"
UNIT_NAME = "baremetal-llm-cdi-containers.service"
UNIT = f"/etc/systemd/system/{UNIT_NAME}"
SCRIPT = "/usr/local/libexec/baremetal-llm/start-cdi-containers"
WANTS = f"/etc/systemd/system/docker.service.wants/{UNIT_NAME}"
"""The link by which Docker brings the unit with it."""
FILES = (PIN, DROP_IN, UNIT, SCRIPT)

_BY = "Written by baremetal.llm.container_runtime."
# A driver that hangs shall not hold Docker for ever: its unit has no limit of its own.
_SECONDS = 60


def mode_of(path: str) -> int:
    return 0o755 if path == SCRIPT else 0o644


def texts(pins: Mapping[str, Sequence[str]], *, gpus: bool) -> dict[str, str]:
    """What each of the files has to say. ``pins`` are the packages to keep, by the pattern of their version."""
    wanted = {PIN: pin_text(pins)} if pins else {}
    return {**wanted, **({DROP_IN: _drop_in(), UNIT: _unit(), SCRIPT: _script()} if gpus else {})}


def pin_text(pins: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(pin(names, version, _BY) for version, names in pins.items())


def _drop_in() -> str:
    return (
        f"# The containers that Docker starts need the CDI specification of the GPUs. {_BY}\n"
        "[Service]\n"
        f"ExecStartPre=-{MODPROBE} -c 0 -u\n"
        f"ExecStartPre=-/usr/bin/timeout {_SECONDS} {TOOLKIT_PROGRAM} cdi generate --output={SPEC}\n"
    )


def _unit() -> str:
    return (
        f"# {_BY}\n"
        "[Unit]\n"
        "Description=Start the containers that Docker could not give their devices\n"
        "After=docker.service\n"
        "Requisite=docker.service\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"ExecStart={SCRIPT}\n"
        "\n"
        "[Install]\n"
        "WantedBy=docker.service\n"
    )


def _script() -> str:
    """Only what Docker itself would have started: by its policy, and with an error of CDI instead."""
    failed = " | ".join(f"{policy}\\ *[Cc][Dd][Ii]*" for policy in ("always", "on-failure", "unless-stopped"))
    return (
        "#!/bin/sh\n"
        f"# Starts the containers that Docker was to start and could not give their CDI devices. {_BY}\n"
        "containers=$(docker ps --all --quiet --no-trunc --filter status=created --filter status=exited) || exit 1\n"
        "status=0\n"
        "for container in $containers; do\n"
        "  case $(docker inspect --format '{{.HostConfig.RestartPolicy.Name}} {{.State.Error}}' \"$container\") in\n"
        f'    {failed}) docker start "$container" || status=1 ;;\n'
        "  esac\n"
        "done\n"
        'exit "$status"\n'
    )
