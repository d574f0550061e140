# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which driver a host shall have and what it takes to get there, decided from what was read; nothing is touched here.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_case import Request
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import Plan, resolve
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import parse_toolkit_version
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import parse_version, show_driver
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import (
    Kernel,
    Offer,
    PackageSet,
    branch_of,
    installed_flavours,
    installed_version,
    is_driver_package,
    is_version,
    upstream,
)
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, required_flavour, version_key
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning

UPGRADE_PLAYBOOK = "playbooks/driver_upgrade.yml"
_MIB = 1 << 20
# An initramfs is written beside the old one before it takes its place.
_BOOT_MARGIN = 16 * _MIB
# The source and the objects of the modules, of which DKMS keeps one tree for each version.
_DKMS_TREE = 1024 * _MIB
_SHOWN_VERSIONS = 12
# Tools that are released apart from the driver in some repositories.
_OWN_VERSIONS = ("nvidia-settings", "nvidia-persistenced", "nvidia-modprobe", "nvidia-xconfig", "libxnvctrl0", "libnvsdm")


@dataclass(frozen=True)
class Wish:
    """``version`` is a full one, a branch, or empty for no wish; ``flavour`` is None for no wish."""

    version: str = ""
    flavour: Flavour | None = None
    upgrade: bool = False
    """Whether a driver that is installed may be changed for another."""

    def __post_init__(self) -> None:
        if self.version and not is_version(self.version) and not self.branch:
            raise UserError(
                f"version is {self.version!r}, which is neither a version of NVIDIA's driver nor a branch; write it like 580.126.09 or 580"
            )

    @property
    def branch(self) -> int | None:
        return int(self.version) if self.version.isascii() and self.version.isdigit() and len(self.version) == 3 else None


@dataclass(frozen=True)
class Needs:
    """What the GPUs and the toolkit need of a driver."""

    gpus: Sequence[Mapping[str, object]] = ()
    toolkit: str = ""

    def plan(self, driver: str | None = None, flavour: Flavour | None = None) -> Plan:
        return resolve(
            self._known(),
            Request(
                toolkit=parse_toolkit_version(self.toolkit) if self.toolkit else None,
                driver=parse_version(driver, "version", "580.126.09") if driver else None,
                kernel_module=flavour.value if flavour else None,
            ),
        )

    def flavour(self) -> Flavour | None:
        found = (required_flavour(_text(gpu, "compute_capability"), _text(gpu, "name")) for gpu in self.gpus)
        return next((flavour for flavour in found if flavour), None)

    def allows(self, version: str) -> bool:
        if not self._known():
            return True
        plan = self.plan()
        numbers = version_key(version)
        return (plan.min_driver is None or numbers >= plan.min_driver) and (plan.last_driver is None or numbers[0] <= plan.last_driver)

    def problems(self, driver: str, flavour: Flavour) -> Iterator[Problem]:
        """What of a driver would not fit. A GPU that nobody knows is told elsewhere."""
        if self._known():
            for problem in self.plan(driver, flavour).problems:
                if problem.code.startswith(
                    ("driver_", "toolkit_newer", "open_modules", "proprietary_modules", "gpus_without_common_driver")
                ):
                    yield problem

    def describe(self) -> str:
        plan = self.plan() if self._known() else Plan()
        least = f"{show_driver(plan.min_driver)} or newer" if plan.min_driver else ""
        most = f"of branch {plan.last_driver} or older" if plan.last_driver else ""
        return " and ".join(part for part in (least, most) if part)

    def _known(self) -> list[Mapping[str, object]]:
        return [gpu for gpu in self.gpus if resolve([gpu], Request()).gpus]


@dataclass(frozen=True)
class State:
    """The packages of the driver that are on the host. ``versions`` are those of all that are unpacked."""

    versions: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    """Those that an interrupted run has left half-installed."""
    held: tuple[str, ...] = ()
    upgraded_from: str | None = None
    """The version in the record of an upgrade: where it is left beside the new one, the upgrade was cut short."""

    @property
    def version(self) -> str | None:
        return installed_version(self.versions)

    @property
    def flavours(self) -> set[Flavour]:
        return installed_flavours(self.versions)

    def has(self, flavour: Flavour) -> bool:
        return flavour in self.flavours

    @property
    def flavour(self) -> Flavour | None:
        """None where there are no modules, or of both flavours."""
        return next(iter(self.flavours)) if len(self.flavours) == 1 else None

    @property
    def usable(self) -> bool:
        return self.version is not None and bool(self.flavours) and not self.broken and not self.mixed

    @property
    def mixed(self) -> bool:
        before = self.upgraded_from
        return before not in (None, self.version) and before in {upstream(version) for version in self.versions.values()}


