# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a llama-server serves what was asked for: each check judges what the running process really says and does."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import GpuUse, judge_gpus, telling
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply, RequestError
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import Listener, Process, endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._running_unit import UnitState

CHAT = "/v1/chat/completions"
CONTEXT_PADDING = 256  # llama.cpp rounds the context of a slot up to a multiple of this many tokens
_OK, _UNAUTHORIZED, _UNAVAILABLE = 200, 401, 503
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks at /health
_LONGEST_LOOK = 10.0  # seconds that one of them may take


@dataclass(frozen=True)
class Expectation:
    """What was asked for; None or empty where nothing was."""

    alias: str | None = None
    n_ctx: int | None = None  # tokens per slot
    slots: int | None = None
    listen: tuple[tuple[str, int], ...] = ()  # addresses and ports: all of them, and no other
    gpus: tuple[str, ...] = ()  # UUIDs of GPUs and MIG devices
    gpu_layers: str | None = None  # a number or "all"
    gpu_memory_mib: int | None = None  # on all of them together, at least


@dataclass(frozen=True)
class Surroundings:
    """What of the host around the server the probe may look at."""

    unit_state: Callable[[], UnitState | None]
    listeners: Callable[[], Sequence[Listener]]
    owners: Callable[[Sequence[int]], Mapping[int, Process]]
    gpu_use: Callable[[], GpuUse]
    said_before_the_start: Callable[[UnitState], str] = lambda now: ""


@dataclass
class Report:
    checks: list[Check] = field(default_factory=list)
    timings: dict[str, float | None] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "load_seconds",
                "time_to_first_token_ms",
                "prompt_tokens_per_second",
                "tokens_per_second",
                "prompt_tokens",
                "completion_tokens",
            )
        )
    )
    server: dict[str, object] = field(default_factory=dict)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]

    @property
    def healthy(self) -> bool:
        return not self.failed

    def message(self, subject: str) -> str:
        """What the operator reads first: the check that failed, why, and what to do."""
        first, *others = self.failed
        also = f" Also failed: {', '.join(check.name for check in others)}." if others else ""
        return f"{subject} fails the check '{first.name}': {first.detail}. {first.remedy}{also}"


def probe(
    client: Client, expect: Expectation, around: Surroundings, *, has_key: bool, timeout: float, prompt: str, max_tokens: int
) -> Report:
    """All checks, in the order in which one makes the next meaningful; those that need an earlier one stop with it."""
    report = Report()
    health, report.timings["load_seconds"] = wait_until_healthy(client, around.unit_state, timeout, around.said_before_the_start)
    if not health.ok and expect.gpus:
        health = health._replace(remedy=telling(around.gpu_use().journal) or health.remedy)
    report.checks.append(health)
    if not health.ok:
        return report
    if expect.listen:
        report.checks.append(_look_at_listeners(expect.listen, around))
    try:
        props = client.get("/props")
    except RequestError as error:
        report.checks.append(Check("model", False, str(error), _READ_JOURNAL))
        return report
    admission = judge_admission(props, has_key)
    if admission is not None:
        report.checks.append(admission)
        return report
    if has_key:
        with _failing(report, "auth"):
            report.checks.append(_try_strangers(client))
    with _failing(report, "model"):
        report.checks += _look_at_model(client, props, expect, report.server)
    if expect.gpus:
        report.checks.append(judge_gpus(expect.gpus, expect.gpu_layers, expect.gpu_memory_mib, around.gpu_use()))
        if not report.checks[-1].ok:  # the CPU may take minutes for an answer
            return report
    question = {
        "model": report.server.get("alias") or "",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "cache_prompt": False,  # the prompt has to be processed, or its speed would not be known
        "ignore_eos": True,  # a model that has said enough would leave too few tokens to time
    }
    with _failing(report, "completion"):
        report.checks.append(judge_completion(client.post(CHAT, question), report.timings))
    with _failing(report, "streaming"):
        report.checks.append(_stream(client, question, report.timings))
    return report


_READ_JOURNAL = "Read the end of its journal."


@contextlib.contextmanager
def _failing(report: Report, name: str) -> Iterator[None]:
    """A request without a usable answer fails this check, and the next one still runs."""
    try:
        yield
    except RequestError as error:
        report.checks.append(Check(name, False, str(error), _READ_JOURNAL))


# --- health -------------------------------------------------------------------------------------------------------------------------


