# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the installed llama.cpp itself says that a model takes: its program llama-fit-params, which allocates nothing.

It knows neither the projector nor a unified cache, and counts the odds of a word for each token of a batch, while llama-server keeps those
of one token for each slot: its compute buffers are the most that can be (tools/fit-params, common/fit.cpp, server_output_limits).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB

PROGRAM = "llama-fit-params"
# Options of llama-server that the program has as well, and that change what it prints.
_OPTIONS = (
    "batch_size", "ubatch_size", "cache_type_k", "cache_type_v", "cpu_moe", "device", "flash_attn", "kv_offload", "main_gpu",
    "n_cpu_ffn", "n_cpu_moe", "n_gpu_layers", "gpu_layers", "no_kv_offload", "override_tensor", "split_mode", "swa_full", "tensor_split",
)  # fmt: skip
_LINE = re.compile(r"^(?P<device>[A-Za-z]+\d*) (?P<model>\d+) (?P<context>\d+) (?P<compute>\d+) *$", re.MULTILINE)


@dataclass(frozen=True)
class Measured:
    """Bytes, in whole MiB rounded down as the program prints them."""

    model: int
    context: int
    compute: int


def arguments(model: str, options: Mapping[str, Any], context: int, slots: int) -> list[str]:
    """The arguments that ask for such a service; ``slots`` is 1 for a unified cache, which lies in memory like that of one slot."""
    chosen = ["--model", model, "--fit-print", "on", "--ctx-size", str(context), "--parallel", str(slots)]
    for key in sorted(options):
        if key not in _OPTIONS:
            continue
        flag, value = "--" + key.replace("_", "-"), options[key]
        if isinstance(value, bool) and key == "flash_attn":
            chosen += [flag, "on" if value else "off"]
        elif value is True:
            chosen.append(flag)
        elif value is False:
            chosen += ["--no-kv-offload"] if key == "kv_offload" else []
        else:
            chosen += [flag, ",".join(str(item) for item in value) if isinstance(value, (list, tuple)) else str(value)]
    return chosen


def parse(stdout: str) -> dict[str, Measured]:
    """What each device holds, by its name in llama.cpp; the host is Host."""
    return {
        match["device"]: Measured(*(int(match[part]) * MIB for part in ("model", "context", "compute"))) for match in _LINE.finditer(stdout)
    }
