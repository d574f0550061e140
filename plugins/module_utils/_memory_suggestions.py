# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would make a model fit: of each kind of change the smallest, those that cost least first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.baremetal.llm.plugins.module_utils._memory_cache_types import CACHE_TYPES, CacheType
from ansible_collections.baremetal.llm.plugins.module_utils._memory_fitting import without_experts
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layout import Case, Layout, lay_out
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import ALL_LAYERS
from ansible_collections.baremetal.llm.plugins.module_utils._memory_search import largest, smallest

_CONTEXT_STEP = 256
_LEAST_SLOT = 1024  # tokens; a slot with fewer is of little use


@dataclass(frozen=True)
class Suggestion:
    """A change after which all fits. ``code`` is documented and stable."""

    code: str
    message: str
    free_bytes: int
    """What is then left on the fullest GPU."""
    options: Mapping[str, object] = field(default_factory=dict)
    """What to set among the service's options."""
    file: str | None = None
    """The model's file to take instead."""

    def as_dict(self) -> dict[str, object]:
        return {
            "code": self.code,
            "message": self.message,
            "options": dict(self.options),
            "file": self.file,
            "free_mib": self.free_bytes // MIB,
        }


@dataclass(frozen=True)
class OtherFile:
    """Another quantisation of the same model."""

    name: str
    size: int
    """Bytes."""


def suggestions(layout: Layout, others: Sequence[OtherFile]) -> list[Suggestion]:
    """For a layout that does not fit as it was asked for."""
    case = layout.case
    if case.shape is None:
        return list(_smaller_file(layout, others))
    found = [
        *_flash_attention(layout),
        *_quantised_cache(layout),
        *_smaller_images(layout),
        *_fewer_slots(layout),
        *_less_context(layout),
        *_smaller_file(layout, others),
        *_experts_on_host(layout),
        *_fewer_gpu_layers(layout),
    ]
    return found or list(_all_of_it(layout))


def _layers(case: Case) -> int:
    return ALL_LAYERS if case.request.gpu_layers is None else case.request.gpu_layers


def _usable(case: Case, kind: CacheType) -> bool:
    """Whether the heads of the model can be stored in blocks of this type (llama_init_from_model refuses what can't)."""
    shape = case.shape
    return shape is not None and not any(
        layer.attends and (layer.key_head % kind.block or layer.value_head % kind.block) for layer in shape.layers
    )


def _with_cache(case: Case, kind: CacheType) -> Case:
    return case.asking(key=kind, value=kind)


def _smaller_types(case: Case) -> list[CacheType]:
    """Those that take less than what the cache has now, and need no further options."""
    now = case.request.key.row(32) + case.request.value.row(32)
    kinds = [CACHE_TYPES[name] for name in ("q8_0", "q4_0")]
    return [kind for kind in kinds if 2 * kind.row(32) < now and case.request.flash_attention and _usable(case, kind)]


def _flash_attention(layout: Layout) -> Iterator[Suggestion]:
    if layout.case.request.flash_attention:
        return
    changed = lay_out(layout.case.asking(flash_attention=True), layout.context, _layers(layout.case))
    if changed.stays_as_asked:
        yield Suggestion("flash_attention", "Compute attention in less memory", changed.least_free, {"flash_attn": "on"})


def _quantised_cache(layout: Layout) -> Iterator[Suggestion]:
    case = layout.case
    for kind in _smaller_types(case):
        changed = lay_out(_with_cache(case, kind), layout.context, _layers(case))
        if changed.stays_as_asked:
            worse = "hardly worse" if kind.name == "q8_0" else "noticeably worse answers"
            yield Suggestion(
                "quantised_cache",
                f"Keep keys and values as {kind.name} ({worse}, all slots as they are)",
                changed.least_free,
                {"cache_type_k": kind.name, "cache_type_v": kind.name},
            )
            return


def _smaller_images(layout: Layout) -> Iterator[Suggestion]:
    case, asked = layout.case, layout.case.request
    images = case.encoder.images if case.encoder else None
    if images is None:
        return

    def limited(tokens: int) -> Layout:
        return lay_out(case.asking(image_max_tokens=tokens), layout.context, _layers(case))

    now = images.largest(asked.image_max_tokens)
    # Room is made for an image of a certain size, however small the largest.
    least = max(images.at_start(asked.image_max_tokens), images.smallest(asked.image_min_tokens))
    tokens = largest(lambda tokens: limited(tokens).stays_as_asked, least, now - 1)
    if tokens is not None:
        yield Suggestion(
            "smaller_images",
            f"Scale images down to at most {tokens} tokens",
            limited(tokens).least_free,
            {"image_max_tokens": tokens},
        )