def wait_until_healthy(
    client: Client, unit_state: Callable[[], UnitState | None], timeout: float, said: Callable[[UnitState], str] = lambda now: ""
) -> tuple[Check, float | None]:
    """Wait through "connection refused" and "loading"; give up early when the unit cannot come up. Also the seconds waited, if any."""
    started = time.monotonic()
    end = started + timeout
    first = unit_state()
    restarts_before = first.restarts if first else 0
    pause = _FIRST_PAUSE
    waited = False
    while True:
        status, reason, hopeless = _ask_health(client, max(0.1, min(end - time.monotonic(), _LONGEST_LOOK)))
        now = unit_state()
        trouble = now.trouble(restarts_before) if now else None
        if now and trouble:
            return Check("health", False, trouble + said(now), _READ_JOURNAL), None
        if status == _OK:
            seconds = round(time.monotonic() - started, 2) if waited else None
            return Check("health", True, f"healthy after {seconds:g} s" if seconds is not None else "healthy"), seconds
        if hopeless:
            return Check("health", False, reason, "Check base_url: is another server listening there?"), None
        remaining = end - time.monotonic()
        if remaining <= 0:
            remedy = f"{_READ_JOURNAL} If it only needs longer to load its model, raise the timeout."
            return Check("health", False, f"not healthy within {timeout:g} s; at last: {reason}", remedy), None
        time.sleep(min(pause, remaining))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        waited = True


def _ask_health(client: Client, timeout: float) -> tuple[int | None, str, bool]:
    """The status of /health, what it means, and whether asking again is pointless."""
    try:
        reply = client.get("/health", timeout=timeout)
    except RequestError as error:
        return None, str(error), error.permanent
    if reply.status == _UNAVAILABLE:
        return reply.status, f"GET /health is answered {reply.status}: {reply.excerpt()}", False
    is_client_error = 400 <= reply.status < 500  # what llama-server never answers to /health
    return reply.status, f"GET /health is answered {reply.status}: {reply.excerpt()}", is_client_error


# --- listeners ----------------------------------------------------------------------------------------------------------------------


def parse_endpoint(text: str) -> tuple[str, int]:
    """`127.0.0.1:8080`, `[::1]:8080` or `localhost:8080` as an address and a port."""
    host, port = text.rpartition(":")[::2]
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"expect.listen has {text!r}: write it as ADDRESS:PORT, with an IPv6 address in brackets.")
    try:
        resolved = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        raise UserError(f"expect.listen has {text!r}, but this host cannot resolve {host!r}: give an address.") from None
    return str(resolved[0][4][0]), int(port)


def _look_at_listeners(asked: Sequence[tuple[str, int]], around: Surroundings) -> Check:
    found = around.listeners()
    unit = around.unit_state()
    owners = around.owners([listener.inode for listener in found])
    return judge_listeners(asked, found, owners, unit.main_pid if unit else 0)


def judge_listeners(asked: Sequence[tuple[str, int]], found: Sequence[Listener], owners: Mapping[int, Process], main_pid: int) -> Check:
    """Exactly the sockets that were asked for, held by the unit's own process.

    With no `main_pid` to tell them by, the server's sockets are those on the asked ports; so are those whose owner is not to be seen.
    """
    ports = {port for address, port in asked}
    mine, strangers = set(), []
    for listener in found:
        owner = owners.get(listener.inode)
        if main_pid and owner and owner.pid != main_pid:
            if (listener.address, listener.port) in asked:
                strangers.append(f"{listener} is held by {owner}")
        elif listener.port in ports or (main_pid and owner):
            mine.add((listener.address, listener.port))
    listens = ", ".join(endpoint(*one) for one in sorted(mine)) or "no port"
    if mine == set(asked):
        return Check("listeners", True, f"listens on {listens}")
    detail = f"listens on {listens}, you asked for {', '.join(endpoint(*one) for one in asked)}"
    if strangers:
        return Check("listeners", False, f"{detail}; {', '.join(strangers)}", "Stop that process, or give the service another port.")
    remedy = "Restart the service if its host or port has changed."
    if any(ip_address(address).is_unspecified for address, port in mine - set(asked)):
        remedy += " As it is, the whole network can reach it."
    return Check("listeners", False, detail, remedy)


# --- auth ---------------------------------------------------------------------------------------------------------------------------


def judge_admission(reply: Reply, has_key: bool) -> Check | None:
    """A failed check when the server does not let its own operator in."""
    if reply.status != _UNAUTHORIZED:
        return None
    if has_key:
        return Check(
            "auth", False, "it refuses the API key that you gave", "Restart it if its key has changed, or give the key it runs with."
        )
    return Check("auth", False, "it asks for an API key and you gave none", "Set api_key.")


