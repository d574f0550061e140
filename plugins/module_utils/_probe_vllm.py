# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that vLLM serves what was asked for. Read in vLLM 0.33.0.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import EngineOnGpu
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply, RequestError
from ansible_collections.baremetal.llm.plugins.module_utils._probe_engine import Engine
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import BAD_REQUEST, OK, Expectation, Report, dig
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Runner
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_failures import telling

MODELS = "/v1/models"
# v1/core/kv_cache_utils.py; of several engines, each says it of itself.
_CACHE_LINE = re.compile(r"KV cache size: ([\d,]+) tokens, Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x")
# v1/metrics/loggers.py: a gauge whose labels are the fields of vLLM's CacheConfig.
_CACHE_METRIC = re.compile(r'^vllm:cache_config_info\{.*\bkv_cache_size_tokens="(\d+)"', re.MULTILINE)
_CONCURRENCY_LABEL = re.compile(r'^vllm:cache_config_info\{.*\bkv_cache_max_concurrency="([\d.]+)"', re.MULTILINE)
_METRIC = re.compile(r"^vllm:", re.MULTILINE)
_FAR_LESS = 0.5  # of the least that was planned: what is estimated is not wrong by that much

_MEASURED_TOGETHER = (
    "vLLM gives its cache what is free while it starts: restart it while nothing else starts on that GPU or holds memory of it; "
    "`nvidia-smi` shows who does."
)


class Cache(NamedTuple):
    tokens: int
    concurrency: float | None
    """Requests of full length at once."""


def _look(client: Client, models_reply: Reply, expect: Expectation, runner: Runner, report: Report) -> list[Check]:
    if models_reply.status != OK:
        raise RequestError(f"GET {MODELS} is answered {models_reply.status}: {models_reply.excerpt()}")
    models, version, metrics = models_reply.json(), client.get("/version"), client.get("/metrics")
    exposed = metrics.body.decode("utf-8", errors="replace") if metrics.status == OK else ""
    cache = cache_in_log(runner.log_of_start()) or cache_in_metrics(exposed)
    report.server.update(
        alias=dig(models, "data", 0, "id"),
        model_path=dig(models, "data", 0, "root"),
        max_model_len=dig(models, "data", 0, "max_model_len"),
        version=dig(version.json(), "version") if version.status == OK else None,
        kv_cache_tokens=cache.tokens if cache else None,
        max_concurrency=cache.concurrency if cache else None,
    )
    checks = []
    if expect.alias is not None:
        checks.append(judge_model(expect.alias, models))
    if expect.n_ctx is not None:
        checks.append(judge_length(expect.n_ctx, models))
    if expect.metrics:
        checks.append(judge_metrics(metrics, exposed))
    if expect.kv_cache_tokens is not None:
        check, warning = judge_cache(expect.kv_cache_tokens, cache)
        checks.append(check)
        report.warnings += [warning] if warning else []
    return checks


def judge_model(asked: str, models: Any) -> Check:
    """A model may have several names, and adapters are listed, too."""
    listed = dig(models, "data")
    names = [str(dig(model, "id")) for model in listed] if isinstance(listed, list) else []
    if asked in names:
        return Check("model", True, f"serves {', '.join(names)}")
    remedy = "Restart the service if its model has changed; otherwise another server answers at this address."
    return Check("model", False, f"serves {', '.join(names) or 'a model without a name'}, you asked for {asked}", remedy)


def judge_length(asked: int, models: Any) -> Check:
    length = dig(models, "data", 0, "max_model_len")
    if length == asked:
        return Check("context", True, f"{length} tokens per request")
    detail = f"a request may have {length} tokens, you asked for {asked}"
    return Check("context", False, detail, "Restart the service if max_model_len has changed; otherwise set it.")


def judge_metrics(reply: Reply, exposed: str) -> Check:
    count = len(_METRIC.findall(exposed))
    if count:
        return Check("metrics", True, f"{count} values of vLLM at /metrics")
    if reply.status != OK:
        return Check("metrics", False, f"GET /metrics is answered {reply.status}: {reply.excerpt()}", "See what answers at this address.")
    detail = "no metric of vLLM is at /metrics, so nothing shows its load and its cache"
    return Check("metrics", False, detail, "Take disable_log_stats out of options.")


def cache_in_log(lines: Sequence[str]) -> Cache | None:
    """As the engine that said it last has it: there is one line for each."""
    found = next(filter(None, map(_CACHE_LINE.search, reversed(lines))), None)
    return Cache(int(found[1].replace(",", "")), float(found[2])) if found else None


def cache_in_metrics(exposed: str) -> Cache | None:
    """For a process that has run for so long that its log no longer has the line."""
    tokens, concurrency = _CACHE_METRIC.search(exposed), _CONCURRENCY_LABEL.search(exposed)
    return Cache(int(tokens[1]), round(float(concurrency[1]), 2) if concurrency else None) if tokens else None


def judge_cache(planned: tuple[int, int], cache: Cache | None) -> tuple[Check, str]:
    """Also a warning, where the cache is smaller than planned, and not by so much that something must be wrong."""
    low, high = planned
    plan = f"{low} to {high} were planned"
    if cache is None:
        detail = f"neither its log nor its metrics tell how many tokens its cache holds; {plan}"
        return Check("kv_cache", True, detail), ""
    holds = f"the cache holds {cache.tokens} tokens" + (f", {cache.concurrency:g} requests of full length" if cache.concurrency else "")
    if cache.tokens >= low:
        return Check("kv_cache", True, f"{holds}; {plan}"), ""
    if cache.tokens >= low * _FAR_LESS:
        return Check("kv_cache", True, f"{holds}, fewer than planned: {plan}"), f"{holds}, but {plan}. {_MEASURED_TOGETHER}"
    return Check("kv_cache", False, f"{holds}, but {plan}", _MEASURED_TOGETHER), ""


def _question() -> Mapping[str, object]:
    return {
        "cache_salt": secrets.token_hex(16),  # the prompt has to be processed, or its speed would not be known
        "ignore_eos": True,  # a model that has said enough would leave too few tokens to time
    }


def _cannot_chat(reply: Reply) -> bool:
    # renderers/hf.py, for a model whose tokenizer has no template of a chat
    return reply.status == BAD_REQUEST and "chat template" in reply.excerpt()


VLLM = Engine(
    door=MODELS,
    open_to_all="/health and /metrics are public",
    key_remedy="The running process knows no key: see that VLLM_API_KEY reaches it, and restart it.",
    unavailable="its engine has died",
    always_advises=True,
    look=_look,
    question=_question,
    cannot_chat=_cannot_chat,
    on_gpu=EngineOnGpu(
        without="another process has loaded the model, or none",
        remedy="See that this container is the one that answers, and that its gpus are the asked ones.",
        with_less="",
        less_remedy="See with `nvidia-smi` who else holds memory there, and restart the service when that has ended.",
        advice=telling,
    ),
)
