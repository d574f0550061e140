# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a llama-server service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import (
    Settings,
    context_problems,
    rule_problems,
    static_problems,
)
from ansible_collections.baremetal.llm.plugins.module_utils._memory_cache import bytes_per_token
from ansible_collections.baremetal.llm.plugins.module_utils._memory_encoder import encoder
from ansible_collections.baremetal.llm.plugins.module_utils._memory_fitting import fit, full_context
from ansible_collections.baremetal.llm.plugins.module_utils._memory_gpus import PlannedGpu
from ansible_collections.baremetal.llm.plugins.module_utils._memory_header import header
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layers import shape
from ansible_collections.baremetal.llm.plugins.module_utils._memory_layout import Case, Layout, Usage, lay_out
from ansible_collections.baremetal.llm.plugins.module_utils._memory_measured import Measured, arguments
from ansible_collections.baremetal.llm.plugins.module_utils._memory_problems import image_problems, memory_problems
from ansible_collections.baremetal.llm.plugins.module_utils._memory_range import MIB, Range
from ansible_collections.baremetal.llm.plugins.module_utils._memory_request import ALL_LAYERS, request
from ansible_collections.baremetal.llm.plugins.module_utils._memory_result import Estimate, GpuPlan, HostPlan, Plan
from ansible_collections.baremetal.llm.plugins.module_utils._memory_suggestions import OtherFile, suggestions
from ansible_collections.baremetal.llm.plugins.module_utils._memory_tensors import tensors
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, errors
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service

_COMPUTE_BASIS = "from the widths of the model, compared with llama.cpp's own compute buffers"
_MEASURED_BASIS = "from the widths of the model, and no more than llama-fit-params prints: llama-server keeps fewer odds of words"
_ENCODER_BASIS = "from the widths of the projector, for the largest image that it is given"
_CONTEXT_BASIS = "what llama-server was seen to take beside its buffers, on several GPUs"
_SPLIT_BASIS = "tensors are split by the proportions; llama.cpp rounds to whole heads and rows"


@dataclass(frozen=True)
class LlamaServer:
    case: Case
    service: Service
    problems: tuple[Problem, ...]
    """What the service's own keys and options tell."""

    @classmethod
    def of(cls, model: object, mmproj: object, service: Service, gpus: Sequence[PlannedGpu]) -> LlamaServer:
        read = header(model, "model")
        if read.architecture == "clip":
            raise read.not_a("a model but a projector; its architecture is", "Give it as mmproj, and the model itself as model")
        asked, problems = request(Settings(service.options), len(gpus))
        known = shape(read)
        case = Case(
            header=read,
            tensors=tensors(read, has_output=known is None or known.has_output),
            shape=known,
            encoder=encoder(header(mmproj, "mmproj")) if mmproj else None,
            gpus=tuple(gpus),
            request=asked,
        )
        return cls(case, service, (*static_problems(service), *rule_problems(service), *problems))

    def measuring(self) -> list[str]:
        """The arguments with which llama-fit-params tells what this service takes."""
        path = self.case.header.path
        if path is None:
            raise UserError("the model's header names no file on this host")
        fitted, shared = fit(self.case), self.case.request.context
        options = dict(self.service.options)
        if fitted.layers_on_host:
            options = {key: value for key, value in options.items() if key != "gpu_layers"}
            options["n_gpu_layers"] = fitted.layout.placement.offloaded
        if fitted.experts_on_host:
            options["n_cpu_moe"] = fitted.experts_on_host
        return arguments(path, options, fitted.layout.context or shared.asked, _streams(self.case))

    def plan(self, others: Sequence[OtherFile] = (), measured: Mapping[str, Measured] | None = None) -> Plan:
        case = self.case
        asked = lay_out(case, full_context(case), ALL_LAYERS if case.request.gpu_layers is None else case.request.gpu_layers)
        fitted = fit(case)
        layout = _as_measured(fitted.layout, measured) if measured else fitted.layout
        trained = case.header.number("context_length")
        tokens = _slot_tokens(layout, trained)
        problems = [
            *self.problems,
            *context_problems(self.service, None, trained),
            *memory_problems(asked, replace(fitted, layout=layout), self.service.resources.memory_bytes),
            *image_problems(case, tokens),
        ]
        wanting = not asked.stays_as_asked if fitted.experts_on_host or fitted.layers_on_host else not layout.fits
        return Plan(
            fits=_fits(layout, problems),
            gpus=[_gpu_plan(layout, index) for index in range(len(case.gpus))],
            host=_host_plan(layout),
            kv_bytes_per_token=bytes_per_token(case.shape, case.request) if case.shape else None,
            tokens_per_slot=tokens,
            slots=case.request.context.slots,
            context=layout.cells.total if layout.cells else None,
            layers=case.layer_count + 1,
            layers_on_gpus=layout.placement.offloaded,
            estimates=list(_estimates(layout, measured)),
            calibrated=bool(measured),
            problems=list(dict.fromkeys(problems)),
            suggestions=suggestions(asked, others) if wanting else [],
        )


