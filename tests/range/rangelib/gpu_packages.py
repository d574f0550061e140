# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated packages of NVIDIA's repository: its names for Debian, their dependencies on exactly their own version, what is in them.

The names and what they are made of are those of NVIDIA's repository for Debian: `nvidia-driver-cuda` brings nvidia-smi itself, pulls in
nvidia-modprobe and nvidia-persistenced and needs no kernel module; `libcuda1` recommends one. Left out is what needs a display, and the
dependency on dkms: the module comes compiled.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import elf

# Upstream version → the CUDA version of its libraries.
VERSIONS = {"580.95.05": "13.0", "580.126.09": "13.0", "590.48.01": "13.1", "595.45.04": "13.2", "610.43.02": "13.3"}
# Its module was compiled for another kernel: apt installs it, and the kernel refuses to load it.
BROKEN = "595.45.04"
OPEN, PROPRIETARY = "open", "proprietary"
MODULE_PACKAGES = {OPEN: "nvidia-kernel-open-dkms", PROPRIETARY: "nvidia-kernel-dkms"}

_LICENCES = {OPEN: "Dual MIT/GPL", PROPRIETARY: "NVIDIA"}
_OTHER_KERNEL = "6.1.0-99-amd64"
LIBRARIES = f"usr/lib/{platform.machine()}-linux-gnu"
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_ON_HOST = Path(__file__).parent / "on_gpu_host"
_SAME = "="


@dataclass(frozen=True)
class File:
    content: bytes = b""
    mode: int = 0o644
    link: str | None = None


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    description: str
    relations: tuple[tuple[str, str], ...] = ()
    files: Mapping[str, File] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def control(self) -> str:
        fields = {"Package": self.name, "Version": self.version, "Architecture": _ARCHITECTURE, "Priority": "optional"}
        fields |= {"Section": "non-free/libs", "Multi-Arch": "same"} if self.name.startswith("lib") else {"Section": "non-free/utils"}
        fields["Maintainer"] = "The range <range@example.org>"
        return "".join(f"{key}: {value}\n" for key, value in [*fields.items(), *self.relations]) + f"Description: {self.description}\n"


def debian_version(upstream: str) -> str:
    return f"{upstream}-1"


def _relation(version: str, *names: str) -> str:
    """Comma-separated; a name that begins with `=` is of exactly this version."""

    def one(name: str) -> str:
        return f"{name[1:]} (= {version})" if name.startswith(_SAME) else name

    return ", ".join(" | ".join(one(part) for part in name.split("|")) for name in names)


def _library(name: str, upstream: str, major: str = "1") -> dict[str, File]:
    return {
        f"{LIBRARIES}/{name}.so.{upstream}": File(elf.library()),
        f"{LIBRARIES}/{name}.so.{major}": File(link=f"{name}.so.{upstream}"),
    }


def program(source: str, **values: str) -> File:
    text = (_ON_HOST / source).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return File(text.encode(), 0o755)


def driver(upstream: str, kernel: str) -> list[Package]:
    """All packages of one driver version, for a kernel release."""
    version = debian_version(upstream)

    def package(
        name: str,
        description: str,
        *depends: str,
        files: Mapping[str, File] | None = None,
        scripts: Mapping[str, str] | None = None,
        **more: str,
    ) -> Package:
        relations = [("Depends", _relation(version, *depends))] if depends else []
        relations += [(key.capitalize(), _relation(version, *value.split(", "))) for key, value in more.items()]
        return Package(name, version, description, tuple(relations), files or {}, scripts or {})

    unit = {
        "usr/bin/nvidia-persistenced": program("nvidia-persistenced"),
        "usr/lib/systemd/system/nvidia-persistenced.service": File((_ON_HOST / "nvidia-persistenced.service").read_bytes()),
    }
    smi = {"usr/bin/nvidia-smi": program("nvidia_smi.py", VERSION=upstream, CUDA=VERSIONS[upstream])}
    return [
        package("libnvidia-ml1", "NVIDIA Management Library (NVML) runtime library", files=_library("libnvidia-ml", upstream)),
        package("libnvidia-cfg1", "NVIDIA binary OpenGL/GLX configuration library", files=_library("libnvidia-cfg", upstream)),
        package("libnvidia-nvvm4", "NVIDIA NVVM Compiler library", files=_library("libnvidia-nvvm", upstream, "4")),
        package("libnvidia-ptxjitcompiler1", "NVIDIA PTX JIT Compiler library", files=_library("libnvidia-ptxjitcompiler", upstream)),
        package(
            "libcuda1",
            "NVIDIA CUDA Driver Library",
            "=libnvidia-ptxjitcompiler1",
            "=libnvidia-nvvm4",
            files=_library("libcuda", upstream),
            recommends="=nvidia-kernel-dkms|=nvidia-kernel-open-dkms",
        ),
        package("firmware-nvidia-gsp", "NVIDIA GSP firmware", files={f"usr/lib/firmware/nvidia/{upstream}/gsp_ga10x.bin": File()}),
        package(
            "nvidia-modprobe",
            "utility to load NVIDIA kernel modules and create device nodes",
            files={"usr/bin/nvidia-modprobe": program("nvidia-modprobe")},
        ),
        package("nvidia-kernel-support", "NVIDIA binary kernel module support files", "=nvidia-modprobe"),
        package(
            "nvidia-persistenced",
            "daemon to maintain persistent software state in the NVIDIA driver",
            "=libnvidia-cfg1",
            files=unit,
            scripts={
                "postinst": "[ ! -d /run/systemd/system ] || systemctl --quiet enable nvidia-persistenced.service",
                "prerm": '[ "$1" != remove ] || systemctl --quiet disable --now nvidia-persistenced.service',
            },
        ),
        package(
            "nvidia-driver-cuda",
            "NVIDIA driver: CUDA components, nvidia-smi",
            "=libcuda1",
            "=libnvidia-ml1",
            "=libnvidia-cfg1",
            "=nvidia-modprobe",
            "=nvidia-persistenced",
            files=smi,
            provides="nvidia-smi",
            conflicts="nvidia-smi",
        ),
        package(
            "nvidia-driver", "NVIDIA driver: what a desktop needs", "=nvidia-kernel-support", "=nvidia-kernel-dkms|=nvidia-kernel-open-dkms"
        ),
        package(
            "nvidia-open", "NVIDIA driver with the open kernel modules", "=nvidia-driver", "=nvidia-driver-cuda", "=nvidia-kernel-open-dkms"
        ),
        package(
            "cuda-drivers",
            "NVIDIA driver with the proprietary kernel modules",
            "=nvidia-driver",
            "=nvidia-driver-cuda",
            "=nvidia-kernel-dkms",
        ),
        *(
            package(
                MODULE_PACKAGES[flavour],
                f"NVIDIA {flavour} kernel module",
                "=nvidia-kernel-support",
                "=firmware-nvidia-gsp",
                files={f"usr/src/nvidia-{upstream}/nvidia.ko": File(_module(upstream, flavour, kernel))},
                scripts=_module_scripts(upstream),
                conflicts=MODULE_PACKAGES[other],
                provides=f"nvidia-kernel-{upstream}",
            )
            for flavour, other in ((OPEN, PROPRIETARY), (PROPRIETARY, OPEN))
        ),
    ]


