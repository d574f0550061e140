# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.tools import render_docs


@pytest.fixture
def page() -> render_docs.Page:
    return render_docs.Page(Path("docs/modules/sample.md"), Path("plugins/modules/sample.py"), "module", "sample")


@pytest.mark.parametrize(
    ("markup", "markdown"),
    [
        ("C(/etc/inference) is B(root)'s", "`/etc/inference` is **root**'s"),
        ("O(state=absent) and RV(files[].sha256)", "`state: absent` and `files[].sha256`"),
        ("a C(`tick`)", "a ```tick```"),
        ("2 * 3 * 4 < 25, files in <prefix>/[ab]_c", r"2 \* 3 \* 4 \< 25, files in \<prefix\>/\[ab\]\_c"),
        ("see M(baremetal.llm.gpu_info)", "see [`baremetal.llm.gpu_info`](gpu_info.md)"),
        ("see P(baremetal.llm.inference#role)", "see [`baremetal.llm.inference`](../../roles/inference/README.md)"),
        ("see M(ansible.builtin.systemd_service)", "see `ansible.builtin.systemd_service`"),
        ("not a link to itself: M(baremetal.llm.sample)", "not a link to itself: `baremetal.llm.sample`"),
        ("L(the manual,https://example.org/a_b)", "[the manual](https://example.org/a_b)"),
    ],
)
def test_markup(page: render_docs.Page, markup: str, markdown: str) -> None:
    assert page.paragraphs(markup) == [markdown]


def test_a_wrong_markup_is_an_error(page: render_docs.Page) -> None:
    with pytest.raises(ValueError, match="While parsing"):
        page.paragraphs("O(unclosed")


def test_options_are_listed_with_what_they_contain(page: render_docs.Page) -> None:
    options = {
        "state": {"description": "Either C(a|b).", "choices": ["present", "absent"], "default": "present"},
        "files": {
            "description": ["First.", "Second."],
            "type": "list",
            "elements": "dict",
            "required": True,
            "suboptions": {"size": {"description": "In bytes.", "type": "int"}},
        },
        "mode": {"description": "How.", "choices": {"fast": "With B(all) cores.", "slow": "With one."}, "aliases": ["how"]},
    }
    assert list(render_docs.option_rows(page, options)) == [
        ["**`state`**<br>str<br>default `present`", "Either `a\\|b`.<br>One of `present`, `absent`."],
        ["**`files`**<br>list of dict<br>**required**", "First.<br>Second."],
        ["**`files[].size`**<br>int", "In bytes."],
        ["**`mode`**<br>`how`<br>str", "How.<br>One of:<br>- `fast`: With **all** cores.<br>- `slow`: With one."],
    ]


def test_return_values_say_when_they_are_returned(page: render_docs.Page) -> None:
    returns = {"commit": {"description": "The commit.", "type": "str", "returned": "when O(revision) is given", "sample": "0123abc"}}
    assert list(render_docs.return_rows(page, returns)) == [
        ["**`commit`**<br>str", "The commit.<br>Returned when `revision` is given.<br>Sample: `0123abc`"]
    ]