def _streams(case: Case) -> int:
    """A unified cache lies in memory like that of one slot."""
    shared = case.request.context
    return 1 if shared.unified else shared.slots


def _slot_tokens(layout: Layout, trained: int | None) -> int | None:
    shared = layout.case.request.context
    context = layout.context or shared.asked
    if not context:
        return None
    tokens = shared.tokens_of(context)
    return min(tokens, trained or tokens, shared.limit or tokens)


def _fits(layout: Layout, problems: Sequence[Problem]) -> bool | None:
    """None where the cache is unknown, unless the weights alone are too much."""
    if not layout.fits or any(problem.code in ("host_memory", "gpu_memory") for problem in errors(problems)):
        return False
    complete = all(usage.cache is not None for usage in (*layout.gpus, layout.host))
    return True if complete else None


def _gpu_plan(layout: Layout, index: int) -> GpuPlan:
    gpu, usage = layout.case.gpus[index], layout.gpus[index]
    overhead = gpu.overhead_mib if index in layout.in_use else gpu.driver_mib
    return GpuPlan(gpu.label, gpu.memory_mib, usage.weights, usage.encoder.work, usage.cache, usage.compute, overhead, gpu.driver_mib)


def _host_plan(layout: Layout) -> HostPlan:
    host, prompts = layout.host, layout.case.request.prompt_cache_mib
    return HostPlan(host.weights, host.encoder.work, host.cache, host.compute, None if prompts < 0 else prompts)


def _estimates(layout: Layout, measured: Mapping[str, Measured] | None) -> Iterator[Estimate]:
    basis = _MEASURED_BASIS if measured else _COMPUTE_BASIS
    for index in layout.in_use:
        gpu, usage = layout.case.gpus[index], layout.gpus[index]
        if usage.compute and not usage.compute.is_exact:
            yield Estimate.of(f"gpus[{index}].compute_mib", usage.compute, basis)
        if not usage.encoder.work.is_exact:
            yield Estimate.of(f"gpus[{index}].mmproj_mib", usage.encoder.work, _ENCODER_BASIS)
        low, high = (gpu.driver_mib + process for process in gpu.process_mib)
        yield Estimate(f"gpus[{index}].overhead_mib", low, high, _CONTEXT_BASIS)
        if layout.placement.shares:
            part = Range(usage.weights * 95 // 100, usage.weights, usage.weights * 105 // 100)
            yield Estimate.of(f"gpus[{index}].weights_mib", part, _SPLIT_BASIS)
    host = layout.host
    if host.compute and not host.compute.is_exact:
        yield Estimate.of("host.compute_mib", host.compute, basis)
    if not host.encoder.work.is_exact:
        yield Estimate.of("host.mmproj_mib", host.encoder.work, _ENCODER_BASIS)


def _as_measured(layout: Layout, measured: Mapping[str, Measured]) -> Layout:
    """With the figures of llama-fit-params in place of those that are calculated, where they differ."""
    gpus = tuple(_usage_as_measured(layout, usage, measured.get(f"CUDA{index}")) for index, usage in enumerate(layout.gpus))
    return replace(layout, gpus=gpus, host=_usage_as_measured(layout, layout.host, measured.get("Host")))


def _usage_as_measured(layout: Layout, usage: Usage, found: Measured | None) -> Usage:
    if found is None:
        return usage
    unified = layout.case.request.context.unified
    odds = layout.case.shape.vocabulary * 4 * layout.case.request.micro_batch if layout.case.shape else 0
    least, most = max(0, found.compute - odds), found.compute + MIB
    known = usage.compute or Range(least, found.compute, most)
    return Usage(
        weights=_corrected(usage.weights, found.model),
        encoder=usage.encoder,
        cache=usage.cache if unified and usage.cache is not None else _corrected(usage.cache, found.context),
        compute=Range(*(min(max(size, least), most) for size in known)),
    )


def _corrected(calculated: int | None, found: int) -> int:
    """``found`` is rounded down to whole MiB, so a figure within that MiB is the more exact one."""
    if calculated is not None and found <= calculated <= found + MIB:
        return calculated
    return found + MIB if found else 0
