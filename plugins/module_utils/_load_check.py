# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load check from beginning to end: is somebody there, how long is a word, then many requests at once, then figures."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, RequestError, server_of
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_answer import BrokenAnswerError
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_client import Caller, Load, Tally, ask_once, clock, run
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_figures import Figures, Sample, figures
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_prompts import (
    CALIBRATION_WORDS,
    PATHS,
    Lengths,
    Prompts,
    body_of,
    calibrated,
)

MOST_PARALLEL = 1024
MOST_SECONDS = 3600


@dataclass(frozen=True)
class Request:
    """What is wanted; times are seconds."""

    base_url: str
    api_key: str | None = None
    validate_certs: bool = True
    model: str | None = None
    """None: the first that the server names."""
    parallel: int = 8
    seconds: float = 30
    warm_up: float = 5
    prompt_tokens: int = 256
    shared_percent: int = 0
    max_tokens: int = 64
    endpoint: str = "chat"
    stream: bool = True
    reuse_connections: bool = False
    request_timeout: float = 60
    extra: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what an operator cannot mean, by its name and value."""
        limits = {
            "parallel": (self.parallel, 1, MOST_PARALLEL),
            "seconds": (self.seconds, 1, MOST_SECONDS),
            "warm_up": (self.warm_up, 0, MOST_SECONDS),
            "prompt_tokens": (self.prompt_tokens, 1, 2**20),
            "shared_percent": (self.shared_percent, 0, 100),
            "max_tokens": (self.max_tokens, 1, 2**20),
            "request_timeout": (self.request_timeout, 1, MOST_SECONDS),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise UserError(f"{name} is {value:g}: give a number from {least} to {most}.")
        server_of(self.base_url)

    def parameters(self) -> dict[str, object]:
        """What figures have to have in common to be compared."""
        names = ("parallel", "prompt_tokens", "shared_percent", "max_tokens", "endpoint", "stream", "reuse_connections")
        return {**{name: getattr(self, name) for name in names}, "request": dict(self.extra)}


@dataclass(frozen=True)
class Report:
    model: str | None
    figures: Figures

    @property
    def message(self) -> str:
        """Why nothing was measured; empty where something was."""
        if self.figures.succeeded:
            return ""
        if not self.figures.sent:
            return "no request began in the time that is measured"
        kind, detail = next(iter(self.figures.error_examples.items()))
        count = f"all {self.figures.sent} requests" if self.figures.sent > 1 else "the first request"
        return f"{count} failed, {kind}: {detail}"


def load_check(request: Request, on_tick: Callable[[Tally], None] = lambda tally: None) -> Report:
    """Ends after at most the seconds of warm-up and load and four times `request_timeout`, whatever the server does."""
    began = clock()
    try:
        model = request.model or _first_model(request)
    except BrokenAnswerError as broken:
        return _nothing(None, Sample(began, clock(), error=broken.kind, detail=str(broken)))
    caller = Caller(
        server_of(request.base_url),
        PATHS[request.endpoint],
        api_key=request.api_key,
        validate_certs=request.validate_certs,
        reuse=request.reuse_connections,
    )
    load = Load(request.parallel, request.seconds, request.warm_up, request.request_timeout, request.stream)
    seed = secrets.token_hex(8)  # the cache of the run before must not know the prompts of this one

    def body(prompt: str, max_tokens: int) -> bytes:
        said = body_of(request.endpoint, model, prompt, max_tokens=max_tokens, stream=request.stream, extra=request.extra)
        return json.dumps(said).encode()

    measured: dict[int, int] = {}
    for words in CALIBRATION_WORDS:
        sample = ask_once(caller, load, body(Prompts(words, 0, f"{seed}-{words}").next(), 1))
        if sample.error:
            return _nothing(model, sample)
        measured[words] = sample.prompt_tokens or 0
    lengths = calibrated(measured) if all(measured.values()) else Lengths()
    prompts = Prompts(lengths.words_for(request.prompt_tokens), request.shared_percent, seed)
    outcome = run(caller, load, lambda: body(prompts.next(), request.max_tokens), on_tick)
    return Report(model, figures(outcome.samples, outcome.opened, outcome.closed, outcome.cpu_seconds, outcome.cpu_wall))


def _first_model(request: Request) -> str:
    client = Client(request.base_url, api_key=request.api_key, timeout=request.request_timeout, validate_certs=request.validate_certs)
    try:
        reply = client.get("/v1/models")
        if reply.status != HTTPStatus.OK:
            raise BrokenAnswerError(f"http_{reply.status}", f"GET /v1/models is answered: {reply.excerpt()}")
        return str(reply.json()["data"][0]["id"])
    except RequestError as error:
        raise BrokenAnswerError("no_answer", str(error)) from None
    except (KeyError, IndexError, TypeError):
        raise BrokenAnswerError("no_model", "GET /v1/models names no model; give it as model") from None


def _nothing(model: str | None, sample: Sample) -> Report:
    """The first request has failed, and the others would."""
    return Report(model, figures([sample], sample.began, sample.ended + 1e-9, 0.0, 0.0))
