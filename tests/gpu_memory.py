# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a llama-server holds of a GPU, beside what was planned: for the tests with recorded figures, and those on a GPU."""

from __future__ import annotations

import re
import typing as t

# Of the model itself: a projector's buffers are told by functions of other names.
_BUFFER = re.compile(r"(?:load_tensors|llama_kv_cache|llama_memory_recurrent|sched_reserve): +CUDA0 (\w+) buffer size = +([\d.]+) MiB")
_PART = {"model": "weights", "KV": "cache", "RS": "cache", "compute": "compute"}


def buffers(log: str) -> dict[str, float]:
    """MiB on the first GPU, from what llama-server prints at verbosity 4 while it loads a model once (--fit off)."""
    found = dict.fromkeys(_PART.values(), 0.0)
    for kind, size in _BUFFER.findall(log):
        found[_PART[kind]] += float(size)
    return found


def compare(plan: t.Mapping[str, t.Any], real: t.Mapping[str, float], held_mib: int) -> None:
    """Weights and cache are exact; the rest, and all together, is within what the estimates say. ``held_mib`` as nvidia-smi tells it."""
    (gpu,) = plan["gpus"]
    bounds = {estimate["figure"]: (estimate["low_mib"], estimate["high_mib"]) for estimate in plan["estimates"]}
    parts = {name: bounds.get(f"gpus[0].{name}", (gpu[name], gpu[name])) for name in gpu if name.endswith("_mib")}
    for name, part in (("weights_mib", "weights"), ("kv_cache_mib", "cache")):
        assert real[part] <= gpu[name] <= real[part] + 2, (name, gpu[name], real)  # rounded up
    assert parts["compute_mib"][0] <= real["compute"] <= parts["compute_mib"][1], (parts["compute_mib"], real)
    process = ("weights_mib", "kv_cache_mib", "compute_mib", "mmproj_mib", "overhead_mib")
    least, most = (sum(parts[name][bound] for name in process) - gpu["driver_mib"] for bound in (0, 1))
    assert least - 2 <= held_mib <= most, (least, held_mib, most, parts)
