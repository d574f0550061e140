# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver of a host as it was found, before anything is decided about it.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Package
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Kernel
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import (
    installed_flavours,
    installed_version,
    is_driver_package,
    upstream,
)
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour, ModuleVersion


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


@dataclass(frozen=True)
class Seen:
    """What was found on the host at one moment."""

    kernel: Kernel
    """The one that runs."""
    headers: bool = False
    """Whether modules can be compiled for it."""
    packages: tuple[Package, ...] = ()
    interrupted: bool = False
    """Whether dpkg was killed before it had written down what it did."""
    record: Record | None = None
    """Of an upgrade that is neither accepted nor taken back."""
    files: Mapping[str, str | None] = field(default_factory=dict)
    """What those of :mod:`_driver_pin` say, None for one that is not there."""
    loaded: ModuleVersion | None = None
    came_since_boot: bool = False
    """Whether the driver has been installed since this boot; only asked where none is loaded."""
    nouveau: bool = False
    foreign: str | None = None
    """The library of a driver that no package has brought; only looked for where no package is there."""

    @cached_property
    def state(self) -> State:
        driver = [package for package in self.packages if is_driver_package(package.name)]
        return State(
            versions={package.name: package.version for package in driver},
            broken=tuple(package.name for package in driver if not package.intact),
            held=tuple(package.name for package in driver if package.held),
            upgraded_from=self.record.version if self.record else None,
        )

    @property
    def names(self) -> set[str]:
        return {package.name for package in self.packages}

    @property
    def unfinished(self) -> bool:
        """Whether dpkg has to finish what it was interrupted in."""
        return self.interrupted or any(not package.intact for package in self.packages)
