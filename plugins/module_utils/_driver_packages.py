# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages of NVIDIA's driver: which ones make up a driver, by distribution, repository, branch and flavour, and what they are called.

Source: NVIDIA's Driver Installation Guide (branches 580 and 590) and the package lists of Debian and Ubuntu.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, version_key

DISTRIBUTIONS = ("debian12", "debian13", "ubuntu2204", "ubuntu2404")


class Repository(str, enum.Enum):
    """Whose packages: they are named differently."""

    NVIDIA = "nvidia"
    DISTRIBUTION = "distribution"


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


@dataclass(frozen=True)
class Kernel:
    """The kernel that runs, and the meta packages that bring newer ones: `amd64` for linux-image-amd64."""

    release: str
    metas: tuple[str, ...] = ()

    @property
    def headers(self) -> tuple[str, ...]:
        """For the kernel that runs, and for each that an update brings: without them it would have no module."""
        return (f"linux-headers-{self.release}", *(f"linux-headers-{meta}" for meta in self.metas))


@dataclass(frozen=True)
class PackageSet:
    driver: tuple[str, ...]
    """They carry the driver's version, and all of them have to be offered with it."""
    kernel: tuple[str, ...] = ()
    """Needed too; they carry the version of a kernel."""
    companions: tuple[str, ...] = ()
    """Installed where they are offered, with the driver's version if there is one."""
    dkms: bool = True
    """Whether the modules are compiled on the host, and so not signed by the distribution."""


@dataclass(frozen=True)
class _Row:
    family: str
    repository: Repository
    first_branch: int
    """It holds for this branch and newer ones, up to the next row's."""
    compute: tuple[str, ...]
    full: tuple[str, ...]
    modules: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    dkms: bool = True

    @property
    def suffixed(self) -> bool:
        return "{branch}" in "".join(self.compute)


# {open} is "-open" or nothing; "a|b" is a for the open flavour and b for the proprietary one.
_ROWS = (
    _Row(
        "ubuntu",
        Repository.NVIDIA,
        590,
        modules=("nvidia-dkms{open}",),
        compute=("libnvidia-compute",),
        full=("nvidia-open|cuda-drivers",),
        companions=("nvidia-persistenced",),
    ),
    _Row(
        "ubuntu",
        Repository.NVIDIA,
        0,
        modules=("nvidia-dkms-{branch}{open}",),
        compute=("libnvidia-compute-{branch}", "nvidia-utils-{branch}"),
        full=("nvidia-open-{branch}|cuda-drivers-{branch}",),
        companions=("nvidia-compute-utils-{branch}", "nvidia-persistenced"),
    ),
    _Row(
        "ubuntu",
        Repository.DISTRIBUTION,
        0,
        compute=("nvidia-headless-no-dkms-{branch}-server{open}", "nvidia-utils-{branch}-server"),
        full=("nvidia-driver-{branch}-server{open}",),
        kernel=("linux-modules-nvidia-{branch}-server{open}-{kernel}",),
        dkms=False,
    ),
    _Row(
        "debian",
        Repository.NVIDIA,
        0,
        modules=("nvidia-kernel{open}-dkms",),
        compute=("nvidia-driver-cuda",),
        full=("nvidia-open|cuda-drivers",),
        companions=("nvidia-persistenced",),
    ),
    _Row(
        "debian",
        Repository.DISTRIBUTION,
        0,
        modules=("nvidia-open-kernel-dkms|nvidia-kernel-dkms",),
        compute=("nvidia-smi", "libcuda1"),
        full=("nvidia-driver",),
        companions=("libnvidia-ptxjitcompiler1", "nvidia-persistenced"),
    ),
)


def package_set(
    distribution: str, repository: Repository, branch: int, flavour: Flavour, kernel: Kernel, *, compute_only: bool = True
) -> PackageSet:
    """What makes up a driver of this branch and flavour on this distribution."""
    row = _row(distribution, repository, branch)

    def names(templates: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            _choose(template, flavour).format(branch=branch, open="-open" if flavour is Flavour.OPEN else "", kernel=meta)
            for template in templates
            for meta in (kernel.metas or ("generic",) if "{kernel}" in template else ("",))
        )

    return PackageSet(
        driver=(*names(row.modules), *names(row.compute if compute_only else row.full)),
        kernel=(*names(row.kernel), *(kernel.headers if row.dkms else ())),
        companions=names(row.companions),
        dkms=row.dkms,
    )


def branches(distribution: str, repository: Repository, names: Iterable[str], wanted: Iterable[int] = ()) -> list[int]:
    """The branches to look for: of each row one, or all that ``names`` of packages tell where names carry the branch."""
    found: set[int] = set(wanted)
    numbers = {int(match[1]) for match in (re.search(r"-(\d{3})(?:-|$)", name) for name in names) if match}
    for row in (row for row in _ROWS if distribution.startswith(row.family) and row.repository is repository):
        found |= numbers if row.suffixed else {row.first_branch}
    return sorted(found)


@dataclass(frozen=True)
class Offer:
    """A driver that the repository has, with the exact version of each package."""

    version: str
    packages: Mapping[str, str]
    companions: Mapping[str, str]
    set: PackageSet


def offers(
    distribution: str,
    repository: Repository,
    flavour: Flavour,
    kernel: Kernel,
    offered: Mapping[str, Sequence[str]],
    looked_for: Iterable[int],
    *,
    compute_only: bool = True,
) -> list[Offer]:
    """The drivers that are complete in ``offered``, the versions of each package as apt lists them; oldest first."""
    found: dict[str, Offer] = {}
    for branch in looked_for:
        packages = package_set(distribution, repository, branch, flavour, kernel, compute_only=compute_only)
        versions = {name: {upstream(each): each for each in reversed(offered.get(name, ()))} for name in packages.driver}
        for version in set.intersection(*(set(known) for known in versions.values())):
            if not is_version(version) or not _belongs(distribution, repository, branch, branch_of(version)):
                continue
            exact = {name: known[version] for name, known in versions.items()}
            companions = {
                name: {upstream(each): each for each in reversed(offered[name])}.get(version, "")
                for name in packages.companions
                if offered.get(name)
            }
            found[version] = Offer(version, exact, companions, packages)
    return [found[version] for version in sorted(found, key=version_key)]


def names_to_ask_for(
    distribution: str, repository: Repository, flavour: Flavour, kernel: Kernel, looked_for: Iterable[int], *, compute_only: bool = True
) -> list[str]:
    sets = [package_set(distribution, repository, branch, flavour, kernel, compute_only=compute_only) for branch in looked_for]
    return sorted({name for each in sets for name in (*each.driver, *each.kernel, *each.companions)})


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


def _choose(template: str, flavour: Flavour) -> str:
    open_one, _bar, other = template.partition("|")
    return other if other and flavour is not Flavour.OPEN else open_one


def _row(distribution: str, repository: Repository, branch: int) -> _Row:
    """The rows of a distribution and repository are ordered, newest branch first."""
    return next(row for row in _ROWS if distribution.startswith(row.family) and row.repository is repository and branch >= row.first_branch)


def _belongs(distribution: str, repository: Repository, looked_for: int, branch: int) -> bool:
    row = _row(distribution, repository, looked_for)
    return branch == looked_for if row.suffixed else _row(distribution, repository, branch) is row
