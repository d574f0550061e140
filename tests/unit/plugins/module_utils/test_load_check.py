# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load check against a server that answers, and against one that misbehaves; less than a second for most."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._load_check import Report, Request, load_check
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_client import Tally
from ansible_collections.baremetal.llm.tests.trivial_api import (
    HANG,
    MODELS,
    Answer,
    Answers,
    Asked,
    TrivialApi,
    chunked,
    delta,
    event,
    http,
    usage,
)

TOKENS = 4
SECONDS = 0.4  # operators get no less than 1
ORDINARY = Answers(TOKENS)
UNAUTHORIZED = http(401, b'{"error":{"code":401,"message":"Invalid API Key"}}')


def check(answer: Callable[[Asked], Answer], **wanted: Any) -> tuple[Report, list[Asked]]:
    asked: list[Asked] = []

    def noting(request: Asked) -> Answer:
        asked.append(request)
        return answer(request)

    with TrivialApi(noting) as api:
        usual = {"parallel": 3, "seconds": SECONDS, "warm_up": 0.1, "request_timeout": 0.5, "max_tokens": TOKENS}
        return load_check(Request(api.url, **{**usual, **wanted})), asked


def load_only(answer: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
    """The first questions are answered, those of the load as it is said."""
    return lambda asked: ORDINARY(asked) if asked.path.endswith("/models") or b'"max_tokens": 1,' in asked.body else answer(asked)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_an_ordinary_server(stream: bool, reuse: bool, endpoint: str) -> None:
    report, asked = check(ORDINARY, stream=stream, reuse_connections=reuse, endpoint=endpoint, api_key="sk-1")
    figures = report.figures
    assert report.model == "trivial" and report.message == "" and figures.errors == {}
    assert figures.sent == figures.succeeded > 20
    assert figures.requests_per_second == pytest.approx(figures.sent / SECONDS, rel=0.2)
    assert figures.tokens_per_second == pytest.approx(TOKENS * figures.requests_per_second, rel=0.2)
    assert (figures.time_to_first_token is not None) == stream
    assert figures.latency is not None and 0 < figures.latency.p50 <= figures.latency.p95 <= figures.latency.p99 <= figures.latency.max < 1
    assert (figures.prompt_tokens, figures.completion_tokens) == (16, TOKENS)
    paths = {request.path for request in asked}
    assert paths == {"/v1/models", "/v1/chat/completions" if endpoint == "chat" else "/v1/completions"}
    assert all("Authorization: Bearer sk-1\r\n" in f"{request.head}\r\n" for request in asked)


def test_every_prompt_is_another_from_run_to_run_as_well() -> None:
    asked = [request for _run in range(2) for request in check(ORDINARY, endpoint="completions", parallel=8)[1]]
    prompts = [json.loads(request.body)["prompt"] for request in asked if request.body]
    assert len(prompts) > 20 and len({tuple(prompt.split()[:6]) for prompt in prompts}) == len(prompts)


def test_prompts_are_as_long_as_they_should_be() -> None:
    def counting(asked: Asked) -> Answer:
        if asked.path.endswith("/models"):
            return MODELS
        tokens = 3 * len(json.loads(asked.body)["prompt"].split()) + 20
        return chunked(delta("x"), event({"choices": [], "usage": usage(tokens, 1)}), event(b"[DONE]"))

    report, _asked = check(counting, endpoint="completions", prompt_tokens=1000)
    assert report.figures.prompt_tokens == pytest.approx(1000, abs=3)


def test_the_pace_of_a_stream() -> None:
    def slow(asked: Asked) -> Answer:
        usages = event({"choices": [], "usage": usage(16, 3)})
        pieces = chunked(delta("a"), delta("b"), delta("c"), usages, event(b"[DONE]")).split(b"data: ")
        head, first, second, third, *rest = [pieces[0], *(b"data: " + piece for piece in pieces[1:])]
        return [head, 0.1, first, 0.03, second, 0.03, third, b"".join(rest)]

    report, _asked = check(load_only(slow))
    figures = report.figures
    assert figures.time_to_first_token is not None and 0.09 < figures.time_to_first_token.p50 < 0.2
    assert figures.inter_token is not None and 0.025 < figures.inter_token.p50 < 0.1
    assert figures.time_per_token is not None and 0.025 < figures.time_per_token.p50 < 0.1
    assert figures.latency is not None and figures.latency.p50 > figures.time_to_first_token.p50 + 0.05


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (lambda asked: UNAUTHORIZED, "http_401", "Invalid API Key"),
        (lambda asked: http(503, b"Loading model"), "http_503", "Loading model"),
        (lambda asked: HANG, "timeout", "not answered within 0.5 s"),
        (lambda asked: b"SSH-2.0-OpenSSH_9.2\r\n", "not_http", "SSH"),
        (lambda asked: [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 0], "connection_closed", "before its answer was whole"),
        (lambda asked: [0], "connection_closed", ""),
        (lambda asked: chunked(delta("a")), "stream_broken", "after 1 events"),
        (lambda asked: chunked(event({"error": {"message": "no memory"}})), "stream_error", "no memory"),
        (lambda asked: chunked(event(b"<html>")), "not_json", "<html>"),
        (lambda asked: chunked(event({"choices": []}), event(b"[DONE]")), "no_tokens", ""),
    ],
)
def test_errors_are_counted_by_kind_and_a_server_without_success_is_given_up(
    answer: Callable[[Asked], Answer], kind: str, detail: str
) -> None:
    began = time.monotonic()
    report, _asked = check(load_only(answer), seconds=8, warm_up=0)
    assert set(report.figures.errors) == {kind} and 3 <= report.figures.failed <= 9 and report.figures.succeeded == 0
    assert detail in report.figures.error_examples[kind]
    assert report.message.startswith(f"all {report.figures.failed} requests failed, {kind}: ")
    assert report.figures.requests_per_second == 0
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("answer", "model", "kind"),
    [
        (lambda asked: UNAUTHORIZED, None, "http_401"),
        (lambda asked: UNAUTHORIZED, "m", "http_401"),
        (lambda asked: HANG, None, "no_answer"),
        (lambda asked: HANG, "m", "timeout"),
        (lambda asked: http(200, b'{"data": []}'), None, "no_model"),
    ],
)
def test_there_is_no_load_if_the_first_question_fails(answer: Callable[[Asked], Answer], model: str | None, kind: str) -> None:
    began = time.monotonic()
    report, asked = check(answer, model=model, seconds=30)
    assert len(asked) == 1 and report.figures.errors == {kind: 1} and report.message.startswith(f"the first request failed, {kind}: ")
    assert time.monotonic() - began < 4


