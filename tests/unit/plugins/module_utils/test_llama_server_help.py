# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flags, parse_help
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import recorded

# Recorded from llama.cpp 0c1e57098.
RECORDED = recorded("help.txt").decode()


@pytest.fixture(scope="module")
def flags() -> Flags:
    return parse_help(RECORDED)


def test_every_name_in_the_help_is_found(flags: Flags) -> None:
    # Counted another way: whatever starts with a dash before the column of the descriptions.
    heads = [
        line[:40] if "  " in line[7:40] else line for line in RECORDED.splitlines() if line.startswith("-") and not line.startswith("---")
    ]
    names = {word.rstrip(",") for head in heads for word in head.split() if word.startswith("-")}
    assert set(flags) == names
    assert len({id(flag) for flag in flags.values()}) == len(heads) == 255


@pytest.mark.parametrize(
    ("name", "names", "short", "value"),
    [
        ("--ctx-size", ("--ctx-size",), ("-c",), "N"),
        ("-ngl", ("--gpu-layers", "--n-gpu-layers"), ("-ngl",), "N"),
        ("--flash-attn", ("--flash-attn",), ("-fa",), "[on|off|auto]"),
        ("--override-tensor", ("--override-tensor",), ("-ot",), "<tensor name pattern>=<buffer type>,..."),
        ("--control-vector-layer-range", ("--control-vector-layer-range",), (), "START END"),
        ("--metrics", ("--metrics",), (), ""),
        ("--no-webui", ("--ui", "--webui", "--no-ui", "--no-webui"), (), ""),
        ("-nkvo", ("--kv-offload", "--no-kv-offload"), ("-kvo", "-nkvo"), ""),
        ("--fim-qwen-1.5b-default", ("--fim-qwen-1.5b-default",), (), ""),
    ],
)
def test_names_and_values(flags: Flags, name: str, names: tuple[str, ...], short: tuple[str, ...], value: str) -> None:
    assert (flags[name].names, flags[name].short, flags[name].value) == (names, short, value)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("--flash-attn", {"on", "off", "auto"}),
        ("--rope-scaling", {"none", "linear", "yarn"}),
        ("--cpu-strict", {"0", "1"}),
        ("--cache-type-v", {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}),
        ("--load-mode", {"auto", "none", "mmap", "mlock", "mmap+mlock", "dio"}),
        ("--split-mode", {"none", "layer", "row", "tensor"}),
        ("--numa", {"distribute", "isolate", "numactl"}),
        ("--reasoning-format", {"none", "deepseek", "deepseek-legacy", "auto"}),
        # Open lists, whatever their placeholders and descriptions look like.
        ("--device", set()),
        ("--poll", set()),
        ("--spec-type", set()),
        ("--tools-runtime", set()),
        ("--chat-template", set()),
        ("--log-verbosity", set()),
        ("--ctx-size", set()),
    ],
)
def test_allowed_values(flags: Flags, name: str, allowed: set[str]) -> None:
    assert flags[name].allowed == allowed


def test_every_negative_form_has_a_positive_one(flags: Flags) -> None:
    assert flags["--ui"].negatives == ("--no-ui", "--no-webui")
    assert flags["--no-host"].negatives == ()
    assert flags["--metrics"].negatives == ()
    for flag in flags.values():
        assert set(flag.negatives) < set(flag.names) or not flag.negatives


def test_the_words_that_stand_for_a_number(flags: Flags) -> None:
    assert flags["--n-gpu-layers"].words == {"auto", "all"}
    assert flags["--ctx-size"].words == set()


def test_environment_variables_and_removed_flags(flags: Flags) -> None:
    assert flags["--ctx-size"].environment == "LLAMA_ARG_CTX_SIZE"
    assert flags["--metrics"].environment == "LLAMA_ARG_ENDPOINT_METRICS"
    assert flags["--keep"].environment is None
    assert flags["--draft-max"].removed
    assert not flags["--spec-draft-n-max"].removed


def test_the_help_of_an_older_release() -> None:
    flags = parse_help(
        """----- common params -----

-fa,   --flash-attn                     enable Flash Attention (default: disabled)
                                        (env: LLAMA_ARG_FLASH_ATTN)
--mlock                                 force system to keep model in RAM rather than swapping or compressing
                                        (env: LLAMA_ARG_MLOCK)
--no-mmap                               do not memory-map model (slower load but may reduce pageouts if not using
                                        mlock)
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
--lora FNAME                            path to LoRA adapter (can be repeated to use multiple adapters)
"""
    )
    assert flags["--flash-attn"].value == "" and flags["--mlock"].value == ""
    assert flags["--no-mmap"].negatives == ()
    assert flags["--parallel"].help == "number of parallel sequences to decode (default: 1)"


@pytest.mark.parametrize("text", ["", "usage: something else\n\n  no flags here\n"])
def test_what_is_no_help_has_no_flags(text: str) -> None:
    assert parse_help(text) == {}
