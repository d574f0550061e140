# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a llama-server serves what was asked for.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import math
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import LLAMA_SERVER_ON_GPU
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply, RequestError
from ansible_collections.baremetal.llm.plugins.module_utils._probe_engine import Engine
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import OK, Expectation, Report, dig
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Runner

CONTEXT_PADDING = 256  # llama.cpp rounds the context of a slot up to a multiple of this many tokens


def _look(client: Client, props_reply: Reply, expect: Expectation, runner: Runner, report: Report) -> list[Check]:
    models_reply = client.get("/v1/models")
    for path, reply in (("/props", props_reply), ("/v1/models", models_reply)):
        if reply.status != OK:
            raise RequestError(f"GET {path} is answered {reply.status}: {reply.excerpt()}")
    props, models = props_reply.json(), models_reply.json()
    report.server.update(
        alias=dig(props, "model_alias"),
        model_path=dig(props, "model_path"),
        tokens_per_slot=dig(props, "default_generation_settings", "n_ctx"),
        slots=dig(props, "total_slots"),
        build=dig(props, "build_info"),
    )
    checks = []
    if expect.alias is not None:
        checks.append(judge_model(expect.alias, props, models))
    if expect.n_ctx is not None:
        checks.append(judge_context(expect.n_ctx, props, models))
    if expect.slots is not None:
        checks.append(judge_slots(expect.slots, props))
    return checks


def judge_model(asked: str, props: Any, models: Any) -> Check:
    names = {dig(props, "model_alias"), dig(models, "data", 0, "id")}
    if names == {asked}:
        return Check("model", True, f"serves {asked}")
    served = ", ".join(sorted(str(name) for name in names if name)) or "a model without a name"
    remedy = "Restart the service if its model has changed; otherwise another server answers at this address."
    return Check("model", False, f"serves {served}, you asked for {asked}", remedy)


def judge_context(asked: int, props: Any, models: Any) -> Check:
    """At least what was asked for, and no more than llama.cpp's rounding adds."""
    slot = dig(props, "default_generation_settings", "n_ctx")
    if isinstance(slot, int) and asked <= slot <= math.ceil(asked / CONTEXT_PADDING) * CONTEXT_PADDING:
        return Check("context", True, f"{slot} tokens per slot")
    detail = f"a slot has {slot} tokens of context, you asked for {asked}"
    trained = dig(models, "data", 0, "meta", "n_ctx_train")
    if slot == trained and slot is not None:
        return Check("context", False, f"{detail}; the model was trained for {trained}", "Lower ctx_size, or choose another model.")
    return Check("context", False, detail, "Restart the service if ctx_size or parallel has changed; otherwise set both.")


def judge_slots(asked: int, props: Any) -> Check:
    slots = dig(props, "total_slots")
    if slots == asked:
        return Check("slots", True, f"{slots} slots")
    return Check("slots", False, f"has {slots} slots, you asked for {asked}", "Restart the service if parallel has changed.")


LLAMA_SERVER = Engine(
    door="/props",
    open_to_all="/health is public",
    key_remedy="The running process knows no key: see that it is started with --api-key-file, and restart it.",
    unavailable="",
    always_advises=False,  # it warns of GPUs that it cannot use also where it has none to use
    look=_look,
    question=lambda: {
        "cache_prompt": False,  # the prompt has to be processed, or its speed would not be known
        "ignore_eos": True,  # a model that has said enough would leave too few tokens to time
    },
    cannot_chat=lambda reply: False,  # it has a template for each model
    on_gpu=LLAMA_SERVER_ON_GPU,
)
