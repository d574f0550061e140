# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated packages of NVIDIA's container toolkit: its four names, its programs, and the units that write the CDI specification.

The dependencies are as loose as NVIDIA's own: asking for one package at an older version mixes the versions, or is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .gpu_packages import LIBRARIES, File, Package, program

# 1.17 has no units. The service of 1.19.0 starts after multi-user.target, which waits for Docker; that of 1.20 does not.
VERSIONS = ("1.17.8", "1.19.0", "1.20.1")
NAMES = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")

_ON_HOST = Path(__file__).parent / "on_gpu_host"
_UNITS = ("nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service")
_STARTED = """[ "$1" = configure ] && [ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl --quiet enable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service || true
systemctl start nvidia-cdi-refresh.service || true"""
_STOPPED = """[ "$1" = remove ] && [ -d /run/systemd/system ] || exit 0
systemctl --quiet disable --now nvidia-cdi-refresh.path nvidia-cdi-refresh.service || true"""


def packages() -> list[Package]:
    return [package for version in VERSIONS for package in of_version(version)]


def of_version(upstream: str) -> list[Package]:
    version = f"{upstream}-1"
    programs = {
        "usr/bin/nvidia-ctk": program("nvidia_ctk.py", VERSION=upstream),
        "usr/bin/nvidia-cdi-hook": program("nvidia-cdi-hook"),
        "usr/bin/nvidia-container-runtime": program("nvidia-container-runtime"),
    }
    units = _units(upstream)
    library = {f"{LIBRARIES}/libnvidia-container.so.1": File()}
    hook = {"usr/bin/nvidia-container-runtime-hook": program("nvidia-cdi-hook")}
    started = {"postinst": _STARTED, "prerm": _STOPPED} if units else {}
    tools = f"libnvidia-container-tools (>= {version}), libnvidia-container-tools (<< 2.0.0)"

    def package(name: str, depends: str = "", files: Mapping[str, File] | None = None, scripts: Mapping[str, str] | None = None) -> Package:
        relations = (("Depends", depends),) if depends else ()
        return Package(name, version, f"NVIDIA Container Toolkit: {name}", relations, files or {}, scripts or {})

    return [
        package("libnvidia-container1", files=library),
        package("libnvidia-container-tools", f"libnvidia-container1 (>= {version})"),
        package("nvidia-container-toolkit-base", files={**programs, **units}, scripts=started),
        package("nvidia-container-toolkit", f"nvidia-container-toolkit-base (= {version}), {tools}", hook),
    ]


def _units(upstream: str) -> dict[str, File]:
    if upstream.startswith("1.17."):
        return {}
    texts = {name: (_ON_HOST / name).read_text() for name in _UNITS}
    late = "After=multi-user.target" if upstream.startswith("1.19.0") else "After=systemd-modules-load.service"
    return {f"usr/lib/systemd/system/{name}": File(text.replace("@AFTER@", late).encode()) for name, text in texts.items()}
