# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_architectures import Coverage, cmake_knows_families, for_gpus, parse
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_capabilities import CAPABILITIES, Capability
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("86", "86"),
        ("86-real", "86-real"),
        ("80-virtual", "80-virtual"),
        (" 90a-real ", "90a-real"),
        ("100f", "100f"),
        # as ggml's CMakeLists.txt does
        ("120", "120a"),
        ("120-real", "120a-real"),
        ("121-virtual", "121a-virtual"),
        ("120a-real", "120a-real"),
        ("120f-virtual", "120f-virtual"),
        *(
            (text, None)
            for text in ("native", "all", "all-major", "", "8.6", "sm_86", "86-", "86-both", "61", "101", "86a", "90f", "8", "٨٦")
        ),
    ],
)
def test_an_entry_means(text: str, meant: str | None) -> None:
    architecture = parse(text)
    assert (str(architecture) if architecture else None) == meant


@pytest.mark.parametrize(
    ("architecture", "gpu", "coverage"),
    [
        ("86-real", "8.6", Coverage.EXACT),
        ("80-real", "8.6", Coverage.BINARY),
        ("86-real", "8.9", Coverage.BINARY),
        ("89-real", "8.6", Coverage.NONE),
        ("86-real", "9.0", Coverage.NONE),
        ("86-virtual", "8.6", Coverage.PTX),
        ("80-virtual", "9.0", Coverage.PTX),
        ("80", "9.0", Coverage.PTX),
        ("90-virtual", "8.9", Coverage.NONE),
        ("90a-real", "9.0", Coverage.EXACT),
        ("90a", "10.0", Coverage.NONE),
        ("120a-real", "12.0", Coverage.EXACT),
        ("120a-real", "12.1", Coverage.NONE),
        ("120a-virtual", "12.1", Coverage.NONE),
        ("120f-real", "12.1", Coverage.BINARY),
        ("120f-virtual", "12.1", Coverage.PTX),
        ("100f-virtual", "12.0", Coverage.NONE),
        ("100-virtual", "12.0", Coverage.PTX),
        ("100-real", "10.3", Coverage.BINARY),
    ],
)
def test_which_gpus_an_architecture_serves(architecture: str, gpu: str, coverage: Coverage) -> None:
    parsed, capability = parse(architecture), Capability.parse(gpu)
    assert parsed and capability
    assert parsed.coverage(capability) is coverage


@given(st.lists(st.sampled_from(list(CAPABILITIES)), min_size=1))
def test_what_is_built_for_gpus(capabilities: list[Capability]) -> None:
    built = for_gpus(capabilities)
    assert built == sorted(built) and len(built) == len(set(capabilities))
    assert all(max(one.coverage(capability) for one in built) is Coverage.EXACT for capability in capabilities)
    assert all(str(one).endswith("-real") and parse(str(one)) == one for one in built)


@pytest.mark.parametrize(
    ("cmake", "knows"),
    [
        ((3, 25, 1), False),
        ((3, 31, 7), False),
        ((3, 31, 8), True),
        ((4, 0, 0), False),
        ((4, 0, 1), False),
        ((4, 0, 2), True),
        ((4, 1), True),
    ],
)
def test_which_cmake_takes_120f(cmake: tuple[int, ...], knows: bool) -> None:
    assert cmake_knows_families(cmake) is knows
