# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import (
    _probe,
    _probe_answers,
    _probe_health,
    _probe_listeners,
    _probe_llama_server,
)
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import GpuUse
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import Listener, Process
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_smi import App, Apps
from ansible_collections.baremetal.llm.plugins.module_utils._probe import Surroundings
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import CHAT, Expectation, Report
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Nobody, Sockets, sockets_of
from ansible_collections.baremetal.llm.plugins.module_utils._running_unit import Obstacle, UnitState
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import FakeLlamaServer, recorded

KEY = "sk-of-this-test"
AS_ASKED = Expectation(alias="tiny", n_ctx=1024, slots=2)
RUNNING = UnitState("loaded", "active", "running", "success", 0, 0, 7, 0)


class Watched(Nobody):
    """A unit that goes through these states, one at each look, and stays in the last."""

    def __init__(
        self, *states: UnitState, sockets: frozenset[tuple[str, int]] = frozenset(), words: str = "", log: Sequence[str] = ()
    ) -> None:
        self._looks = iter(states)
        self._last: UnitState | None = None
        self._sockets, self._words, self._log = sockets, words, log

    def state(self) -> UnitState | None:  # type: ignore[override]
        self._last = next(self._looks, self._last)
        return self._last

    def sockets(self, asked: object) -> Sockets:
        return Sockets(self._sockets)

    def last_words(self) -> str:
        return self._words

    def log_of_start(self) -> list[str]:
        return list(self._log)


def surroundings(*states: UnitState, gpu_use: GpuUse | None = None, **more: Any) -> Surroundings:
    return Surroundings(Watched(*states, **more), lambda: gpu_use or GpuUse(Apps(), frozenset()))


def probe(
    server: FakeLlamaServer, expect: Expectation = AS_ASKED, *, key: str | None = KEY, around: Surroundings | None = None, **options: Any
) -> Report:
    client = Client(server.url, api_key=key, timeout=5)
    settings = {"timeout": 5, "prompt": "Name one colour.", "max_tokens": 8, **options}
    return _probe.probe(client, _probe.ENGINES["llama_server"], expect, around or surroundings(), has_key=key is not None, **settings)


def outcome(report: Report) -> dict[str, bool]:
    return {check.name: check.ok for check in report.checks}


def only_failure(report: Report) -> str:
    (check,) = report.failed
    return f"{check.name}: {check.detail}"


def change_json(name: str, *path: str | int, value: object) -> Any:
    """A server that was recorded, but for one value."""

    def change(answered: str, body: bytes) -> bytes:
        if answered != name:
            return body
        data = json.loads(body)
        inner = data
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        return json.dumps(data).encode()

    return change


def test_a_healthy_server_passes_every_check_in_order() -> None:
    with FakeLlamaServer(api_key=KEY) as server:
        expect = Expectation("tiny", 1024, 2, (("127.0.0.1", server.port),))
        report = probe(server, expect, around=surroundings(RUNNING, sockets=frozenset({("127.0.0.1", server.port)})))
    assert report.healthy
    assert list(outcome(report)) == ["health", "listeners", "auth", "model", "context", "slots", "completion", "streaming"]
    assert report.server == {"alias": "tiny", "model_path": "tiny.gguf", "tokens_per_slot": 1024, "slots": 2, "build": "b0-832db0699007"}
    assert report.timings["load_seconds"] is None
    assert report.timings["tokens_per_second"] == 214.6
    assert report.timings["prompt_tokens_per_second"] == 134.0
    assert report.timings["completion_tokens"] == 8
    assert 0 < (report.timings["time_to_first_token_ms"] or 0) < 5000


def test_what_is_not_expected_is_not_checked() -> None:
    with FakeLlamaServer() as server:
        report = probe(server, Expectation(), key=None)
    assert report.healthy
    assert list(outcome(report)) == ["health", "completion", "streaming"]


