# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The drivers that a host can be given: which packages make one up on its distribution, and which of them are on offer.

Source: NVIDIA's Driver Installation Guide (branches 580 and 590) and the package lists of Debian and Ubuntu.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import branch_of, is_version, upstream
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, version_key

DISTRIBUTIONS = ("debian12", "debian13", "ubuntu2204", "ubuntu2404")


class Repository(str, enum.Enum):
    """Whose packages: they are named differently."""

    NVIDIA = "nvidia"
    DISTRIBUTION = "distribution"


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


@dataclass(frozen=True)
class Offer:
    """A driver that the repository has, with the exact version of each package."""

    version: str
    packages: Mapping[str, str]
    companions: Mapping[str, str]
    set: PackageSet


@dataclass(frozen=True)
class Supply:
    """What apt has: drivers that are complete, oldest first, and the versions of each package that was asked for, newest first."""

    offers: Sequence[Offer] = ()
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalogue:
    """The drivers for a host of this distribution and with these kernels, whose packages come from this repository."""

    distribution: str
    repository: Repository
    kernel: Kernel
    compute_only: bool = True

    def package_set(self, branch: int, flavour: Flavour) -> PackageSet:
        """What makes up a driver of this branch and flavour."""
        row = self._row(branch)

        def names(templates: Iterable[str]) -> tuple[str, ...]:
            return tuple(
                _choose(template, flavour).format(branch=branch, open="-open" if flavour is Flavour.OPEN else "", kernel=meta)
                for template in templates
                for meta in (self.kernel.metas or ("generic",) if "{kernel}" in template else ("",))
            )

        return PackageSet(
            driver=(*names(row.modules), *names(row.compute if self.compute_only else row.full)),
            kernel=(*names(row.kernel), *(self.kernel.headers if row.dkms else ())),
            companions=names(row.companions),
            dkms=row.dkms,
        )

    def branches(self, names: Iterable[str], wanted: Iterable[int] = ()) -> list[int]:
        """The branches to look for: of each row one, or all that ``names`` of packages tell where names carry the branch."""
        found: set[int] = set(wanted)
        numbers = {int(match[1]) for match in (re.search(r"-(\d{3})(?:-|$)", name) for name in names) if match}
        for row in self._rows():
            found |= numbers if row.suffixed else {row.first_branch}
        return sorted(found)

    def names(self, flavour: Flavour, looked_for: Iterable[int]) -> list[str]:
        """The packages to ask apt for."""
        sets = [self.package_set(branch, flavour) for branch in looked_for]
        return sorted({name for each in sets for name in (*each.driver, *each.kernel, *each.companions)})

    def supply(self, flavour: Flavour, looked_for: Iterable[int], versions: Mapping[str, Sequence[str]]) -> Supply:
        """The drivers that are complete in ``versions``, those of each package as apt lists them."""
        found: dict[str, Offer] = {}
        for branch in looked_for:
            packages = self.package_set(branch, flavour)
            known = {name: {upstream(each): each for each in reversed(versions.get(name, ()))} for name in packages.driver}
            for version in set.intersection(*(set(exact) for exact in known.values())):
                if is_version(version) and self._belongs(branch, branch_of(version)):
                    companions = {
                        name: {upstream(each): each for each in reversed(versions[name])}.get(version, "")
                        for name in packages.companions
                        if versions.get(name)
                    }
                    found[version] = Offer(version, {name: exact[version] for name, exact in known.items()}, companions, packages)
        return Supply([found[version] for version in sorted(found, key=version_key)], versions)

    def _rows(self) -> list[_Row]:
        """Ordered, newest branch first."""
        return [row for row in _ROWS if self.distribution.startswith(row.family) and row.repository is self.repository]

    def _row(self, branch: int) -> _Row:
        return next(row for row in self._rows() if branch >= row.first_branch)

    def _belongs(self, looked_for: int, branch: int) -> bool:
        row = self._row(looked_for)
        return branch == looked_for if row.suffixed else self._row(branch) is row


def _choose(template: str, flavour: Flavour) -> str:
    open_one, _bar, other = template.partition("|")
    return other if other and flavour is not Flavour.OPEN else open_one
