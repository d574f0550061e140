# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a server serves what was asked for: each check judges what the running process really says and does."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import GpuUse, judge_gpus
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply, RequestError
from ansible_collections.baremetal.llm.plugins.module_utils._probe_answers import judge_completion, stream
from ansible_collections.baremetal.llm.plugins.module_utils._probe_engine import Engine
from ansible_collections.baremetal.llm.plugins.module_utils._probe_health import wait_until_healthy
from ansible_collections.baremetal.llm.plugins.module_utils._probe_listeners import judge_listeners
from ansible_collections.baremetal.llm.plugins.module_utils._probe_llama_server import LLAMA_SERVER
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import (
    CHAT,
    COMPLETIONS,
    READ_LOG,
    UNAUTHORIZED,
    Expectation,
    Report,
)
from ansible_collections.baremetal.llm.plugins.module_utils._probe_vllm import VLLM
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Runner

ENGINES = {"llama_server": LLAMA_SERVER, "vllm": VLLM}


@dataclass(frozen=True)
class Surroundings:
    """What of the host around the server the probe may look at."""

    runner: Runner
    gpu_use: Callable[[], GpuUse]


def probe(
    client: Client,
    engine: Engine,
    expect: Expectation,
    around: Surroundings,
    *,
    has_key: bool,
    timeout: float,
    prompt: str,
    max_tokens: int,
) -> Report:
    """All checks, in the order in which one makes the next meaningful; those that need an earlier one stop with it."""
    report = Report()
    health, report.timings["load_seconds"] = wait_until_healthy(client, around.runner, timeout, engine.unavailable)
    if not health.ok and (expect.gpus or engine.always_advises):
        health = health._replace(remedy=engine.on_gpu.advice(around.runner.log_of_start()) or health.remedy)
    report.checks.append(health)
    if not health.ok:
        return report
    if expect.listen:
        report.checks.append(judge_listeners(expect.listen, around.runner.sockets(expect.listen)))
    try:
        door = client.get(engine.door)
    except RequestError as error:
        report.checks.append(Check("model", False, str(error), READ_LOG))
        return report
    admission = judge_admission(door, has_key)
    if admission is not None:
        report.checks.append(admission)
        return report
    if has_key:
        with _failing(report, "auth"):
            report.checks.append(_try_strangers(client, engine))
    with _failing(report, "model"):
        report.checks += engine.look(client, door, expect, around.runner, report)
    if expect.gpus:
        report.checks.append(judge_gpus(expect.gpus, expect.gpu_layers, expect.gpu_memory_mib, around.gpu_use()))
        if not report.checks[-1].ok:  # the CPU may take minutes for an answer
            return report
    path = CHAT
    question = {"model": report.server.get("alias") or "", "max_tokens": max_tokens, "temperature": 0}
    asked: dict[str, object] = {"messages": [{"role": "user", "content": prompt}]}
    with _failing(report, "completion"):
        reply = client.post(path, {**question, **asked, **engine.question()})
        if engine.cannot_chat(reply):
            path, asked = COMPLETIONS, {"prompt": prompt}
            reply = client.post(path, {**question, **asked, **engine.question()})
        report.checks.append(judge_completion(path, reply, report.timings))
    with _failing(report, "streaming"):
        report.checks.append(stream(client, path, {**question, **asked, **engine.question()}, report.timings))
    return report


@contextlib.contextmanager
def _failing(report: Report, name: str) -> Iterator[None]:
    """A request without a usable answer fails this check, and the next one still runs."""
    try:
        yield
    except RequestError as error:
        report.checks.append(Check(name, False, str(error), READ_LOG))


def judge_admission(reply: Reply, has_key: bool) -> Check | None:
    """A failed check when the server does not let its own operator in."""
    if reply.status != UNAUTHORIZED:
        return None
    if has_key:
        return Check(
            "auth", False, "it refuses the API key that you gave", "Restart it if its key has changed, or give the key it runs with."
        )
    return Check("auth", False, "it asks for an API key and you gave none", "Set api_key.")


def _try_strangers(client: Client, engine: Engine) -> Check:
    # An empty question: a server that lets a stranger in answers it with an error at once, without any computing.
    for who, key in (("no API key", None), ("a wrong API key", secrets.token_hex(16))):
        reply = client.post_with_key(CHAT, {}, key)
        if reply.status != UNAUTHORIZED:
            detail = f"a request with {who} is answered {reply.status} instead of {UNAUTHORIZED}"
            return Check("auth", False, detail, engine.key_remedy)
    return Check("auth", True, f"refused without the API key and with a wrong one; {engine.open_to_all}")