GPU = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11"
# On an H200 of which another process holds all but 3 GiB, with n_gpu_layers: all.
GPU_IS_FULL = (
    "0.00.018.718 I srv    load_model: loading model '/var/lib/inference/models/Qwen2-VL-7B-Instruct-Q4_K_M.gguf'",
    "0.00.522.282 W common_fit_params: failed to fit params to free device memory: n_gpu_layers already set by user to -2, abort",
    "0.01.022.854 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 3928.07 MiB on device 0: cudaMalloc failed: out of memory",
    "0.01.022.864 E alloc_tensor_range: failed to allocate CUDA0 buffer of size 4118876160",
)


class TestGpu:
    def test_it_comes_after_what_the_server_says_of_itself_and_before_the_question(self) -> None:
        used = GpuUse(Apps((App(GPU, 7, 812),)), frozenset({7}))
        with FakeLlamaServer(api_key=KEY) as server:
            report = probe(server, Expectation("tiny", gpus=(GPU,), gpu_layers="all"), around=surroundings(gpu_use=used))
        assert list(outcome(report)) == ["health", "auth", "model", "gpu", "completion", "streaming"]
        assert report.healthy

    def test_a_server_on_the_cpu_is_not_asked_to_compute(self) -> None:
        with FakeLlamaServer() as server:
            report = probe(server, Expectation(gpus=(GPU,)), key=None)
            assert ("POST", CHAT) not in server.asked
        assert only_failure(report) == f"gpu: the process holds no memory on {GPU}: it computes on the CPU"


class TestHealth:
    def test_what_keeps_a_unit_from_starting_is_told_in_its_own_words(self) -> None:
        waiting = replace(
            RUNNING, active="activating", sub="auto-restart", obstacle=Obstacle("7", "`nvidia-smi --id=GPU-1` exited with status 9")
        )
        with FakeLlamaServer() as server:
            report = probe(server, key=None, around=surroundings(waiting, words=", saying: no driver"))
        assert only_failure(report) == "health: it does not start: `nvidia-smi --id=GPU-1` exited with status 9, saying: no driver"

    def test_a_gpu_that_is_full_is_told_in_the_words_of_the_server(self) -> None:
        ended = replace(RUNNING, active="activating", sub="auto-restart", exit_code=1, exit_status=1)
        with FakeLlamaServer() as server:
            report = probe(server, Expectation(gpus=(GPU,)), key=None, around=surroundings(ended, log=GPU_IS_FULL))
        (check,) = report.failed
        assert check.detail.startswith("it does not stay up (it exited with status 1")
        assert check.remedy.startswith("Free memory of that GPU") and check.remedy.endswith(GPU_IS_FULL[2])

    def test_loading_is_waited_for_and_timed(self) -> None:
        with FakeLlamaServer(api_key=KEY, health=[503, 503, 502]) as server:
            report = probe(server)
        assert report.healthy
        assert (report.timings["load_seconds"] or 0) > 0.1
        assert re.fullmatch(r"healthy after 0\.\d+ s", report.checks[0].detail)

    def test_a_refused_connection_is_waited_for(self) -> None:
        with FakeLlamaServer() as server:
            url = server.url
        started = time.monotonic()
        check, seconds = _probe_health.wait_until_healthy(Client(url), Nobody(), 0.4)
        assert (check.ok, seconds) == (False, None)
        assert "not healthy within 0.4 s; at last: the connection is refused" in check.detail
        assert 0.4 <= time.monotonic() - started < 4

    def test_a_server_that_never_gets_healthy_ends_with_its_last_answer(self) -> None:
        with FakeLlamaServer(health=[503] * 99) as server:
            report = probe(server, timeout=1)  # on a busy machine, an answer takes its time
        assert only_failure(report) == "health: not healthy within 1 s; at last: GET /health is answered 503: Loading model"
        assert "raise the timeout" in report.message("it")

    def test_a_server_that_does_not_answer_is_not_waited_for_beyond_the_timeout(self) -> None:
        started = time.monotonic()
        with FakeLlamaServer(health=["slow"] * 99) as server:
            report = probe(server, timeout=0.3)
        assert "not answered within" in only_failure(report)
        assert time.monotonic() - started < 4

    def test_some_other_server_is_told_at_once(self) -> None:
        with FakeLlamaServer(health=[404]) as server:
            report = probe(server, timeout=60)
        assert only_failure(report).startswith("health: GET /health is answered 404")

    @pytest.mark.parametrize(
        ("states", "reason"),
        [
            ((UnitState("loaded", "failed", "failed", "exit-code", 1, 1, 0, 5),), "it has failed (it exited with status 1)"),
            ((UnitState("loaded", "inactive", "dead", "success", 0, 0, 0, 0),), "it is not running (state: inactive)"),
            ((RUNNING, RUNNING, UnitState("loaded", "active", "running", "", 0, 0, 8, 1)), "it does not stay up (systemd had to"),
            ((RUNNING, UnitState("loaded", "activating", "auto-restart", "signal", 2, 11, 0, 0)), "it was killed by SIGSEGV"),
        ],
    )
    def test_a_unit_that_cannot_come_up_is_told_at_once(self, states: tuple[UnitState, ...], reason: str) -> None:
        started = time.monotonic()
        with FakeLlamaServer(health=[503] * 99) as server:
            report = probe(server, around=surroundings(*states), timeout=60)
        assert reason in only_failure(report)
        assert time.monotonic() - started < 5

    def test_a_stale_server_does_not_pass_for_a_failed_unit(self) -> None:
        with FakeLlamaServer(api_key=KEY) as server:
            report = probe(server, around=surroundings(UnitState("loaded", "failed", "failed", "exit-code", 1, 1, 0, 0)))
        assert only_failure(report) == "health: it has failed (it exited with status 1)"


