# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_flags import RELEASES
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import (
    KINDS,
    NEWEST,
    Known,
    flags_of,
    known_of,
    release_of,
)
from ansible_collections.baremetal.llm.tests.vllm.shim.vllm_shim.parser import accepts, parse

# What the parsers of the released packages said (tests/vllm/extract_parser.py).
RECORDED: dict[str, dict[str, str | None]] = json.loads(
    (Path(__file__).parents[1] / "plugins" / "fixtures" / "vllm" / "answers.json").read_text("utf-8")
)
ANSWERS = [(release, line, said) for release, lines in RECORDED.items() for line, said in lines.items()]

# What the table does not tell: which keys a configuration has, and two things that vLLM has learnt since 0.15.
NOT_TOLD = {
    (NEWEST, """/m --kv-transfer-config '{"kv_connector": "X", "kv_buffer_size": 8g, "kv_role": "kv_both"}'"""),
    ("0.15.0", """/m --kv-transfer-config '{"kv_connector": "X", "kv_buffer_size": 8g, "kv_role": "kv_both"}'"""),
    ("0.15.0", "--served-model-name chat /m"),
}


def test_every_release_was_asked() -> None:
    assert list(RECORDED) == list(RELEASES)
    assert all(list(lines) == list(RECORDED[NEWEST]) for lines in RECORDED.values())


def test_a_command_line_is_taken_exactly_where_vllm_takes_it() -> None:
    told = {(release, line): said for release, line, said in ANSWERS if (release, line) not in NOT_TOLD}
    ours = {(release, line): accepts(shlex.split(line), release) for release, line in told}
    assert [key for key in told if (told[key] is None) != (ours[key] is None)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        "unrecognized arguments: ",
        "invalid choice: ",
        "invalid int value: ",
        "invalid float value: ",
        "expected one argument",
        "expected at least",
        "Decimals are not",
    ],
)
def test_what_vllm_says_is_said(wrong: str) -> None:
    lines = {line: said for line, said in RECORDED[NEWEST].items() if said is not None and wrong in said and "Hint:" not in said}
    assert lines
    # Pythons differ in whether they quote the choices.
    ours = {line: str(accepts(shlex.split(line))).replace("'", "") for line in lines}
    assert ours == {line: said.replace("'", "") for line, said in lines.items()}


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ("/m --max-model-len 32k", "max_model_len", 32000),
        ("/m --max-model-len 32K", "max_model_len", 32768),
        ("/m --max-model-len auto", "max_model_len", -1),
        ("/m --max-num-batched-tokens 1.5k", "max_num_batched_tokens", 1500),
        ("/m --disable-chunked-prefill", "enable_chunked_prefill", False),
        ("/m --no-enforce-eager", "enforce_eager", False),
        ("/m --device-memory-utilization 0.5", "gpu_memory_utilization", 0.5),
        ("/m --served-model-name a b --port 1", "served_model_name", ["a", "b"]),
        ("/m --middleware a --middleware b", "middleware", ["a", "b"]),
        ("/m --kv-offloading-size None", "kv_offloading_size", None),
        (
            "/m --compilation-config.pass_config.x 2K --compilation-config.mode 3",
            "compilation_config",
            {"pass_config": {"x": 2048}, "mode": 3},
        ),
        ("/m --compilation-config.a+ 1,2", "compilation_config", {"a": ["1", "2"]}),
        ("--model /m --port 1", "model_tag", "/m"),
    ],
)
def test_values_are_read(line: str, option: str, value: Any) -> None:
    found, said = parse(shlex.split(line))
    assert said is None
    assert found[option] == value


def test_the_table_is_whole() -> None:
    for release in RELEASES:
        flags = set(flags_of(release).values())
        assert {flag.kind for flag in flags} <= set(KINDS)
        assert {flag.nargs for flag in flags} <= {"", "?", "+"}
        assert all(flag.names and all(name.startswith("--") for name in (*flag.names, *flag.negatives)) for flag in flags)
        assert {"--host", "--port", "--api-key", "--served-model-name", "--max-model-len", "--gpu-memory-utilization"} <= set(
            flags_of(release)
        )


@pytest.mark.parametrize(
    ("image", "release"),
    [
        ("vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("docker.io/vllm/vllm-openai:v0.20.1-cu129", "0.20.1"),
        ("vllm/vllm-openai:v0.8.5.post1", "0.8.5"),
        ("registry.example:5000/vllm/vllm-openai:v0.27.0@sha256:" + "0" * 64, "0.27.0"),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai", None),
        ("vllm/vllm-openai@sha256:" + "0" * 64, None),
        ("vllm/vllm-openai:nightly", None),
        ("example/vllm:v1.2.3", None),
        (None, None),
    ],
)
def test_the_tag_tells_the_release(image: str | None, release: str | None) -> None:
    assert release_of(image) == release


@pytest.mark.parametrize(
    ("version", "known"),
    [
        (None, Known((NEWEST,), True)),
        ("0.33.0", Known(("0.33.0",), True)),
        ("0.33.7", Known(("0.33.0",), True)),
        ("0.22.0", Known(("0.20.0", "0.24.0"), True)),
        ("0.99.0", Known((NEWEST,), False)),
        ("0.8.5", Known((RELEASES[0],), False)),
    ],
)
def test_releases_that_were_not_looked_at_lie_between_others(version: str | None, known: Known) -> None:
    assert known_of(version) == known