def wanted_flavour(wish: Wish, needs: Needs, state: State) -> Flavour:
    """What is asked for, or else what there is, or else what the GPUs need; both will do for most, and the open one is NVIDIA's choice."""
    if wish.flavour:
        return wish.flavour
    needed = needs.flavour()
    if wish.upgrade and needed:
        return needed
    return state.flavour or needed or Flavour.OPEN


def wanted_version(wish: Wish, needs: Needs, installed: str | None, versions: Sequence[str]) -> str | None:
    """The version to have. An installed one is changed for no reason but a wish. ``versions`` are those on offer, oldest first."""
    if is_version(wish.version):
        return wish.version
    if installed and not wish.upgrade and wish.branch in (None, branch_of(installed)):
        return installed
    branch = wish.branch
    if branch is None and installed and any(branch_of(version) == branch_of(installed) and needs.allows(version) for version in versions):
        branch = branch_of(installed)
    fitting = [version for version in versions if (branch_of(version) == branch if branch else needs.allows(version))]
    return fitting[-1] if fitting else None


def needs_offers(wish: Wish, state: State, flavour: Flavour) -> bool:
    """Whether apt has to be asked which drivers there are; a driver that is as it shall be is kept whatever they are."""
    if not state.usable:
        return True
    return wish.upgrade and (wish.version != state.version or not state.has(flavour))


def version_problems(
    wish: Wish, needs: Needs, state: State, target: str | None, flavour: Flavour, offered: Sequence[str]
) -> Iterator[Problem]:
    """What speaks against this driver before apt is asked. ``offered`` is empty where nothing was, or nothing needed to be looked up."""
    other = state.version is not None and not wish.upgrade
    if other and target != state.version:
        what = f"version asks for {wish.version}" + (f", of which {target} is the newest" if target and target != wish.version else "")
        yield error(
            "other_version",
            f"NVIDIA driver {state.version} is installed, and {what}",
            f"Run {UPGRADE_PLAYBOOK}, which changes the driver and goes back if the new one does not serve; or ask for {state.version}",
        )
        return
    if other and state.flavours and not state.has(flavour):
        yield error(
            "other_flavour",
            f"NVIDIA driver {state.version} is installed with the {_other(flavour).value} kernel modules, and kernel_module asks for the "
            f"{flavour.value} ones",
            f"Run {UPGRADE_PLAYBOOK}, which changes them; or ask for kernel_module: {_other(flavour).value}",
        )
        return
    if target is None:
        fits = f", and no branch of it fits: {needs.describe()} is needed" if not wish.version and needs.describe() else ""
        yield error(
            "version_not_offered",
            f"version asks for {wish.version or 'any driver'}{fits}; apt offers {_list(offered)}",
            "Ask for one of these, or update apt's lists if they are old",
        )
        return
    yield from needs.problems(target, flavour)


def not_offered(target: str, offered: Sequence[str], flavour: Flavour) -> Problem:
    return error(
        "version_not_offered",
        f"version asks for {target}, which apt does not offer with {flavour.value} kernel modules; it offers {_list(offered)}",
        "Ask for one of these, or update apt's lists if they are old",
    )


def no_repository(names: Iterable[str], *, expected: bool) -> Problem:
    """``expected`` where the repository may be set up later in the same run."""
    what = f"apt offers no NVIDIA driver: none of its sources has all of {', '.join(names)}"
    if expected:
        return warning("repository_missing", what, "Nothing to do if the repository is set up before the driver is installed")
    return error(
        "repository_missing",
        what,
        "Set up NVIDIA's repository or a mirror of it (role nvidia_repository); of Debian's own archive, enable contrib and non-free",
    )


def missing_packages(packages: PackageSet, state: State, installed: Container[str], *, headers: bool) -> list[str]:
    """What of the set is not on the host; nothing where the driver is not made of this set, but of somebody else's choice."""
    if not any(name in state.versions for name in packages.driver):
        return []
    there = [name for name in (*packages.driver, *packages.kernel, *packages.companions) if name not in installed]
    return [name for name in there if not (headers and packages.dkms and name == packages.kernel[0])]


def headers_problem(packages: PackageSet, kernel: Kernel, offered: Container[str], installed: Container[str]) -> Problem | None:
    """DKMS compiles the modules for the kernel that runs, and skips it without a word where its headers are missing."""
    name = kernel.headers[0]
    if not packages.dkms or name in installed or name in offered:
        return None
    images = " and ".join(f"linux-image-{meta}" for meta in kernel.metas) or "the current kernel"
    newer = f"Install {images}, reboot into it, and run this again"
    return error("no_kernel_headers", f"The modules have to be compiled for the kernel that runs, and apt has no {name}", newer)


