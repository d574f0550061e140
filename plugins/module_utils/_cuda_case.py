# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host to plan for: what is known or wanted, and which toolkits that leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Architecture, for_gpus
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import CAPABILITIES, Capability, Family, Modules, Support
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import TOOLKITS, HostCompiler, Toolkit, find
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import Version


@dataclass(frozen=True)
class Gpu:
    name: str
    """Empty where only the compute capability is known."""
    capability: Capability
    family: Family

    @property
    def label(self) -> str:
        return self.name or f"the GPU of compute capability {self.capability}"

    @property
    def support(self) -> Support:
        return CAPABILITIES[self.capability]


@dataclass(frozen=True)
class Request:
    """What is there or wanted; None is "not known" or "no wish"."""

    toolkit: Version | None = None
    driver: Version | None = None
    kernel_module: str | None = None
    compiler: HostCompiler | None = None
    cmake: Version | None = None
    architectures: Sequence[str] | None = None


@dataclass(frozen=True)
class Case:
    request: Request
    gpus: Sequence[Gpu]
    """At least one."""

    @cached_property
    def buildable(self) -> list[Toolkit]:
        """The toolkits that build for all GPUs. Like all lists of toolkits here: oldest first, without a gap."""
        return [toolkit for toolkit in TOOLKITS if all(gpu.support.built_by(toolkit.version) for gpu in self.gpus)]

    @cached_property
    def runnable(self) -> list[Toolkit]:
        """Those of them whose programs the driver runs."""
        driver = self.request.driver
        return [toolkit for toolkit in self.buildable if driver is None or driver >= toolkit.min_driver]

    @cached_property
    def allowed(self) -> list[Toolkit]:
        """Those of them that take the compiler."""
        return [toolkit for toolkit in self.runnable if toolkit.takes(self.request.compiler)]

    @cached_property
    def compiler_limit(self) -> Toolkit | None:
        """The newest toolkit for GPUs and driver, if the compiler is too new for that one and so for all."""
        newest = (self.runnable or self.buildable)[-1:]
        return next((toolkit for toolkit in newest if not toolkit.takes(self.request.compiler)), None)

    @cached_property
    def wanted(self) -> Toolkit | None:
        return find(self.request.toolkit) if self.request.toolkit else None

    @cached_property
    def chosen(self) -> Toolkit | None:
        if self.request.toolkit:
            return self.wanted if self.wanted in self.allowed else None
        return preferred(self.allowed)

    @cached_property
    def min_driver(self) -> Version:
        """The oldest driver for the GPUs and the chosen toolkit; without a choice, for the one that comes closest to it."""
        compilable = [toolkit for toolkit in self.buildable if toolkit.takes(self.request.compiler)]
        basis = self.chosen or (self.wanted if self.wanted in self.buildable else None) or next(iter(compilable or self.buildable), None)
        return max([(gpu.support.driver,) for gpu in self.gpus] + ([basis.min_driver] if basis else []))

    @property
    def last_driver(self) -> int | None:
        """The last driver branch that drives all of them, where there is one."""
        return min((gpu.family.last_driver for gpu in self.gpus if gpu.family.last_driver), default=None)

    @property
    def needed(self) -> list[Architecture]:
        return for_gpus(gpu.capability for gpu in self.gpus)

    def needing(self, modules: Modules) -> list[Gpu]:
        return [gpu for gpu in self.gpus if gpu.family.modules is modules]


def preferred(toolkits: Iterable[Toolkit]) -> Toolkit | None:
    """The newest, of those that come as Python packages if there are any: they need no repository, and lie side by side."""
    return max(toolkits, key=lambda toolkit: (toolkit.pypi, toolkit.version), default=None)