class TestListeners:
    LLAMA, NGINX = Process(7, "llama-server"), Process(3, "nginx")

    @pytest.mark.parametrize(
        ("found", "owners", "main_pid", "detail"),
        [
            ([("127.0.0.1", 8080)], {}, 0, None),
            ([("127.0.0.1", 8080), ("0.0.0.0", 22)], {0: LLAMA, 1: NGINX}, 7, None),
            ([("127.0.0.1", 8080), ("10.0.0.1", 8080)], {0: LLAMA, 1: NGINX}, 7, None),
            ([("127.0.0.1", 8080), ("10.0.0.1", 8080)], {}, 0, "listens on 10.0.0.1:8080, 127.0.0.1:8080, you asked for 127.0.0.1:8080"),
            ([("0.0.0.0", 8080)], {0: LLAMA}, 7, "listens on 0.0.0.0:8080, you asked for 127.0.0.1:8080"),
            ([("127.0.0.1", 8081)], {0: LLAMA}, 7, "listens on 127.0.0.1:8081, you asked for 127.0.0.1:8080"),
            (
                [("127.0.0.1", 8080), ("127.0.0.1", 9)],
                {0: LLAMA, 1: LLAMA},
                7,
                "listens on 127.0.0.1:9, 127.0.0.1:8080, you asked for 127.0.0.1:8080",
            ),
            (
                [("127.0.0.1", 8080)],
                {0: NGINX},
                7,
                "listens on no port, you asked for 127.0.0.1:8080; 127.0.0.1:8080 is held by nginx (pid 3)",
            ),
            ([], {}, 7, "listens on no port, you asked for 127.0.0.1:8080"),
        ],
    )
    def test_exactly_what_was_asked_for(
        self, found: list[tuple[str, int]], owners: dict[int, Process], main_pid: int, detail: str | None
    ) -> None:
        listeners = [Listener(address, port, inode) for inode, (address, port) in enumerate(found)]
        asked = [("127.0.0.1", 8080)]
        sockets = sockets_of(asked, listeners, owners, (lambda pid: pid == main_pid) if main_pid else None)
        check = _probe_listeners.judge_listeners(asked, sockets)
        assert (check.ok, None if check.ok else check.detail) == (detail is None, detail)

    def test_a_server_open_to_the_network_is_warned_of(self) -> None:
        (wide, narrow) = (
            _probe_listeners.judge_listeners([(asked, 8080)], Sockets(frozenset({(found, 8080)})))
            for asked, found in (("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"))
        )
        assert "the whole network" in wide.remedy and "the whole network" not in narrow.remedy

    def test_a_mismatch_does_not_hide_the_other_checks(self) -> None:
        with FakeLlamaServer(api_key=KEY) as server:
            expect = Expectation("tiny", 1024, 2, (("127.0.0.1", server.port),))
            report = probe(server, expect, around=surroundings(sockets=frozenset({("0.0.0.0", server.port)})))
        assert list(outcome(report).values()) == [True, False, True, True, True, True, True, True]

    @pytest.mark.parametrize(
        ("text", "parsed"),
        [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), ("[0:0::1]:80", ("::1", 80)), ("0.0.0.0:80", ("0.0.0.0", 80))],
    )
    def test_endpoints(self, text: str, parsed: tuple[str, int]) -> None:
        assert _probe_listeners.parse_endpoint(text) == parsed

    @pytest.mark.parametrize(
        "text", ["8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "host.invalid:80"]
    )
    def test_a_wrong_endpoint_is_named(self, text: str) -> None:
        with pytest.raises(UserError, match=re.escape(repr(text))):
            _probe_listeners.parse_endpoint(text)


class TestAuth:
    def test_a_server_that_lets_everybody_in(self) -> None:
        with FakeLlamaServer() as server:
            report = probe(server)
        assert only_failure(report) == "auth: a request with no API key is answered 400 instead of 401"

    @pytest.mark.parametrize(
        ("given", "detail"),
        [("another", "auth: it refuses the API key that you gave"), (None, "auth: it asks for an API key and you gave none")],
    )
    def test_an_operator_who_is_not_let_in(self, given: str | None, detail: str) -> None:
        with FakeLlamaServer(api_key=KEY) as server:
            report = probe(server, key=given)
        assert only_failure(report) == detail
        assert ("POST", CHAT) not in server.asked


class TestModel:
    def test_another_model(self) -> None:
        with FakeLlamaServer(api_key=KEY) as server:
            report = probe(server, Expectation(alias="chat"))
        assert only_failure(report) == "model: serves tiny, you asked for chat"

    @pytest.mark.parametrize(
        ("asked", "slot", "detail"),
        [
            (1024, 1024, None),
            (1000, 1024, None),  # rounded up
            (341, 512, None),
            (768, 1024, "a slot has 1024 tokens of context, you asked for 768"),
            (2048, 1024, "a slot has 1024 tokens of context, you asked for 2048"),
            (8192, 4096, "a slot has 4096 tokens of context, you asked for 8192; the model was trained for 4096"),
            (1024, None, "a slot has None tokens of context, you asked for 1024"),
        ],
    )
    def test_context(self, asked: int, slot: int | None, detail: str | None) -> None:
        check = _probe_llama_server.judge_context(
            asked, {"default_generation_settings": {"n_ctx": slot}}, json.loads(recorded("models.json"))
        )
        assert (check.ok, None if check.ok else check.detail) == (detail is None, detail)

    def test_slots(self) -> None:
        with FakeLlamaServer(api_key=KEY) as server:
            report = probe(server, Expectation(slots=4))
        assert only_failure(report) == "slots: has 2 slots, you asked for 4"

    def test_an_answer_that_is_not_llama_servers(self) -> None:
        with FakeLlamaServer(change=lambda name, body: b"[]" if name == "props.json" else body) as server:
            report = probe(server, key=None)
        assert [check.name for check in report.failed] == ["model", "context", "slots"]


class TestCompletion:
    def test_a_server_that_cannot_answer(self) -> None:
        with FakeLlamaServer(api_key=KEY, completion_status=500) as server:
            report = probe(server)
        assert only_failure(report) == "completion: POST /v1/chat/completions is answered 500: Loading model"

    @pytest.mark.parametrize("path", [("usage", "completion_tokens"), ("choices",)])
    def test_an_answer_without_tokens(self, path: tuple[str, ...]) -> None:
        with FakeLlamaServer(api_key=KEY, change=change_json("completion.json", *path, value=0)) as server:
            report = probe(server)
        assert only_failure(report) == "completion: the answer to a completion holds no token"

    def test_tokens_that_print_nothing_are_tokens(self) -> None:
        change = change_json("completion.json", "choices", 0, "message", "content", value="")
        with FakeLlamaServer(api_key=KEY, change=change) as server:
            assert probe(server).healthy

    @pytest.mark.parametrize("speed", [None, 0, float("inf"), float("nan"), "fast", -1])
    def test_a_speed_that_is_none_is_left_out(self, speed: object) -> None:
        timings: dict[str, float | None] = {}
        answer = {"choices": [{}], "usage": {"completion_tokens": 1}, "timings": {"predicted_per_second": speed}}
        check = _probe_answers.judge_completion(CHAT, Reply(200, json.dumps(answer).encode()), timings)
        assert (check.ok, check.detail, timings["tokens_per_second"]) == (True, "1 tokens", None)


class TestStreaming:
    def stream(self, events: bytes) -> str:
        with FakeLlamaServer(api_key=KEY, change=lambda name, body: events if name == "stream.txt" else body) as server:
            return only_failure(probe(server))

    def test_the_first_token_is_timed_not_the_role(self) -> None:
        timings: dict[str, float | None] = {}
        events = [line[len("data: ") :] for line in recorded("stream.txt").decode().splitlines() if line]
        check = _probe_answers.judge_stream(((second, event) for second, event in enumerate(events)), timings)
        assert (check.ok, check.detail) == (True, "9 chunks, the first token after 1000 ms")

    def test_an_answer_of_pieces_of_characters_has_only_a_last_chunk(self) -> None:
        timings: dict[str, float | None] = {}
        chunks = ['{"choices":[{"finish_reason":"length","delta":{}}]}', '{"choices":[],"usage":{"completion_tokens":8}}', "[DONE]"]
        assert _probe_answers.judge_stream(((0.5, chunk) for chunk in chunks), timings).ok
        assert timings["time_to_first_token_ms"] == 500

    def test_a_stream_that_breaks_off(self) -> None:
        events = recorded("stream.txt")
        broken = events[: events.index(b" there")].rpartition(b"\n\n")[0]
        assert self.stream(broken) == "streaming: the stream broke off after 5 chunks, without its end mark [DONE]"

    def test_an_event_that_is_not_json(self) -> None:
        assert self.stream(b"data: <html>\n\ndata: [DONE]") == "streaming: an event is not JSON: <html>"

    def test_an_error_in_the_middle(self) -> None:
        error = b'data: {"error":{"message":"out of memory","code":500}}\n\ndata: [DONE]'
        assert self.stream(error) == "streaming: an event reports an error: out of memory"

    @pytest.mark.parametrize(
        "chunk", [b'{"choices":[]}', b'{"choices":[{"finish_reason":"stop","delta":{}}],"usage":{"completion_tokens":0}}']
    )
    def test_a_stream_without_tokens(self, chunk: bytes) -> None:
        assert self.stream(b"data: " + chunk + b"\n\ndata: [DONE]") == "streaming: the stream ended without a token"


def test_the_message_names_the_first_failure_its_remedy_and_the_others() -> None:
    with FakeLlamaServer(api_key=KEY) as server:
        report = probe(server, Expectation(alias="chat", slots=3))
    assert report.message("inference-chat.service") == (
        "inference-chat.service fails the check 'model': serves tiny, you asked for chat. "
        "Restart the service if its model has changed; otherwise another server answers at this address. Also failed: slots."
    )
