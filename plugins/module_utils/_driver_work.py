# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done to a host for its driver, decided from what was seen of it and what apt said; nothing is touched here.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Change, Simulation
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import (
    Catalogue,
    Kernel,
    Offer,
    PackageSet,
    Repository,
    Supply,
)
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import (
    NOT_OFFERED,
    Needs,
    Wish,
    needs_offers,
    not_offered,
    other,
    version_problems,
    wanted_flavour,
    wanted_version,
)
from ansible_collections.baremetal.llm.plugins.module_utils._driver_obstacles import (
    apt_refuses,
    headers_problem,
    no_repository,
    not_from_apt,
    transaction_problems,
    unended_upgrade,
)
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import (
    branch_of,
    installed_flavours,
    is_driver_package,
    upstream,
)
from ansible_collections.baremetal.llm.plugins.module_utils._driver_pin import texts
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import Seen, State
from ansible_collections.baremetal.llm.plugins.module_utils._files import FileChange
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, errors

# Whose packages to name where no branch is asked for, and none is on offer.
_SOME_BRANCH = 590


@dataclass(frozen=True)
class Request:
    """What is asked for: which driver, for which needs, and of whose packages."""

    wish: Wish
    needs: Needs
    repository: Repository = Repository.NVIDIA
    compute_only: bool = True

    def catalogue(self, distribution: str, kernel: Kernel) -> Catalogue:
        return Catalogue(distribution, self.repository, kernel, self.compute_only)


@dataclass(frozen=True)
class Work:
    """What is to be done, and what was found on the way to that."""

    target: str | None = None
    flavour: Flavour = Flavour.OPEN
    arguments: tuple[str, ...] = ()
    """What apt is to install."""
    changes: tuple[Change, ...] = ()
    offered: tuple[str, ...] = ()
    files: tuple[FileChange, ...] = ()
    unfinished: bool = False
    """Whether dpkg has to finish what it was interrupted in."""
    problems: tuple[Problem, ...] = ()

    @property
    def due(self) -> bool:
        return bool(self.arguments or self.files or self.unfinished)

    @property
    def installs(self) -> bool:
        """Whether apt's lists have to be new: for packages that are to come, or a version that may have come into them since."""
        return bool(self.arguments) or any(problem.code == NOT_OFFERED for problem in self.problems)

    @property
    def version(self) -> str:
        """The target of work that has one, as all has that changes something."""
        if self.target is None:
            raise AssertionError("without a target there is nothing to do")
        return self.target

    @property
    def subject(self) -> str:
        """What it brings, in words."""
        coming = [change.name for change in self.changes if change.new is not None]
        driver = f"NVIDIA driver {self.version}"
        return driver if any(map(is_driver_package, coming)) or not coming else f"{', '.join(coming)} for {driver}"

    def noting(self, *problems: Problem) -> Work:
        return replace(self, problems=(*self.problems, *problems))


def as_it_is(seen: Seen) -> Work:
    """Nothing."""
    return Work(seen.state.version, seen.state.flavour or Flavour.NONE)


# -- a driver that is wanted ---------------------------------------------------------------------------------------------


def must_ask_apt(request: Request, seen: Seen, catalogue: Catalogue) -> bool:
    """Whether :func:`decide` has to know what apt has: not of a driver that is as it shall be, with all that belongs to it."""
    wish, needs, state = request.wish, request.needs, seen.state
    if seen.foreign:
        return False
    flavour = wanted_flavour(wish, needs, state)
    return needs_offers(wish, state, flavour) or (
        _is_there(wanted_version(wish, needs, state.version, ()), flavour, state) and bool(_missing(flavour, seen, catalogue))
    )


def decide(request: Request, seen: Seen, catalogue: Catalogue, supply: Supply, *, expected: bool) -> Work:
    """``supply`` is empty where apt did not have to be asked; ``expected`` says whether a repository may still be set up in this run."""
    wish, needs, state = request.wish, request.needs, seen.state
    work = Work(flavour=wanted_flavour(wish, needs, state), unfinished=seen.unfinished)
    if seen.foreign:
        return work.noting(not_from_apt(seen.foreign))
    if seen.record and not wish.upgrade:
        work = work.noting(unended_upgrade(seen.record, state))
    asked = needs_offers(wish, state, work.flavour)
    if asked:
        work = replace(work, offered=tuple(offer.version for offer in supply.offers))
    if seen.record and not wish.upgrade and not state.usable:
        return work
    work = replace(work, target=wanted_version(wish, needs, state.version, work.offered))
    if asked and not supply.offers:
        return _without_repository(work, wish, catalogue, expected=expected)
    work = work.noting(*version_problems(wish, needs, state, work.target, work.flavour, work.offered))
    if errors(work.problems):
        return work
    return _with_files(_with_arguments(work, seen, catalogue, supply), seen)


def _without_repository(work: Work, wish: Wish, catalogue: Catalogue, *, expected: bool) -> Work:
    names = catalogue.package_set(branch_of(wish.version) if wish.version else _SOME_BRANCH, work.flavour).driver
    work = work.noting(no_repository(names, expected=expected))
    if not expected:
        return work
    # As far as can be told: these come, in a version that only the repository knows.
    return replace(work, arguments=names, changes=tuple(Change(name, None, wish.version or "(newest)") for name in names))