def _module(upstream: str, flavour: str, kernel: str) -> bytes:
    compiled_for = _OTHER_KERNEL if upstream == BROKEN else kernel
    return elf.kernel_module(
        {
            "version": upstream,
            "supported": "external",
            "license": _LICENCES[flavour],
            "alias": "pci:v000010DEd*sv*sd*bc03sc02i00*",
            "depends": "",
            "name": "nvidia",
            "vermagic": f"{compiled_for} SMP preempt mod_unload modversions ",
        }
    )


def _module_scripts(upstream: str) -> dict[str, str]:
    """What the dkms of the real packages does: away with the module of the old version first, then the one of the new."""
    module = '"/lib/modules/$(uname -r)/updates/dkms/nvidia.ko"'
    compiled = f"/usr/src/nvidia-{upstream}/nvidia.ko"
    return {
        "postinst": f'[ "$1" = configure ] || exit 0\ninstall -D -m 644 {compiled} {module}\ndepmod "$(uname -r)"',
        "prerm": f'rm -f {module}\n[ ! -d "/lib/modules/$(uname -r)" ] || depmod "$(uname -r)"',
    }


def pinning(upstream: str) -> list[Package]:
    """NVIDIA's packages that hold a host at a branch, or at a version."""
    branch = upstream.partition(".")[0]
    found = []
    for name, version in ((branch, f"{branch}.*"), (upstream, f"{upstream}-*")):
        pin = f"Package: *nvidia* libcuda1* cuda-drivers*\nPin: version {version}\nPin-Priority: 1000\n"
        files = {f"etc/apt/preferences.d/nvidia-driver-pinning-{name}": File(pin.encode())}
        found.append(Package(f"nvidia-driver-pinning-{name}", "1", f"Holds the NVIDIA driver at {name}", files=files))
    return found


TOOLKIT = "12.8"


def toolkit(release: str) -> list[Package]:
    """What a build takes of a CUDA toolkit, with an nvcc that can only say which one it is of."""
    root, suffix, version = f"usr/local/cuda-{release}", release.replace(".", "-"), f"{release}.93"
    nvcc = f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{version}'\n"
    files = {"cuda-nvcc": {f"{root}/bin/nvcc": File(nvcc.encode(), 0o755)}}
    names = ("cuda-nvcc", "cuda-cccl", "cuda-cudart-dev", "cuda-driver-dev", "libcublas-dev")
    return [Package(f"{name}-{suffix}", f"{version}-1", f"CUDA {release}: {name}", files=files.get(name, {})) for name in names]


def headers(kernel: str) -> Package:
    """Of the kernel that runs, which is the outer machine's: the host's own mirror does not have them."""
    return Package(
        f"linux-headers-{kernel}", "1", f"Header files for Linux {kernel}", files={f"usr/src/linux-headers-{kernel}/Makefile": File()}
    )


def everything(kernel: str) -> list[Package]:
    packages = {
        package.name + package.version: package for upstream in VERSIONS for package in [*driver(upstream, kernel), *pinning(upstream)]
    }
    return [*packages.values(), *toolkit(TOOLKIT), headers(kernel)]


COMPUTE = ("nvidia-driver-cuda",)


def needed(upstream: str, flavour: str) -> tuple[list[str], list[str]]:
    """The two packages that an operator asks for, and the others that these need."""
    asked = [*COMPUTE, MODULE_PACKAGES[flavour]]
    by_name = {package.name: package for package in driver(upstream, "")}
    wanted = list(asked)
    for name in wanted:
        depends = dict(by_name[name].relations).get("Depends", "")
        wanted += [other for part in depends.split(", ") if (other := part.partition(" ")[0]) and other not in wanted]
    return asked, wanted[len(asked) :]
