# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._load_check_answer import Answer, BrokenAnswerError
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import recorded

DONE = b"data: [DONE]\n\n"
# The form of vLLM (vllm/entrypoints/openai/chat_completion/serving.py): the role comes first, with an empty text.
VLLM = [
    b"data: " + json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk}).encode() + b"\n\n"
    for chunk in (
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "Red"}, "logprobs": None, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "ish"}, "logprobs": None, "finish_reason": "length"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3}},
    )
]


def event(**data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def streamed(*pieces: bytes, status: int = 200) -> Answer:
    answer = Answer(stream=True)
    for second, piece in enumerate(pieces):
        answer.feed(status, piece, float(second))
    answer.end(status)
    return answer


def test_a_recorded_stream_of_llama_server() -> None:
    answer = streamed(*[piece + b"\n\n" for piece in recorded("stream.txt").split(b"\n\n")])
    assert (answer.prompt_tokens, answer.completion_tokens) == (43, 8)
    assert list(answer.arrivals) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize("step", [1, 5, 64, 4096])
def test_events_are_cut_anywhere(step: int) -> None:
    whole = recorded("stream.txt")
    answer = streamed(*[whole[at : at + step] for at in range(0, len(whole), step)])
    assert len(answer.arrivals) == answer.completion_tokens == 8


def test_a_role_without_text_is_no_token_and_a_text_may_be_several() -> None:
    answer = streamed(*VLLM, DONE)
    assert (list(answer.arrivals), answer.prompt_tokens, answer.completion_tokens) == ([1.0, 2.0], 9, 3)


@pytest.mark.parametrize("delta", [{"reasoning_content": "Hm"}, {"reasoning": "Hm"}, {"tool_calls": [{"index": 0}]}, {"content": "Hm"}])
def test_whatever_the_model_says_counts(delta: dict[str, object]) -> None:
    assert list(streamed(event(choices=[{"delta": delta}]), DONE).arrivals) == [0.0]


def test_texts_of_the_completions_endpoint() -> None:
    assert list(streamed(event(choices=[{"text": "a"}]), event(choices=[{"text": "b"}]), DONE).arrivals) == [0.0, 1.0]


def test_pieces_of_characters_come_with_the_last_event() -> None:
    answer = streamed(event(choices=[{"delta": {"content": None}}]), event(choices=[{"delta": {}, "finish_reason": "length"}]), DONE)
    assert list(answer.arrivals) == [1.0]


@pytest.mark.parametrize(
    ("pieces", "status", "kind", "detail"),
    [
        ([VLLM[1]], 200, "stream_broken", "after 1 events"),
        ([b""], 200, "stream_broken", "after 0 events"),
        ([DONE], 200, "no_tokens", ""),
        ([VLLM[1], event(error={"message": "out of memory", "code": 500}), DONE], 200, "stream_error", "out of memory"),
        ([b'error: {"code":500,"message":"slot is gone"}\n\n'], 200, "stream_error", "slot is gone"),
        ([b"data: <html>\n\n"], 200, "not_json", "<html>"),
        ([recorded("unauthorized.json")], 401, "http_401", "Invalid API Key"),
        ([b"busy\nplease wait"], 503, "http_503", "busy please wait"),
        ([b'{"object":"error","message":"too long","code":400}'], 400, "http_400", "too long"),
        ([b"x" * 1000], 502, "http_502", "…"),
    ],
)
def test_what_goes_wrong_has_a_kind(pieces: list[bytes], status: int, kind: str, detail: str) -> None:
    with pytest.raises(BrokenAnswerError) as broken:
        streamed(*pieces, status=status)
    assert broken.value.kind == kind and detail in str(broken.value) and len(str(broken.value)) < 350


def test_an_answer_without_end() -> None:
    answer = Answer(stream=True)
    for _ in range(16):
        answer.feed(200, b"x" * 1024**2, 0.0)
    with pytest.raises(BrokenAnswerError) as broken:
        answer.feed(200, b"x", 0.0)
    assert broken.value.kind == "answer_too_long"


def whole(body: bytes) -> Answer:
    answer = Answer(stream=False)
    answer.feed(200, body, 1.0)
    answer.end(200)
    return answer


def test_a_recorded_whole_answer() -> None:
    answer = whole(recorded("completion.json"))
    assert (answer.prompt_tokens, answer.completion_tokens, list(answer.arrivals)) == (43, 8, [])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "not_json"),
        (b"[]", "not_json"),
        (b'{"choices": []}', "not_json"),
        (b'{"choices": [{"text": ""}], "usage": {"completion_tokens": 0}}', "no_tokens"),
    ],
)
def test_a_whole_answer_that_is_none(body: bytes, kind: str) -> None:
    with pytest.raises(BrokenAnswerError) as broken:
        whole(body)
    assert broken.value.kind == kind
