# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages of NVIDIA's driver by their names: which ones are a part of it, and what those that are installed tell.

Source: NVIDIA's Driver Installation Guide (branches 580 and 590) and the package lists of Debian and Ubuntu.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, version_key

# Everything that belongs to the driver, as apt_preferences takes it. What matches and has a version of its own does not mind the pin.
GLOBS = (
    "nvidia-*",
    "libnvidia-*",
    "cuda-drivers*",
    "libcuda1",
    "libcudadebugger1",
    "libnvcuvid1",
    "libnvoptix1",
    "libnvsdm*",
    "libxnvctrl0",
    "libegl-nvidia0",
    "libglx-nvidia0",
    "libgles-nvidia*",
    "firmware-nvidia-*",
    "xserver-xorg-video-nvidia*",
    "linux-modules-nvidia-*",
    "linux-objects-nvidia-*",
    "linux-signatures-nvidia-*",
)

# Called like the driver, but not a part of it: they stay as they are when a driver comes or goes.
_OTHERS = (
    "nvidia-container-*",
    "nvidia-docker*",
    "nvidia-cuda-*",
    "nvidia-cudnn*",
    "nvidia-detect",
    "nvidia-driver-pinning-*",
    "nvidia-fs*",
    "nvidia-gds*",
    "nvidia-nsight*",
    "nvidia-openjdk*",
    "nvidia-prime*",
    "nvidia-profiler",
    "nvidia-visual-profiler",
    "libnvidia-container*",
    "libnvidia-egl-*",
)

# The packages whose version is the driver's, most telling first: the libraries that programs load, then the kernel modules.
_TELLING = (
    r"libnvidia-compute(-\d+(-server)?)?",
    r"libcuda1",
    r"libnvidia-ml1",
    r"nvidia-driver-cuda",
    r"nvidia-smi",
    r"nvidia-(open-)?kernel(-open)?-dkms",
    r"nvidia-dkms(-\d+(-server)?)?(-open)?",
)
_MODULES = re.compile(
    r"nvidia-(open-)?kernel(-open)?-dkms|nvidia-dkms(-\d+(-server)?)?(-open)?|linux-modules-nvidia-\d+(-server)?(-open)?-.+"
)
_OPEN = re.compile(r"-open\b")


def is_driver_package(name: str) -> bool:
    """Whether a package is a part of the driver; of another architecture, its name ends in `:i386`."""
    plain = name.partition(":")[0]
    return any(fnmatchcase(plain, glob) for glob in GLOBS) and not any(fnmatchcase(plain, glob) for glob in _OTHERS)


def installed_version(packages: Mapping[str, str]) -> str | None:
    """The version of the driver, from the installed packages and their versions."""
    for pattern in _TELLING:
        versions = {upstream(version) for name, version in packages.items() if re.fullmatch(pattern, name)}
        if known := sorted((version for version in versions if is_version(version)), key=version_key):
            return known[-1]
    return None


def installed_flavours(names: Iterable[str]) -> set[Flavour]:
    """The flavours of the installed kernel modules; there may be both, for different kernels."""
    return {Flavour.OPEN if _OPEN.search(name) else Flavour.PROPRIETARY for name in names if _MODULES.fullmatch(name)}


def kernel_metas(names: Iterable[str]) -> tuple[str, ...]:
    """`amd64` of linux-image-amd64, `generic-hwe-24.04` of linux-image-generic-hwe-24.04, from the names of installed packages."""
    found = (re.fullmatch(r"linux-image-([a-z][a-z0-9.-]*)", name) for name in names)
    return tuple(sorted({match[1] for match in found if match and not re.search(r"(^|-)(dbg|unsigned|template)(-|$)", match[1])}))


def upstream(version: str) -> str:
    """`580.126.09` of `580.126.09-0ubuntu0.24.04.1`."""
    return version.rpartition(":")[2].rsplit("-", 1)[0].partition("~")[0]


def is_version(text: str) -> bool:
    """A full version, such as `580.126.09` or `580.142`."""
    return bool(re.fullmatch(r"\d{3,}(\.\d+){1,2}", text, re.ASCII))


def branch_of(version: str) -> int:
    return int(version.partition(".")[0])
