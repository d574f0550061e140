# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan says, whatever the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB, Range, mib
from ansible_collections.baremetal.llm.plugins.module_utils._memory_suggestions import Suggestion
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem


@dataclass(frozen=True)
class GpuPlan:
    label: str
    memory_mib: int
    weights: int
    encoder: Range
    cache: int | None
    compute: Range | None
    """None where that is unknown, as for the cache."""
    overhead_mib: int
    driver_mib: int
    """The part of the overhead that is the driver's, once for all processes."""
    claim_mib: int = 0
    """What has to be free of it before the engine starts, whatever it then takes."""

    def as_dict(self) -> dict[str, object]:
        parts: dict[str, int | None] = {
            "weights_mib": mib(self.weights),
            "mmproj_mib": mib(self.encoder.expected),
            "kv_cache_mib": None if self.cache is None else mib(self.cache),
            "compute_mib": None if self.compute is None else mib(self.compute.expected),
            "overhead_mib": self.overhead_mib,
        }
        return {
            "gpu": self.label,
            "memory_mib": self.memory_mib,
            **parts,
            "driver_mib": self.driver_mib,
            "claim_mib": self.claim_mib,
            "free_mib": self.memory_mib - sum(part or 0 for part in parts.values()),
        }


@dataclass(frozen=True)
class HostPlan:
    weights: int
    encoder: Range
    cache: int | None
    compute: Range | None
    prompt_cache_mib: int | None
    """What the cache of prompts may grow to; None for no limit."""

    def as_dict(self) -> dict[str, object]:
        return {
            "weights_mib": mib(self.weights),
            "mmproj_mib": mib(self.encoder.expected),
            "kv_cache_mib": None if self.cache is None else mib(self.cache),
            "compute_mib": None if self.compute is None else mib(self.compute.expected),
            "prompt_cache_mib": self.prompt_cache_mib,
        }


@dataclass(frozen=True)
class Estimate:
    """A figure that is not exact."""

    figure: str
    """Its place in the plan, such as gpus[0].compute_mib."""
    low: int
    high: int
    basis: str

    @classmethod
    def of(cls, figure: str, size: Range, basis: str) -> Estimate:
        return cls(figure, size.low // MIB, mib(size.high), basis)

    def as_dict(self) -> dict[str, object]:
        return {"figure": self.figure, "low_mib": self.low, "high_mib": self.high, "basis": self.basis}


@dataclass(frozen=True)
class Plan:
    fits: bool | None
    """None where too little is known to say that it does."""
    gpus: Sequence[GpuPlan]
    host: HostPlan
    kv_bytes_per_token: int | None
    tokens_per_slot: int | None
    slots: int
    context: int | None
    """Tokens in all, for which there is a cache."""
    layers: int | None = None
    layers_on_gpus: int | None = None
    capacity: Mapping[str, object] | None = None
    """What of vLLM's cache follows from the plan."""
    estimates: Sequence[Estimate] = ()
    calibrated: bool = False
    problems: Sequence[Problem] = ()
    suggestions: Sequence[Suggestion] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """What the module memory_plan returns."""
        return {
            "fits": self.fits,
            "gpus": [gpu.as_dict() for gpu in self.gpus],
            "host": self.host.as_dict(),
            "kv_bytes_per_token": self.kv_bytes_per_token,
            "tokens_per_slot": self.tokens_per_slot,
            "slots": self.slots,
            "context_tokens": self.context,
            "layers": self.layers,
            "layers_on_gpus": self.layers_on_gpus,
            "capacity": self.capacity,
            "estimates": [estimate.as_dict() for estimate in self.estimates],
            "calibrated": self.calibrated,
            "problems": [problem.as_dict() for problem in self.problems],
            "suggestions": [suggestion.as_dict() for suggestion in self.suggestions],
        }
