# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What llama-server makes of what the options leave open: the context, and how much of the model is on the GPUs (common/fit.cpp).

Only what is not given is changed. llama-server first lowers the context, down to a limit, then leaves experts or whole layers on the
host.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._memory_layout import Case, Layout, lay_out
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import ALL_LAYERS
from ansible_collections.baremetal.llm.plugins.module_utils._memory_search import largest, smallest

_CONTEXT_STEP = 256  # tokens of each part of the context


@dataclass(frozen=True)
class Fitted:
    layout: Layout
    context_reduced: bool = False
    experts_on_host: int = 0
    """Layers whose experts are left on the host, although nobody has asked for that."""
    layers_on_host: int = 0
    """Layers that are left on the host, likewise."""


def fit(case: Case) -> Fitted:
    asked = case.request
    gpu_layers = ALL_LAYERS if asked.gpu_layers is None else asked.gpu_layers
    full = full_context(case)
    layout = lay_out(case, full, gpu_layers)
    if not asked.fit or asked.split_mode == "tensor" or case.shape is None or layout.keeps_targets:
        return Fitted(layout)
    reduced = False
    if not asked.context.asked and case.shape.caches:
        context = _reduced_context(case, full, gpu_layers)
        reduced = context < full
        layout = lay_out(case, context, gpu_layers)
        if layout.keeps_targets:
            return Fitted(layout, context_reduced=reduced)
    given = asked.gpu_layers is not None or asked.tensor_split or asked.split_mode == "row"
    if given or asked.moves_tensors or not case.gpus:
        return Fitted(layout, context_reduced=reduced)
    return _with_less_on_gpus(case, layout, reduced)


def full_context(case: Case) -> int:
    """What is asked for, or else what the model was trained for, and with --fit that much for each slot; 0 where that is unknown."""
    shared = case.request.context
    if shared.asked or case.shape is None:
        return shared.asked
    return case.shape.trained_context * (shared.slots if case.request.fit and not shared.unified else 1)


def _reduced_context(case: Case, full: int, gpu_layers: int) -> int:
    """The longest context with which the targets are kept; the shortest allowed one where none is."""
    streams = 1 if case.request.context.unified else case.request.context.slots
    step = _CONTEXT_STEP * streams
    least = case.request.fit_context * streams
    if full <= least:
        return full
    steps = largest(lambda count: lay_out(case, count * step, gpu_layers).keeps_targets, -(-least // step), full // step)
    return least if steps is None else max(least, steps * step)


def _with_less_on_gpus(case: Case, layout: Layout, reduced: bool) -> Fitted:
    context, count = layout.context, case.layer_count
    moved = case
    if case.shape is not None and case.shape.experts_used:

        def spilled(layers: int) -> Layout:
            return lay_out(without_experts(case, layers), context, ALL_LAYERS)

        fewest = smallest(lambda layers: spilled(layers).keeps_targets, 1, count)
        if fewest is not None:
            return Fitted(spilled(fewest), context_reduced=reduced, experts_on_host=fewest)
        moved = without_experts(case, count)
    most = largest(lambda layers: lay_out(moved, context, layers).keeps_targets, 0, count)
    layers = most or 0
    return Fitted(
        lay_out(moved, context, layers),
        context_reduced=reduced,
        experts_on_host=count if moved is not case else 0,
        layers_on_host=count + 1 - layers,
    )


def without_experts(case: Case, layers: int) -> Case:
    """The same with the experts of the first layers on the host."""
    return case.asking(experts_on_host=layers)
