# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_shards import shard_names
from ansible_collections.baremetal.llm.plugins.module_utils._hub_choice import chosen

FILES = ["Model-Q4_K_M.gguf", "Model-Q8_0.gguf", "README.md", "big/m-00001-of-00002.gguf", "big/m-00002-of-00002.gguf", "odd[1].gguf"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], FILES),
        (["README.md"], ["README.md"]),
        (["*.gguf", "README.md"], FILES),
        (["*Q4*"], ["Model-Q4_K_M.gguf"]),
        (["Model-Q[48]*"], ["Model-Q4_K_M.gguf", "Model-Q8_0.gguf"]),
        (["odd[1].gguf"], ["odd[1].gguf"]),
        (["big/m-00001-of-00002.gguf"], ["big/m-00001-of-00002.gguf", "big/m-00002-of-00002.gguf"]),
        (["*00002-of*"], ["big/m-00001-of-00002.gguf", "big/m-00002-of-00002.gguf"]),
    ],
)
def test_chosen(patterns: list[str], expected: list[str]) -> None:
    assert chosen(patterns, reversed(FILES), "acme/x") == expected


@pytest.mark.parametrize(
    ("pattern", "known", "message"),
    [
        ("Model-Q4_K_S.gguf", FILES, "files: 'Model-Q4_K_S.gguf' is not in acme/x. Did you mean Model-Q4_K_M.gguf or Model-Q8_0.gguf?"),
        ("model-q8_0.gguf", FILES, "files: 'model-q8_0.gguf' is not in acme/x. Did you mean Model-Q8_0.gguf?"),
        ("*q4_k_m.gguf", FILES, "files: '*q4_k_m.gguf' matches nothing in acme/x. Did you mean Model-Q4_K_M.gguf?"),
        ("*.safetensors", FILES[:2], "files: '*.safetensors' matches nothing in acme/x. There are Model-Q4_K_M.gguf, Model-Q8_0.gguf"),
        (
            "zzz",
            FILES,
            "There are Model-Q4_K_M.gguf, Model-Q8_0.gguf, README.md, big/m-00001-of-00002.gguf, big/m-00002-of-00002.gguf and more",
        ),
        ("a", [], "files: 'a' is not in acme/x, which has no files at all"),
        (
            "*",
            FILES[:3] + FILES[4:],
            "big/m-00002-of-00002.gguf is one of 2 shards, but acme/x lacks big/m-00001-of-00002.gguf, without which",
        ),
    ],
)
def test_nothing_to_choose(pattern: str, known: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        chosen([pattern], known, "acme/x")
    assert message in refused.value.msg


def test_shards() -> None:
    assert shard_names("a/m-00002-of-00003.gguf") == [f"a/m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert shard_names("m.gguf") == shard_names("m-1-of-2.gguf") == shard_names("m-00001-of-00002.safetensors") == []
