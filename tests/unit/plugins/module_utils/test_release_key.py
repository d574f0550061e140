# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._release_key import build_inputs, build_key, reasons_to_rebuild
from hypothesis import given
from hypothesis import strategies as st

BASE: dict[str, Any] = {
    "source": {"digest": "a" * 64, "subdirectory": ""},
    "backend": "cpu",
    "toolchain": {"c_compiler": "cc 12.2.0", "native": "-march=znver3 -mavx2", "toolkit": None},
    "architectures": [],
    "cmake_options": {"GGML_NATIVE": "ON"},
    "targets": ["llama-server", "llama-bench"],
}
OTHER: dict[str, Any] = {
    "source": {"digest": "b" * 64, "subdirectory": ""},
    "backend": "cuda",
    "toolchain": {**BASE["toolchain"], "c_compiler": "cc 14.2.0"},
    "architectures": ["86-real"],
    "cmake_options": {"GGML_NATIVE": "OFF"},
    "targets": ["llama-server"],
}


def test_key_is_stable_across_releases_of_the_collection() -> None:
    # Another value here means a rebuild on every host: raise RECIPE if that is meant.
    assert build_key(build_inputs(**BASE)) == "2b6802973d2558057c83"


@pytest.mark.parametrize("name", BASE)
def test_each_input_changes_the_key_and_is_named(name: str) -> None:
    before, after = build_inputs(**BASE), build_inputs(**{**BASE, name: OTHER[name]})
    assert build_key(before) != build_key(after)
    assert len(reasons_to_rebuild(before, after)) == 1


@given(st.permutations(["a", "b", "c"]), st.permutations([("X", "1"), ("Y", "2"), ("Z", "3")]))
def test_order_does_not_matter(names: list[str], options: list[tuple[str, str]]) -> None:
    inputs = build_inputs(**{**BASE, "targets": [*names, names[0]], "cmake_options": dict(options)})
    assert build_key(inputs) == build_key(build_inputs(**{**BASE, "targets": ["a", "b", "c"], "cmake_options": dict(sorted(options))}))


def test_reasons_in_words() -> None:
    before = {"backend": "cpu", "cmake_options": {"A": "ON", "B": "1"}, "targets": ["x"], "toolkit": None}
    after = {"backend": "cpu", "cmake_options": {"A": "OFF", "C": "2"}, "targets": ["x", "y"], "toolkit": "12.8"}
    assert reasons_to_rebuild(before, after) == [
        "cmake_options.A: ON -> OFF",
        "cmake_options.B: 1 -> unset",
        "cmake_options.C: unset -> 2",
        "targets: x -> x y",
        "toolkit: none -> 12.8",
    ]


def test_of_many_cpu_features_only_the_different_ones_are_named() -> None:
    common = " ".join(f"-mfeature{n}" for n in range(50))
    assert reasons_to_rebuild({"native": f"-march=a {common}"}, {"native": f"{common} -march=b -mnew"}) == [
        "native: -march=a -> -march=b -mnew"
    ]