def specs(offer: Offer, flavour: Flavour, state: State, offered: Mapping[str, Sequence[str]]) -> list[str]:
    """What apt is to install: the packages of the set, and with them whatever else of the driver is there and comes in this version.

    Modules of the other flavour go: apt would keep some of them, since there may be one for each kernel.
    """
    leaving = sorted(name for name in state.versions if name not in offer.packages and installed_flavours([name]) == {_other(flavour)})
    wanted = {**offer.packages, **{name: version for name, version in offer.companions.items() if version or name not in state.versions}}
    for name in set(state.versions).difference(leaving):
        exact = next((version for version in offered.get(name, ()) if upstream(version) == offer.version), None)
        if exact:
            wanted.setdefault(name, exact)
    moved = [f"{name}={version}" if version else name for name, version in sorted(wanted.items())]
    return [*moved, *(name for name in offer.set.kernel if name in offered), *(f"{name}-" for name in leaving)]


def versions_after(versions: Mapping[str, str], changes: Iterable[Change]) -> dict[str, str]:
    """The packages of the driver once apt has done this."""
    moved = {change.name: change.new for change in changes if is_driver_package(change.name)}
    return {name: version for name, version in {**versions, **moved}.items() if version is not None}


def transaction_problems(changes: Iterable[Change], state: State, target: str) -> Iterator[Problem]:
    """What speaks against what apt would do."""
    changes = list(changes)
    if foreign := [change for change in changes if change.new is None and not is_driver_package(change.name)]:
        yield error(
            "would_remove",
            f"To install NVIDIA driver {target}, apt would remove {', '.join(change.name for change in foreign)}",
            "Remove or upgrade these yourself if that is meant, or ask for another version",
        )
    mixed = [change for change in changes if change.new is not None and _differs(change.name, change.new, target)]
    if mixed:
        yield error(
            "mixed_versions",
            f"With NVIDIA driver {target}, apt would install {', '.join(f'{change.name} {change.new}' for change in mixed)}",
            "Look for other pins below /etc/apt/preferences.d and remove them; the packages of a driver only work with their own version",
        )
    if on_hold := sorted({change.name for change in changes} & set(state.held)):
        yield _held_problem(on_hold)
    touched = {change.name for change in changes}
    behind = [name for name, version in state.versions.items() if name not in touched and _differs(name, version, target)]
    if behind:
        yield warning(
            "left_behind",
            f"{', '.join(f'{name} {state.versions[name]}' for name in sorted(behind))} would stay beside NVIDIA driver {target}",
            "Remove them if nothing needs them: they work with their own version of the driver only",
        )


def _held_problem(names: Sequence[str]) -> Problem:
    return error(
        "on_hold",
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} on hold, so apt would not change the driver as a whole",
        f"Run `apt-mark unhold {' '.join(names)}`: the pin of this module keeps the driver where it is, and also lets it go back",
    )


def space_problems(boot_free: int | None, initramfs: int, var_free: int, download: int, *, dkms: bool) -> Iterator[Problem]:
    """All in bytes. ``boot_free`` is None where there is no initramfs, and ``initramfs`` is the size of the largest."""
    if boot_free is not None and boot_free < initramfs + _BOOT_MARGIN:
        yield error(
            "boot_full",
            f"/boot has {boot_free // _MIB} MiB free, and a new initramfs needs {(initramfs + _BOOT_MARGIN) // _MIB} MiB",
            "Remove kernels that are no longer used: `apt-get autoremove --purge`",
        )
    # The packages that come and those that go are both kept, so that going back needs no network.
    needed = 2 * download + (_DKMS_TREE if dkms else 0)
    if var_free < needed:
        yield error(
            "var_full",
            f"/var has {var_free // _MIB} MiB free, and the driver's packages and the build of its modules need {needed // _MIB} MiB",
            "Make room: `apt-get clean`, or `journalctl --vacuum-size=200M`",
        )


def _differs(name: str, version: str, target: str) -> bool:
    plain = name.partition(":")[0]
    return is_driver_package(name) and plain not in _OWN_VERSIONS and is_version(upstream(version)) and upstream(version) != target


def _other(flavour: Flavour) -> Flavour:
    return Flavour.PROPRIETARY if flavour is Flavour.OPEN else Flavour.OPEN


def _list(versions: Sequence[str]) -> str:
    newest = list(reversed(versions))
    more = f" and {len(newest) - _SHOWN_VERSIONS} older ones" if len(newest) > _SHOWN_VERSIONS else ""
    return (", ".join(newest[:_SHOWN_VERSIONS]) + more) if newest else "none"


def _text(gpu: Mapping[str, object], key: str) -> str | None:
    value = gpu.get(key)
    return None if value is None else str(value)
