# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _probe, _probe_answers
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import GpuUse, judge_gpus
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import App, Apps
from ansible_collections.baremetal.llm.plugins.module_utils._probe import Surroundings
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import Expectation, Report
from ansible_collections.baremetal.llm.plugins.module_utils._probe_vllm import (
    VLLM,
    Cache,
    cache_in_log,
    cache_in_metrics,
    judge_cache,
    judge_length,
)
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Nobody, Sockets
from ansible_collections.baremetal.llm.plugins.module_utils._running_container import ContainerState
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import FakeVllm, recorded

KEY = "sk-of-this-test"
GPU = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11"
AS_ASKED = Expectation(alias="mistral", n_ctx=32768, metrics=True, kv_cache_tokens=(118000, 141000))
RUNNING = ContainerState("f3", "running", 0, False, "", 0, "2026-11-27T06:31:02.5Z", frozenset({("127.0.0.1", 8000)}), False)
CACHE_LINE = (
    "(EngineCore pid=92) INFO 11-27 06:31:22 [kv_cache_utils.py:1147] GPU KV cache size: {} tokens, "
    "Maximum concurrency for 32,768 tokens per request: {}x"
)
LOADED = ("(APIServer pid=1) INFO 11-27 06:31:02 [startup.py:96] non-default args: {…}", CACHE_LINE.format("125,920", "3.84"))


class Contained(Nobody):
    def __init__(self, state: ContainerState = RUNNING, log: tuple[str, ...] = LOADED, words: str = "") -> None:
        self._state, self._log, self._words = state, log, words

    def state(self) -> ContainerState:  # type: ignore[override]
        return self._state

    def log_of_start(self) -> list[str]:
        return list(self._log)

    def last_words(self) -> str:
        return self._words

    def sockets(self, asked: object) -> Sockets:
        return Sockets(self._state.ports)


def probe(
    server: FakeVllm, expect: Expectation = AS_ASKED, *, key: str | None = KEY, runner: Nobody | None = None, **options: Any
) -> Report:
    client = Client(server.url, api_key=key, timeout=5)
    settings = {"timeout": 5, "prompt": "Name one colour.", "max_tokens": 8, **options}
    around = Surroundings(runner or Contained(), lambda: GpuUse(Apps(), frozenset(), engine=VLLM.on_gpu))
    return _probe.probe(client, VLLM, expect, around, has_key=key is not None, **settings)


def only_failure(report: Report) -> str:
    (check,) = report.failed
    return f"{check.name}: {check.detail}"


def changed(name: str, old: bytes, new: bytes) -> Any:
    return lambda answered, body: body.replace(old, new) if answered == name else body


def test_a_healthy_server_passes_every_check_in_order() -> None:
    with FakeVllm(api_key=KEY) as server:
        report = probe(server, replace(AS_ASKED, listen=(("127.0.0.1", 8000),)))
    assert report.healthy, report.failed
    assert [check.name for check in report.checks] == [
        "health", "listeners", "auth", "model", "context", "metrics", "kv_cache", "completion", "streaming",
    ]  # fmt: skip
    assert report.server == {
        "alias": "mistral",
        "model_path": "TheBloke/Mistral-7B-Instruct-v0.2-AWQ",
        "max_model_len": 32768,
        "version": "0.33.0",
        "kv_cache_tokens": 125920,
        "max_concurrency": 3.84,
    }
    assert not report.warnings


def test_it_is_timed_by_this_side_as_vllm_tells_nothing() -> None:
    with FakeVllm(api_key=KEY) as server:
        timings = probe(server).timings
    assert (timings["prompt_tokens"], timings["completion_tokens"]) == (12, 8)
    assert all((timings[name] or 0) > 0 for name in ("time_to_first_token_ms", "tokens_per_second", "prompt_tokens_per_second"))


def test_the_first_token_is_timed_not_the_role_with_its_empty_text() -> None:
    timings: dict[str, float | None] = {}
    events = [line[len("data: ") :] for line in recorded("stream.txt", "vllm").decode().splitlines() if line]
    check = _probe_answers.judge_stream(((second, event) for second, event in enumerate(events)), timings)
    assert (check.ok, check.detail) == (True, "8 chunks, the first token after 1000 ms")
    assert timings == {"time_to_first_token_ms": 1000, "prompt_tokens_per_second": 12, "tokens_per_second": 1}


def test_each_question_has_to_be_processed_whole() -> None:
    with FakeVllm(api_key=KEY) as server:
        probe(server)
    once, streamed = server.questions
    assert once["model"] == streamed["model"] == "mistral"
    assert once["cache_salt"] != streamed["cache_salt"]
    assert "cache_prompt" not in once


def test_a_model_that_cannot_chat_completes_a_text() -> None:
    with FakeVllm(api_key=KEY, cannot_chat=True) as server:
        report = probe(server)
    assert report.healthy, report.failed
    assert [path for method, path in server.asked if method == "POST"][-3:] == [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/completions",
    ]
    assert report.checks[-1].detail.startswith("3 chunks")