def _with_arguments(work: Work, seen: Seen, catalogue: Catalogue, supply: Supply) -> Work:
    """All of the driver, or what is missing of it, or nothing."""
    state = seen.state
    there = _is_there(work.target, work.flavour, state)
    if there and not _missing(work.flavour, seen, catalogue):
        return work
    offer = next((offer for offer in supply.offers if offer.version == work.target), None)
    if offer is None:
        if state.usable and work.target == state.version:
            return work
        return work.noting(not_offered(work.version, work.offered, work.flavour))
    if not seen.headers and (problem := headers_problem(offer.set, catalogue.kernel, supply.versions, seen.names)):
        return work.noting(problem)
    wanted = specs(offer, work.flavour, state, supply.versions)
    if there:
        wanted = [spec for spec in wanted if spec.partition("=")[0].rstrip("-") not in seen.names]
    return replace(work, arguments=tuple(wanted))


def _is_there(target: str | None, flavour: Flavour, state: State) -> bool:
    return state.usable and target == state.version and state.has(flavour)


def _missing(flavour: Flavour, seen: Seen, catalogue: Catalogue) -> list[str]:
    """Of the driver that is installed."""
    version = seen.state.version
    return missing_packages(catalogue.package_set(branch_of(version), flavour), seen) if version else []


def missing_packages(packages: PackageSet, seen: Seen) -> list[str]:
    """What of the set is not on the host; nothing where the driver is not made of this set, but of somebody else's choice."""
    if not any(name in seen.state.versions for name in packages.driver):
        return []
    there = [name for name in (*packages.driver, *packages.kernel, *packages.companions) if name not in seen.names]
    return [name for name in there if not (seen.headers and packages.dkms and name == packages.kernel[0])]


def specs(offer: Offer, flavour: Flavour, state: State, offered: Mapping[str, Sequence[str]]) -> list[str]:
    """What apt is to install: the packages of the set, and with them whatever else of the driver is there and comes in this version.

    Modules of the other flavour go: apt would keep some of them, since there may be one for each kernel.
    """
    leaving = sorted(name for name in state.versions if name not in offer.packages and installed_flavours([name]) == {other(flavour)})
    wanted = {**offer.packages, **{name: version for name, version in offer.companions.items() if version or name not in state.versions}}
    for name in set(state.versions).difference(leaving):
        exact = next((version for version in offered.get(name, ()) if upstream(version) == offer.version), None)
        if exact:
            wanted.setdefault(name, exact)
    moved = [f"{name}={version}" if version else name for name, version in sorted(wanted.items())]
    return [*moved, *(name for name in offer.set.kernel if name in offered), *(f"{name}-" for name in leaving)]


# -- the driver from before an upgrade -----------------------------------------------------------------------------------


def way_back(record: Record, seen: Seen, kept: Sequence[str]) -> Work:
    """``kept`` are the packages of the record as apt is to be told them."""
    work = Work(record.version, Flavour(record.kernel_module), unfinished=seen.unfinished)
    state = seen.state
    if dict(state.versions) != dict(record.packages) or state.broken:
        leaving = sorted(f"{name}-" for name in state.versions if name not in record.packages)
        work = replace(work, arguments=(*kept, *leaving))
    return _with_files(work, seen)


# -- of either -----------------------------------------------------------------------------------------------------------


def _with_files(work: Work, seen: Seen) -> Work:
    wanted = texts(work.version)
    outdated = (FileChange(path, seen.files.get(path) or "", text) for path, text in wanted.items() if seen.files.get(path) != text)
    return replace(work, files=tuple(outdated))


def rehearsed(work: Work, seen: Seen, simulation: Simulation, *, healed: bool) -> Work:
    """With what apt has said to it. ``healed`` is whether dpkg has had its chance to finish what it was interrupted in."""
    if simulation.refusal is not None:
        # While dpkg is interrupted apt refuses everything.
        excused = work.unfinished and not healed
        return work if excused else work.noting(apt_refuses(work.version, simulation.refusal))
    nothing = not simulation.changes and not seen.state.broken
    work = replace(work, changes=simulation.changes, arguments=() if nothing else work.arguments)
    return work.noting(*transaction_problems(simulation.changes, seen.state, work.version))


# -- what will be --------------------------------------------------------------------------------------------------------


def packages_after(state: State, changes: Iterable[Change]) -> list[str]:
    """The packages of the driver once apt has done this."""
    moved = {change.name: change.new for change in changes if is_driver_package(change.name)}
    after = {**state.versions, **moved}
    return [f"{name}={version}" for name, version in sorted(after.items()) if version is not None]


def reboot_required(seen: Seen, coming: Work | None = None) -> bool:
    """Whether the driver only runs after a reboot. ``coming`` is what would be installed now."""
    state, loaded = seen.state, seen.loaded
    version, flavours = (coming.target, {coming.flavour}) if coming else (state.version, state.flavours)
    if loaded is None or version is None:
        # One that was there before the host was booted and does not run has another reason not to.
        return coming is not None or (version is not None and seen.came_since_boot)
    return loaded.version != version or (bool(flavours) and loaded.flavour not in {Flavour.NONE, *flavours})
