# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as a parser sees it. What a browser makes of it is in tests/integration/test_plan_page.py."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import fold
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import summary_of
from ansible_collections.baremetal.llm.plugins.plugin_utils._plan_page import LEGEND, page
from ansible_collections.baremetal.llm.tests.plan_samples import a10, fleet, hostile, plan, rtx5090, share, unknown_model, vllm

VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str, name: str = "") -> list[Element]:
        """The elements below with this tag, and with this class if one is given."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and name in ("", *(child.attributes.get("class") or "").split()):
                    found.append(child)
                found += child.all(tag, name)
        return found

    @property
    def text(self) -> str:
        return " ".join("".join(child if isinstance(child, str) else f" {child.text} " for child in self.children).split())


class Tree(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("")
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert self.open == [self.root], f"not closed: {[element.tag for element in self.open[1:]]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute twice: {attrs}"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def source(entries: list[dict[str, Any]]) -> str:
    hosts = parse_hosts(entries)
    return page(fold(hosts), summary_of(hosts), datetime(2026, 11, 26, 18, 40, 5, tzinfo=timezone.utc))


def rendered(entries: list[dict[str, Any]]) -> Element:
    return Tree(source(entries)).root


def elements(root: Element) -> list[Element]:
    below = [child for child in root.children if isinstance(child, Element)]
    return [*below, *(deeper for child in below for deeper in elements(child))]


def tiles(root: Element) -> dict[str, str]:
    (summary,) = root.all("dl", "tiles")
    return {each.all("dt")[0].text: each.all("dd")[0].text for each in summary.all("div")}


def test_the_summary_is_on_top() -> None:
    root = rendered(fleet())
    assert tiles(root) == {
        "Hosts": "5",
        "Fit": "3",
        "Do not fit": "1",
        "Not known": "1",
        "Errors": "3",
        "Warnings": "2",
        "To fetch": "≥ 15.1 GiB",
    }
    assert root.all("title")[0].text == "Plan for 5 hosts: 3 fit, 1 does not, 1 unknown"
    assert root.all("time")[0].attributes["datetime"] == "2026-11-26T18:40:05+00:00"
    assert root.all("time")[0].text == "2026-11-26 18:40 UTC"


def test_every_problem_has_one_row_that_leads_to_its_host() -> None:
    root = rendered(fleet())
    rows = root.all("tbody")[0].all("tr")
    assert [(row.attributes["class"], row.all("code")[0].text) for row in rows] == [
        ("error", "driver_too_old"),
        ("error", "gpu_shared_too_small"),
        ("error", "disk_too_small"),
        ("warning", "architecture_unknown"),
        ("warning", "image_may_fill_slot"),
    ]
    assert rows[-1].text == (
        "warning rtx5090-1 qwen3-vl-30b options.image_max_tokens is 4096, half of the 8192 tokens that four slots share "
        "Set ctx_size to 32768, or image_max_tokens to 2048 image_may_fill_slot"
    )
    targets = {article.attributes["id"]: article for article in root.all("article")}
    for row in rows:
        (link,) = row.all("a")
        assert link.text == targets[str(link.attributes["href"])[1:]].all("h3")[0].text


def test_without_a_problem_there_is_no_table() -> None:
    root = rendered([a10()])
    assert root.all("table") == []
    assert tiles(root)["Errors"] == "0"


def test_every_gpu_has_one_bar_whose_parts_add_up() -> None:
    root = rendered(fleet())
    assert [len(article.all("div", "bar")) for article in root.all("article")] == [2, 1, 1, 1]
    for bar in root.all("div", "bar"):
        widths = [re.fullmatch(r"width:(\d+\.\d{4})%", str(part.attributes["style"])) for part in bar.all("span")]
        assert sum(round(float(width[1]) * 10**4) for width in widths if width) == 100 * 10**4
        assert {part.attributes["class"] for part in bar.all("span")} <= set(LEGEND)


def bars(entry: dict[str, Any]) -> list[tuple[dict[str, float], str]]:
    return [
        (
            {str(part.attributes["class"]): float(str(part.attributes["style"])[6:-1]) for part in bar.all("span")},
            str(bar.attributes["aria-label"]),
        )
        for bar in rendered([entry]).all("div", "bar")
    ]


def test_a_bar_is_as_long_as_its_figures_and_says_them() -> None:
    ((parts, label),) = bars(a10())
    assert parts == pytest.approx(
        {
            "weights_mib": 100 * 4461 / 23028,
            "mmproj_mib": 100 * 1668 / 23028,
            "kv_cache_mib": 100 * 1792 / 23028,
            "compute_mib": 100 * 174 / 23028,
            "overhead_mib": 100 * 994 / 23028,
            "free_mib": 100 * 13939 / 23028,
        },
        abs=0.001,
    )
    assert label == (
        "Weights 4.36 GiB, Vision 1.63 GiB, KV cache 1.75 GiB, Compute 174 MiB, Overhead 994 MiB, free 13.6 GiB; memory 22.5 GiB"
    )


def test_a_gpu_that_is_too_small_says_by_how_much() -> None:
    (parts, label), (_idle, idle_label) = bars(vllm())
    assert "free_mib" not in parts
    assert label == "Weights 6.19 GiB, KV cache 18.5 GiB, Compute 1.18 GiB, Overhead 1.46 GiB, 3.35 GiB too little; memory 24.0 GiB"
    assert idle_label == "free 24.0 GiB; memory 24.0 GiB"
    root = rendered([vllm()])
    (limit,) = root.all("div", "bar")[0].all("i")
    assert float(str(limit.attributes["style"])[5:-1]) == pytest.approx(100 * 24564 / (24564 + 3428), abs=0.001)
    assert root.all("div", "missing")[0].text == "Too little by 3.35 GiB"
    assert root.all("div", "bar")[1].all("i") == []


def test_what_is_not_known_is_said_and_drawn() -> None:
    ((parts, label),) = bars(unknown_model())
    assert list(parts) == ["weights_mib", "overhead_mib", "not_known"]
    assert label == "Weights 9.00 GiB, KV cache unknown, Compute unknown, Overhead 996 MiB, free unknown; memory 22.5 GiB"
    nothing = {"host": "h", "gpus": [{}], "models": [{}], "services": [{"name": "s", "gpus": [0], "plan": plan()}, {"name": "t"}]}
    ((parts, label),) = bars(nothing)
    assert (parts, label) == ({"not_known": 100.0}, "free unknown; memory unknown")
    text = rendered([nothing]).all("article")[0].text
    assert re.findall(r"\b0 bytes|\b0 MiB|nothing|none", text) == []


def test_every_colour_is_explained() -> None:
    (legend,) = rendered([a10()]).all("dl", "legend")
    assert [each.attributes["class"] for each in legend.all("i")] == list(LEGEND)
    assert all(each.all("dt")[0].text and each.all("dd")[0].text for each in legend.all("div"))


def test_a_service_tells_its_figures_and_how_far_to_trust_them() -> None:
    def service(entry: dict[str, Any], index: int = 0) -> str:
        return rendered([entry]).all("section", "service")[index].text

    assert service(a10()) == (
        "qwen2-vl fits Engine llama_server, port 8008 Runs on GPU 0 Takes of GPU 0 8.88 GiB Takes of the host 440 MiB "
        "Context 8 slots of 4,096 tokens KV cache per token 56.0 KiB Figures calculated 2 estimates among the figures "
        "Compute on GPU 0: 148 MiB to 201 MiB, from the widths of the model "
        "Overhead on GPU 0: 944 MiB to 994 MiB, CUDA contexts as they were seen"
    )
    assert service(rtx5090()) == (
        "qwen3-vl-30b fits Engine llama_server, port 8000 Runs on GPU 0 Takes of GPU 0 21.1 GiB Context 4 slots of 8,192 tokens "
        "KV cache per token 96.0 KiB Figures calibrated with the installed release"
    )
    assert "Context up to 256 requests at once, of up to 32,768 tokens" in service(vllm())
    assert "KV cache in all 133,200 tokens (124,880 to 138,640), which are 4.07 requests of full length" in service(vllm())
    assert service(vllm(), 1).endswith(
        "Keep keys and values as q8_0 (hardly worse, all slots as they are); set cache_type_k: q8_0, cache_type_v: q8_0; 19.2 GiB are then left"
    )
    assert service(vllm(), 1).startswith("qwen3-4b fits alone Engine")
    assert service(unknown_model()).startswith("novel not known whether it fits Engine")
    assert service({"host": "cpu", "services": [{"name": "s", "fits": False}]}) == "s does not fit Runs on CPU Figures unknown"


def test_hosts_that_are_alike_are_one_card_that_names_them_all() -> None:
    root = rendered([a10(number) for number in range(1, 101)])
    (card,) = root.all("article")
    assert card.all("h3")[0].text == "a10-[1:100]"
    assert card.all("details", "alike")[0].all("p")[0].text == ", ".join(f"a10-{number}" for number in range(1, 101))
    assert tiles(root)["Hosts"] == "100"


def test_a_hundred_hosts_of_which_none_are_alike() -> None:
    entries = []
    for number in range(100):
        entry = copy.deepcopy(a10(number))
        entry["services"][0]["port"] = 8000 + number
        entries.append(entry)
    root = rendered(entries)
    assert len(root.all("article")) == len(root.all("div", "bar")) == 100


def test_it_needs_nothing_beside_itself() -> None:
    root = rendered(fleet())
    everything = elements(root)
    assert {each.tag for each in everything} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"} == set()
    names = {name for each in everything for name in each.attributes}
    assert {name for name in names if name.startswith("on")} | (names & {"src", "srcset", "action", "data"}) == set()
    assert all(str(each.attributes["href"]).startswith("#") for each in everything if "href" in each.attributes)
    assert "url(" not in source(fleet()) and "@import" not in source(fleet())
    ids = [each.attributes["id"] for each in everything if "id" in each.attributes]
    assert len(set(ids)) == len(ids)
    assert {str(each.attributes["aria-labelledby"]) for each in everything if "aria-labelledby" in each.attributes} <= set(ids)


def test_no_name_becomes_markup() -> None:
    """With every text that can be given hostile, the page has the same elements with the same attributes as with harmless ones."""

    def skeleton(root: Element) -> list[tuple[str, list[str]]]:
        return [(each.tag, sorted(each.attributes)) for each in elements(root)]

    root = rendered([hostile()])
    assert skeleton(root) == skeleton(rendered([hostile("harmless")]))
    assert "<script>alert(1)</script>" in root.all("h3")[0].text  # as a text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", source([hostile()]))


def test_figures_of_any_size_are_drawn() -> None:
    entry = {
        "host": "h",
        "gpus": [{"index": 0, "memory_mib": 1e-9}],
        "services": [{"name": "s", "gpus": [0], "plan": plan(share(1, 2**60, *[0] * 4))}],
    }
    ((parts, _label),) = bars(entry)
    assert sum(parts.values()) == pytest.approx(100)