class TestHealth:
    def test_no_connection_while_it_loads(self) -> None:
        with FakeVllm() as server:
            url = server.url
        client = Client(url, timeout=5)
        around = Surroundings(Contained(), lambda: GpuUse(Apps(), frozenset()))
        report = _probe.probe(client, VLLM, AS_ASKED, around, has_key=False, timeout=0.3, prompt="", max_tokens=1)
        assert only_failure(report).startswith("health: not healthy within 0.3 s; at last: the connection is refused")

    def test_a_dead_engine_is_told_at_once(self) -> None:
        with FakeVllm(api_key=KEY, health=[503] * 99) as server:
            report = probe(server, timeout=60)
        assert only_failure(report) == "health: GET /health is answered 503: its engine has died"

    def test_a_container_that_has_ended_is_told_with_what_to_do(self) -> None:
        words = "vllm serve: error: unrecognized arguments: --calculate-kv-scales true"
        ended = replace(RUNNING, status="exited", exit_code=2)
        with FakeVllm() as server:
            report = probe(server, key=None, runner=Contained(ended, (words,), f", saying: {words}"))
        assert only_failure(report) == f"health: it has ended (it exited with status 2), saying: {words}"
        assert report.failed[0].remedy.startswith("This vLLM has no such option")


class TestAuth:
    def test_a_server_that_lets_everybody_in(self) -> None:
        with FakeVllm() as server:
            report = probe(server)
        assert only_failure(report) == "auth: a request with no API key is answered 400 instead of 401"
        assert "VLLM_API_KEY" in report.failed[0].remedy

    @pytest.mark.parametrize(("given", "detail"), [("another", "it refuses the API key that you gave"), (None, "you gave none")])
    def test_an_operator_who_is_not_let_in(self, given: str | None, detail: str) -> None:
        with FakeVllm(api_key=KEY) as server:
            report = probe(server, key=given)
        assert only_failure(report).startswith("auth: ") and detail in only_failure(report)


class TestModel:
    def test_any_of_its_names(self) -> None:
        with FakeVllm(api_key=KEY) as server:
            report = probe(server, Expectation(alias="mistral-7b"))
        assert report.healthy

    def test_another_model(self) -> None:
        with FakeVllm(api_key=KEY) as server:
            report = probe(server, Expectation(alias="chat"))
        assert only_failure(report) == "model: serves mistral, mistral-7b, you asked for chat"

    @pytest.mark.parametrize(("length", "ok"), [(32768, True), (32767, False), (32769, False), (None, False)])
    def test_the_length_is_exact(self, length: object, ok: bool) -> None:
        assert judge_length(32768, {"data": [{"max_model_len": length}]}).ok == ok

    def test_an_answer_that_is_not_vllms(self) -> None:
        with FakeVllm(change=lambda name, body: b"[]" if name == "models.json" else body) as server:
            report = probe(server, key=None)
        assert [check.name for check in report.failed] == ["model", "context"]


class TestMetrics:
    def test_a_server_that_shows_none(self) -> None:
        with FakeVllm(api_key=KEY, change=changed("metrics.txt", b"vllm:", b"http_")) as server:
            report = probe(server)
        assert only_failure(report) == "metrics: no metric of vLLM is at /metrics, so nothing shows its load and its cache"
        assert report.failed[0].remedy == "Take disable_log_stats out of options."

    def test_nobody_asked(self) -> None:
        with FakeVllm(api_key=KEY, change=changed("metrics.txt", b"vllm:", b"http_")) as server:
            assert probe(server, replace(AS_ASKED, metrics=False)).healthy


class TestCache:
    @pytest.mark.parametrize(
        ("lines", "cache"),
        [
            (LOADED, Cache(125920, 3.84)),
            ((), None),
            ((CACHE_LINE.format("64", "1.00"), *LOADED, "(EngineCore pid=92) INFO … init engine"), Cache(125920, 3.84)),
            ((CACHE_LINE.format("64", "1.00"), CACHE_LINE.format("1,048,576", "32.00")), Cache(1048576, 32.0)),
        ],
    )
    def test_the_line_of_its_log(self, lines: tuple[str, ...], cache: Cache | None) -> None:
        assert cache_in_log(lines) == cache

    def test_a_log_that_no_longer_has_it(self) -> None:
        assert cache_in_metrics(recorded("metrics.txt", "vllm").decode()) == Cache(129360, 3.95)
        with FakeVllm(api_key=KEY) as server:
            report = probe(server, runner=Contained(log=()))
        assert report.server["kv_cache_tokens"] == 129360

    @pytest.mark.parametrize(
        ("cache", "ok", "warned"),
        [
            (Cache(100_000, 3.05), True, False),
            (Cache(150_000, None), True, False),
            (Cache(99_999, 3.05), True, True),
            (Cache(50_000, 1.53), True, True),
            (Cache(49_984, 1.53), False, False),
            (None, True, False),
        ],
    )
    def test_against_the_plan(self, cache: Cache | None, ok: bool, warned: bool) -> None:
        check, warning = judge_cache((100_000, 120_000), cache)
        assert (check.ok, bool(warning)) == (ok, warned)
        assert "100000 to 120000 were planned" in check.detail

    def test_two_that_started_together(self) -> None:
        with FakeVllm(api_key=KEY) as server:
            report = probe(server, runner=Contained(log=(CACHE_LINE.format("34,000", "1.04"),)))
        assert (
            only_failure(report)
            == "kv_cache: the cache holds 34000 tokens, 1.04 requests of full length, but 118000 to 141000 were planned"
        )
        assert "while nothing else starts on that GPU" in report.failed[0].remedy


def test_a_gpu_that_it_does_not_use() -> None:
    use = GpuUse(Apps((App(GPU, 9, 20000),)), frozenset(), LOADED, engine=VLLM.on_gpu)
    check = judge_gpus((GPU,), None, None, use)
    assert not check.ok and "CPU" not in check.detail + check.remedy
    assert judge_gpus((GPU,), None, 18000, replace(use, mine=frozenset({9}))).ok
