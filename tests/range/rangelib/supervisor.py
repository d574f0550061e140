# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for a host's power supply: it boots the host, boots it again on reboot, and ends when the host powers off.

It runs as process 1 of namespaces of its own. When it dies, however it dies, the kernel ends the host and drops its mounts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import cgroup
from .record import Host

REBOOT = 133  # systemd-nspawn's exit status when the host asked to be started again

# Undocumented in --help, all in systemd's docs/ENVIRONMENT: a host on cgroup v2 whatever the outer machine is on,
NSPAWN_ENVIRONMENT = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
# and, for Docker, one that may set /proc/sys/net of its own.
DOCKER_ENVIRONMENT = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
# systemd inside enforces DevicePolicy= and IPAddressDeny= with BPF programs; runc gives each container a keyring.
SYSTEM_CALLS = ("bpf",)
DOCKER_SYSTEM_CALLS = (*SYSTEM_CALLS, "@keyring")
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def nspawn_argv(host: Host, root: Path) -> list[str]:
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--keep-unit",  # no systemd on the outside to make a unit in,
        "--register=no",  # or to register with
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
        f"--system-call-filter={' '.join(DOCKER_SYSTEM_CALLS if host.docker else SYSTEM_CALLS)}",
        f"--directory={root}",
        f"--machine={host.machine}",
        f"--hostname={host.name}",
        f"--network-bridge={host.bridge}",
        *(f"--bind={bind}" for bind in host.binds),
        *((f"--bind={host.docker_data}:/var/lib/docker",) if host.docker else ()),
    ]


def nspawn_environment(host: Host) -> dict[str, str]:
    return {**NSPAWN_ENVIRONMENT, **(DOCKER_ENVIRONMENT if host.docker else {})}


def overlay_options(host: Host) -> str:
    # volatile: fsync costs nothing, as fits a disk that does not outlive the test
    return f"lowerdir={':'.join(host.lower)},upperdir={host.storage}/upper,workdir={host.storage}/work,volatile"


def enter(state: Path) -> None:
    """Step into the host's cgroup and into new namespaces."""
    host = Host.load(state)
    cgroup.join(Path(host.cgroup) / "supervisor")
    os.execvp("unshare", [*_NAMESPACES, sys.executable, "-m", "rangelib.supervisor", "power", str(state)])


def power(state: Path) -> None:
    host = Host.load(state)
    storage = Path(host.storage)
    root = storage / "root"
    for directory in (storage / "work", root):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
    # systemd-nspawn leaves locks and propagation directories here; these go with the namespace
    Path("/run/systemd").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "range", "/run/systemd"], check=True)
    subprocess.run(["mount", "-t", "overlay", "-o", overlay_options(host), "range", str(root)], check=True)
    boot, code = 0, REBOOT
    while code == REBOOT:
        boot += 1
        code = _boot(nspawn_argv(host, root), nspawn_environment(host), Path(host.cgroup) / f"boot{boot}")
    (state / "exit").write_text(str(code))


def _boot(argv: Sequence[str], environment: Mapping[str, str], group: Path) -> int:
    def join() -> None:
        cgroup.join(group)

    with subprocess.Popen(argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, preexec_fn=join) as nspawn:
        return nspawn.wait()


if __name__ == "__main__":
    {"enter": enter, "power": power}[sys.argv[1]](Path(sys.argv[2]))
