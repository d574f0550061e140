# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which driver a host shall have: what was asked for, what its GPUs and its toolkit need, and what there is.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_case import Request
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_conflicts import OF_THE_DRIVER
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import Plan, resolve
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import parse_toolkit_version
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import parse_version, show_driver
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import branch_of, is_version
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import State
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, required_flavour, version_key
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error

UPGRADE_PLAYBOOK = "playbooks/driver_upgrade.yml"
# Of this problem a newer list of what there is may be the end.
NOT_OFFERED = "version_not_offered"
_SHOWN_VERSIONS = 12


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
            yield from (problem for problem in self.plan(driver, flavour).problems if problem.code in OF_THE_DRIVER)

    def describe(self) -> str:
        plan = self.plan() if self._known() else Plan()
        least = f"{show_driver(plan.min_driver)} or newer" if plan.min_driver else ""
        most = f"of branch {plan.last_driver} or older" if plan.last_driver else ""
        return " and ".join(part for part in (least, most) if part)

    def _known(self) -> list[Mapping[str, object]]:
        return [gpu for gpu in self.gpus if resolve([gpu], Request()).gpus]


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
    kept = state.version is not None and not wish.upgrade
    if kept and target != state.version:
        what = f"version asks for {wish.version}" + (f", of which {target} is the newest" if target and target != wish.version else "")
        yield error(
            "other_version",
            f"NVIDIA driver {state.version} is installed, and {what}",
            f"Run {UPGRADE_PLAYBOOK}, which changes the driver and goes back if the new one does not serve; or ask for {state.version}",
        )
        return
    if kept and state.flavours and not state.has(flavour):
        yield error(
            "other_flavour",
            f"NVIDIA driver {state.version} is installed with the {other(flavour).value} kernel modules, and kernel_module asks for the "
            f"{flavour.value} ones",
            f"Run {UPGRADE_PLAYBOOK}, which changes them; or ask for kernel_module: {other(flavour).value}",
        )
        return
    if target is None:
        fits = f", and no branch of it fits: {needs.describe()} is needed" if not wish.version and needs.describe() else ""
        yield error(
            NOT_OFFERED,
            f"version asks for {wish.version or 'any driver'}{fits}; apt offers {_list(offered)}",
            "Ask for one of these, or update apt's lists if they are old",
        )
        return
    yield from needs.problems(target, flavour)


def not_offered(target: str, offered: Sequence[str], flavour: Flavour) -> Problem:
    return error(
        NOT_OFFERED,
        f"version asks for {target}, which apt does not offer with {flavour.value} kernel modules; it offers {_list(offered)}",
        "Ask for one of these, or update apt's lists if they are old",
    )


def other(flavour: Flavour) -> Flavour:
    return Flavour.PROPRIETARY if flavour is Flavour.OPEN else Flavour.OPEN


def _list(versions: Sequence[str]) -> str:
    newest = list(reversed(versions))
    more = f" and {len(newest) - _SHOWN_VERSIONS} older ones" if len(newest) > _SHOWN_VERSIONS else ""
    return (", ".join(newest[:_SHOWN_VERSIONS]) + more) if newest else "none"


def _text(gpu: Mapping[str, object], key: str) -> str | None:
    value = gpu.get(key)
    return None if value is None else str(value)