def test_a_server_that_gets_ill_is_asked_to_the_end() -> None:
    count = iter(range(10**9))
    ill = load_only(lambda asked: ORDINARY(asked) if next(count) < 10 else http(500, b"out of memory"))
    report, _asked = check(ill, warm_up=0, seconds=1)
    assert report.figures.succeeded == 10 and report.message == ""
    assert 3 <= report.figures.errors["http_500"] < 60  # with a pause after each, not thousands of them


def test_requests_under_way_at_the_end_are_waited_for_and_measured() -> None:
    began = time.monotonic()
    report, _asked = check(load_only(lambda asked: [0.7, ORDINARY(asked)]), warm_up=0, seconds=1, request_timeout=5)
    assert (report.figures.sent, report.figures.failed) == (6, 0)
    assert report.figures.requests_per_second == 3  # of them ended in time
    assert time.monotonic() - began < 4


def test_a_kept_connection_that_the_server_has_closed_is_no_error() -> None:
    count = iter(range(10**9))

    def closing(asked: Asked) -> Answer:
        # Every third answer is followed by the end of the connection, without a word before.
        return [ORDINARY(asked), 0.01, 0] if next(count) % 3 == 0 else ORDINARY(asked)

    report, _asked = check(load_only(closing), reuse_connections=True)
    assert report.figures.errors == {} and report.figures.succeeded > 20


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        report = load_check(Request(f"http://127.0.0.1:{free.getsockname()[1]}"))
    assert report.figures.errors == {"no_answer": 1} and "nothing listens there" in report.message
    report = load_check(Request("http://no-such-host.invalid", model="m"))
    assert report.figures.errors == {"name_not_resolved": 1}


def test_a_name_with_an_address_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = []

    def addresses(host: str, port: int, *_args: object, **_more: object) -> list[tuple[object, ...]]:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    with TrivialApi(ORDINARY) as api:
        monkeypatch.setattr(socket, "getaddrinfo", addresses)
        report = load_check(Request(f"http://gpu1.test:{api.port}", parallel=2, seconds=SECONDS, warm_up=0, max_tokens=TOKENS))
    assert report.figures.errors == {} and report.figures.succeeded > 20
    assert resolved == ["gpu1.test"] * 2  # for the name of the model, and for all that follows


def test_a_server_that_goes_away() -> None:
    # It listens no more once the questions before the load are answered.
    with TrivialApi(ORDINARY) as api:

        def vanish(asked: Asked) -> Answer:
            if asked.body.count(b" ") > 60:
                api._server.close()
            return ORDINARY(asked)

        api._answer = vanish
        report = load_check(Request(api.url, parallel=3, seconds=1, warm_up=0, max_tokens=4))
    assert "connection_refused" in report.figures.errors


def test_how_far_it_is() -> None:
    seen: list[Tally] = []
    with TrivialApi(ORDINARY) as api:
        load_check(Request(api.url, parallel=2, seconds=1, warm_up=0.1), lambda tally: seen.append(replace(tally)))
    assert [round(tally.seconds, 1) for tally in seen] == [0.5, 1.0]
    assert 0 < seen[0].succeeded < seen[1].succeeded and seen[1].tokens == TOKENS * seen[1].succeeded and seen[1].failed == 0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"parallel": 0}, "parallel is 0: give a number from 1 to 1024."),
        ({"parallel": 1025}, "parallel is 1025"),
        ({"seconds": 0}, "seconds is 0"),
        ({"warm_up": -1}, "warm_up is -1"),
        ({"shared_percent": 101}, "shared_percent is 101"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"request_timeout": 0}, "request_timeout is 0"),
        ({"base_url": "127.0.0.1:8080"}, "write it as http://ADDRESS:PORT"),
    ],
)
def test_what_cannot_be_meant_is_refused(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        replace(Request("http://127.0.0.1:1"), **wanted).check()
    assert message in refused.value.msg