def _try_strangers(client: Client) -> Check:
    # An empty question: a server that lets a stranger in answers it with an error at once, without any computing.
    for who, key in (("no API key", None), ("a wrong API key", secrets.token_hex(16))):
        reply = client.post_with_key(CHAT, {}, key)
        if reply.status != _UNAUTHORIZED:
            return Check(
                "auth",
                False,
                f"a request with {who} is answered {reply.status} instead of {_UNAUTHORIZED}",
                "The running process knows no key: see that its unit passes --api-key-file, and restart it.",
            )
    return Check("auth", True, "refused without the API key and with a wrong one; /health is public")


# --- model, context, slots ----------------------------------------------------------------------------------------------------------


def dig(data: Any, *path: str | int) -> Any:
    """A value deep in somebody else's JSON, or None."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _look_at_model(client: Client, props_reply: Reply, expect: Expectation, server: dict[str, object]) -> list[Check]:
    models_reply = client.get("/v1/models")
    for path, reply in (("/props", props_reply), ("/v1/models", models_reply)):
        if reply.status != _OK:
            raise RequestError(f"GET {path} is answered {reply.status}: {reply.excerpt()}")
    props, models = props_reply.json(), models_reply.json()
    server.update(
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


# --- completion and streaming -------------------------------------------------------------------------------------------------------

_EMPTY = "See whether the model file is whole and meant for text generation."


def judge_completion(reply: Reply, timings: dict[str, float | None]) -> Check:
    """Tokens are counted, not characters: a token may be a piece of a character, or print nothing."""
    if reply.status != _OK:
        return Check("completion", False, f"POST {CHAT} is answered {reply.status}: {reply.excerpt()}", _READ_JOURNAL)
    answer = reply.json()
    tokens = dig(answer, "usage", "completion_tokens")
    if dig(answer, "choices", 0) is None or not isinstance(tokens, int) or tokens < 1:
        return Check("completion", False, "the answer to a chat completion holds no token", _EMPTY)
    speed = positive(dig(answer, "timings", "predicted_per_second"))
    timings.update(
        prompt_tokens=positive(dig(answer, "usage", "prompt_tokens")),
        completion_tokens=tokens,
        prompt_tokens_per_second=positive(dig(answer, "timings", "prompt_per_second")),
        tokens_per_second=speed,
    )
    return Check("completion", True, f"{tokens} tokens" + (f" at {speed:g} tokens/s" if speed else ""))


def positive(value: Any) -> float | None:
    """A measurement to one decimal; None for what is not a usable number, such as the speed of a single token."""
    usable = isinstance(value, (int, float)) and math.isfinite(value) and value > 0
    return round(value, 1) if usable else None


def _stream(client: Client, question: Mapping[str, object], timings: dict[str, float | None]) -> Check:
    request = {**question, "stream": True, "stream_options": {"include_usage": True}}
    started = time.monotonic()
    arrivals = ((time.monotonic() - started, data) for data in client.events(CHAT, request))
    return judge_stream(arrivals, timings)


def judge_stream(arrivals: Iterable[tuple[float, str]], timings: dict[str, float | None]) -> Check:
    """`arrivals`: the data of each event, and the seconds since the request when it came."""
    chunks, tokens = 0, None
    for seconds, data in arrivals:
        if data == "[DONE]":
            if not chunks or tokens == 0:
                return Check("streaming", False, "the stream ended without a token", _EMPTY)
            return Check("streaming", True, f"{chunks} chunks, the first token after {timings['time_to_first_token_ms']:g} ms")
        try:
            chunk = json.loads(data)
        except ValueError:
            return Check("streaming", False, f"an event is not JSON: {data[:200]}", _READ_JOURNAL)
        error = dig(chunk, "error")
        if error is not None:
            return Check("streaming", False, f"an event reports an error: {dig(error, 'message') or error}", _READ_JOURNAL)
        if _has_token(dig(chunk, "choices", 0)):
            chunks += 1
            if chunks == 1:
                timings["time_to_first_token_ms"] = round(seconds * 1000, 1)
        tokens = dig(chunk, "usage", "completion_tokens") if tokens is None else tokens
    return Check("streaming", False, f"the stream broke off after {chunks} chunks, without its end mark [DONE]", _READ_JOURNAL)


def _has_token(choice: Any) -> bool:
    # A first chunk may carry the role alone. The last one counts: of an answer made of pieces of characters it is all that comes.
    delta = dig(choice, "delta")
    says = isinstance(delta, dict) and any(value is not None for key, value in delta.items() if key != "role")
    return says or dig(choice, "finish_reason") is not None
