# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this machine run the range at all? Asked by trying, in namespaces that vanish with the attempt."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from . import cgroup, outer
from .base import DISTRIBUTIONS
from .errors import Unsupported
from .layout import Layout
from .process import run

# program → the Debian package that has it
TOOLS = {
    "apt-config": "apt",
    "chroot": "coreutils",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "iptables-save": "iptables",
    "nft": "nftables",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}

_TRIAL = """set -e
mkdir lower upper work root
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,volatile range root
ip link add name range0 type bridge
ip link add name range1 type veth peer name range2
iptables -t nat -A POSTROUTING -m comment --comment range -j MASQUERADE
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
"""


def check(layout: Layout) -> None:
    """Raise Unsupported with the first reason why it cannot work here."""
    try:
        _check(layout)
    except Unsupported as reason:
        raise Unsupported(f"The range cannot run here: {reason}. Otherwise use a host of your own: see docs/your-own-machine.md") from None


def _check(layout: Layout) -> None:
    if os.geteuid() != 0:
        raise Unsupported(f"it needs root and you are uid {os.geteuid()}; run it with sudo")
    missing = {tool: package for tool, package in TOOLS.items() if not shutil.which(tool)}
    if missing:
        raise Unsupported(f"{', '.join(missing)} not found; run `apt-get install {' '.join(sorted(set(missing.values())))}`")
    for codename in DISTRIBUTIONS.values():
        outer.mirrors(codename)
    mounted = cgroup.mount_point()
    if mounted is None:
        raise Unsupported("cgroup v2 is not mounted")
    if not os.access(mounted, os.W_OK):
        raise Unsupported(f"{mounted} (cgroup v2) is read-only, as in an unprivileged container")
    layout.storage_root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.storage_root, prefix="doctor-") as scratch:
        trial = run(["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", f"cd '{scratch}'\n{_TRIAL}"], check=False)
    _remove_if_empty(layout.storage_root)
    if trial.returncode:
        said = trial.stderr.strip().splitlines() or ["no output"]
        raise Unsupported(f"namespaces, overlay, bridge, veth and NAT are needed, and a trial of them ended with `{said[-1]}`")


def _remove_if_empty(directory: Path) -> None:
    if not any(directory.iterdir()):
        directory.rmdir()