def _fewer_slots(layout: Layout) -> Iterator[Suggestion]:
    """Slots as long as they are, but fewer."""
    case, shared = layout.case, layout.case.request.context
    if shared.unified or shared.slots < 2 or layout.cells is None:
        return
    tokens = layout.cells.tokens

    def with_slots(count: int) -> Layout:
        return lay_out(case.asking(context=replace(shared, slots=count, asked=tokens * count)), tokens * count, _layers(case))

    count = largest(lambda slots: with_slots(slots).stays_as_asked, 1, shared.slots - 1)
    if count is not None:
        yield Suggestion(
            "fewer_slots",
            f"Serve {count} requests at once instead of {shared.slots}, each with the same {tokens} tokens",
            with_slots(count).least_free,
            {"parallel": count, "ctx_size": tokens * count},
        )


def _less_context(layout: Layout) -> Iterator[Suggestion]:
    context, shared = _fitting_context(layout.case, layout.context), layout.case.request.context
    if context is not None:
        changed = lay_out(layout.case, context, _layers(layout.case))
        each = "shared by all slots" if shared.unified else f"{shared.tokens_of(context)} for each slot"
        yield Suggestion("less_context", f"Lower the context to {context} tokens ({each})", changed.least_free, {"ctx_size": context})


def _fitting_context(case: Case, below: int) -> int | None:
    """The longest shorter context that fits and still leaves each slot something."""
    shared = case.request.context
    step = _CONTEXT_STEP * (1 if shared.unified else shared.slots)
    least = -(-_LEAST_SLOT // _CONTEXT_STEP)
    steps = largest(lambda count: lay_out(case, count * step, _layers(case)).stays_as_asked, least, (below - 1) // step)
    return None if steps is None else steps * step


def _smaller_file(layout: Layout, others: Sequence[OtherFile]) -> Iterator[Suggestion]:
    """The largest of the smaller files: its tensors are taken to shrink alike."""
    case = layout.case
    now = case.header.tensor_bytes
    for other in sorted(others, key=lambda other: -other.size):
        if other.size >= now:
            continue
        smaller = tuple(replace(tensor, size=tensor.size * other.size // now) for tensor in case.tensors)
        changed = lay_out(replace(case, tensors=smaller), layout.context, _layers(case))
        if changed.stays_as_asked:
            yield Suggestion("smaller_quantisation", f"Take {other.name}, which is smaller", changed.least_free, file=other.name)
            return


def _experts_on_host(layout: Layout) -> Iterator[Suggestion]:
    case = layout.case
    if case.shape is None or not case.shape.experts_used or case.request.experts_on_host or case.request.overrides:
        return

    def moved(count: int) -> Layout:
        return lay_out(without_experts(case, count), layout.context, _layers(case))

    fewest = smallest(lambda count: moved(count).stays_as_asked, 1, case.layer_count)
    if fewest is not None:
        yield Suggestion(
            "experts_on_host",
            f"Leave the experts of {fewest} of {case.layer_count} layers in the host's memory, which is slower",
            moved(fewest).least_free,
            {"n_cpu_moe": fewest},
        )


def _fewer_gpu_layers(layout: Layout) -> Iterator[Suggestion]:
    case = layout.case
    most = min(_layers(case), case.layer_count + 1)
    layers = largest(lambda count: lay_out(case, layout.context, count).stays_as_asked, 1, most - 1)
    if layers is not None:
        yield Suggestion(
            "fewer_gpu_layers",
            f"Put {layers} of {case.layer_count + 1} layers on the GPUs and the rest on the CPU, which is much slower",
            lay_out(case, layout.context, layers).least_free,
            {"n_gpu_layers": layers},
        )


def _all_of_it(layout: Layout) -> Iterator[Suggestion]:
    """Where no single change is enough: the smallest cache, and as much context as fits then."""
    for kind in _smaller_types(layout.case)[-1:]:
        case = _with_cache(layout.case, kind)
        context = _fitting_context(case, layout.context)
        if context is not None:
            yield Suggestion(
                "quantised_cache_and_less_context",
                f"Keep keys and values as {kind.name}, and lower the context to {context} tokens",
                lay_out(case, context, _layers(case)).least_free,
                {"cache_type_k": kind.name, "cache_type_v": kind.name, "ctx_size": context},
            )
