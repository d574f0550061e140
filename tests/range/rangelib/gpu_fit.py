# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit a running host of the range with GPUs and a driver. What is laid onto its disk stays there: through reboots, and in snapshots."""

from __future__ import annotations

import io
import json
import platform
import shlex
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import gpu_packages as packages
from . import gpu_repository as repository
from . import host as hosts
from .errors import RangeError
from .gpu_models import Card, cards
from .layout import Layout

REPOSITORY = "srv/range-gpus/apt"
_ON_HOST = Path(__file__).parent / "on_gpu_host"
_SOURCES = f"Types: deb\nURIs: file:/{REPOSITORY}\nSuites: ./\nTrusted: yes\n"
_SECONDS = 180
# What the package of the kernel brings, and depmod reads.
_KERNEL_LISTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
_APT = (
    "apt-get -qq --yes --no-install-recommends --allow-downgrades --allow-change-held-packages -o DPkg::Lock::Timeout=60 -o Dpkg::Use-Pty=0"
)
_UPDATE = (
    "apt-get -qq update -o Dir::Etc::sourcelist=sources.list.d/range-gpus.sources -o Dir::Etc::sourceparts=- "
    "-o APT::Get::List-Cleanup=0 -o DPkg::Lock::Timeout=60"
)


def fit(
    layout: Layout,
    name: str,
    models: Sequence[str],
    driver: str | None = None,
    flavour: str = packages.OPEN,
    programs: Mapping[str, int] | None = None,
) -> list[Card]:
    """Give a host these GPUs and leave it as it is after a boot with them.

    ``driver`` is a version to install, `none` to have no driver, or None to leave what is installed. ``programs`` use GPUs: by the name of
    the process, so much MiB each on every GPU that its CUDA_VISIBLE_DEVICES names.
    """
    if driver not in (None, "none", *packages.VERSIONS):
        raise RangeError(f"There is no driver {driver} to install; there are: {', '.join(packages.VERSIONS)}, and none.")
    plugged = cards(models)
    hardware = {"cards": [card.as_dict() for card in plugged], "programs": dict(programs or {})}
    archive = _archive(repository.ensure(layout), hardware)
    script = [
        "set -e",
        "tar -C / -xf -",
        "systemctl daemon-reload",
        _UPDATE,
        *_driver_commands(driver, flavour),
        "systemctl restart range-gpus",
    ]
    script.append("[ ! -e /usr/bin/nvidia-persistenced ] || systemctl restart nvidia-persistenced || true")  # it fails without a driver
    _on(layout, name, "\n".join(script), archive)
    return plugged


def lose(layout: Layout, name: str, indexes: Sequence[int]) -> None:
    """Let GPUs of a running host fall off the bus, until its next boot."""
    hardware = json.loads(_on(layout, name, "cat /etc/range-gpus/gpus.json"))
    by_index = {card["index"]: card["address"] for card in hardware["cards"]}
    if unknown := sorted(set(indexes) - set(by_index)):
        raise RangeError(f"`{name}` has no GPU {', '.join(map(str, unknown))}; it has {len(by_index)}.")
    _on(layout, name, "cat > /run/range-gpus/lost", "".join(f"{by_index[index]}\n" for index in indexes).encode())


def _driver_commands(driver: str | None, flavour: str) -> list[str]:
    if driver is None:
        return []
    if driver == "none":
        return [f"{_APT} purge '?installed ?origin(NVIDIA) ?not(?name(nvidia-container))'"]
    asked, others = packages.needed(driver, flavour)
    version = packages.debian_version(driver)
    wanted = " ".join(f"{name}={version}" for name in [*asked, *others])
    return [f"{_APT} install {wanted}", f"apt-mark -qq auto {' '.join(others)}"]


def _archive(repository_directory: Path, hardware: Mapping[str, Any]) -> bytes:
    files = {f"{REPOSITORY}/{path.name}": (path.read_bytes(), 0o644) for path in repository_directory.iterdir()}
    files |= {f"usr/lib/modules/{platform.release()}/{name}": (b"", 0o644) for name in _KERNEL_LISTS}
    files |= {
        "etc/apt/sources.list.d/range-gpus.sources": (_SOURCES.encode(), 0o644),
        "etc/modprobe.d/range-gpus.conf": ((_ON_HOST / "range-gpus.conf").read_bytes(), 0o644),
        "etc/range-gpus/gpus.json": (json.dumps(hardware, indent=2).encode(), 0o644),
        "etc/systemd/system/range-gpus.service": ((_ON_HOST / "range-gpus.service").read_bytes(), 0o644),
        "usr/local/lib/range-gpus/range-gpus": ((_ON_HOST / "range_gpus.py").read_bytes(), 0o755),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
        enabled = tarfile.TarInfo("etc/systemd/system/sysinit.target.wants/range-gpus.service")
        enabled.type, enabled.linkname = tarfile.SYMTYPE, "../range-gpus.service"
        tar.addfile(enabled)
    return packed.getvalue()


def _on(layout: Layout, name: str, script: str, stdin: bytes = b"") -> str:
    host = hosts.get(layout, name)
    if hosts.state(host) != "running":
        raise RangeError(f"`{name}` is not running; `range up {name}` first.")
    argv = [*hosts.ssh_argv(layout, host, "-o", "LogLevel=ERROR"), f"DEBIAN_FRONTEND=noninteractive sh -c {shlex.quote(script)}"]
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=_SECONDS, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-8:]
        raise RangeError(f"On `{name}`, fitting the GPUs ended with {done.returncode}: " + ("\n  ".join(said) or "no output"))
    return done.stdout.decode()
