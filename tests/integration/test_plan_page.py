# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a plan in a browser, on this machine: that it loads without a complaint, is laid out as its figures say, and can be read."""

from __future__ import annotations

import html
import itertools
import json
import re
import subprocess
import typing as t
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._plan_folding import fold
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import summary_of
from ansible_collections.baremetal.llm.plugins.plugin_utils._plan_page import page
from ansible_collections.baremetal.llm.tests.plan_samples import fleet, hostile

NARROW, WIDE = 375, 1280
SCHEMES = ("light", "dark")
READABLE = 4.5  # the contrast that WCAG 2 asks of text, level AA

# Shows the page in frames of each width and scheme, and leaves what it finds in an element of its own.
MEASURE = """<!doctype html><meta charset="utf-8"><title>measure</title><body><script>
const channels = text => text.match(/[\\d.]+/g).map(Number);
const stops = style => style.backgroundImage.match(/rgba?\\([^)]*\\)/g) ?? [];
const colours = style => [style.backgroundColor, ...stops(style)].filter(text => channels(text)[3] !== 0);
const luminance = text => {
  const [r, g, b] = channels(text).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const measure = frame => {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const width = element => element.getBoundingClientRect().width;
  const texts = [...page.querySelectorAll("body *")].filter(each =>
    [...each.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
  return {
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    room: root.clientWidth,
    needed: root.scrollWidth,
    scripts: page.scripts.length,
    bars: [...page.querySelectorAll(".bar")].map(bar => ({
      width: width(bar),
      parts: Object.fromEntries([...bar.querySelectorAll("span")].map(part => [part.className, width(part)])),
    })),
    faint: texts.flatMap(each => {
      let behind = each;
      while (behind && !colours(view.getComputedStyle(behind)).length) behind = behind.parentElement;
      const own = view.getComputedStyle(each).color;
      const worst = Math.min(...colours(view.getComputedStyle(behind)).map(other => contrast(own, other)));
      return worst < READABLE ? [`${each.textContent.trim().slice(0, 40)}: ${worst.toFixed(2)}`] : [];
    }),
  };
};
(async () => {
  const found = [];
  for (const [scheme, width] of FRAMES) {
    const frame = document.createElement("iframe");
    frame.style = `width: ${width}px; height: 800px; border: 0; color-scheme: ${scheme}`;
    frame.src = "plan.html";
    document.body.append(frame);
    await new Promise(resolve => frame.onload = resolve);
    found.push(measure(frame));
    frame.remove();
  }
  const result = document.createElement("pre");
  result.textContent = JSON.stringify(found);
  document.body.replaceChildren(result);
})();
</script>
"""


@dataclass(frozen=True)
class Seen:
    frames: dict[tuple[str, int], dict[str, t.Any]]
    complaints: list[str]


def look(directory: Path, text: str) -> Seen:
    """What a browser makes of the page, and what it says on its console."""
    frames = list(itertools.product(SCHEMES, (NARROW, WIDE)))
    (directory / "plan.html").write_text(text, encoding="utf-8")
    script = MEASURE.replace("FRAMES", json.dumps(frames)).replace("READABLE", str(READABLE))
    (directory / "measure.html").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--allow-file-access-from-files",  # so that the frames can be measured
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            f"--user-data-dir={directory / 'profile'}",
            "--dump-dom",
            (directory / "measure.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    result = re.search(r"<pre>(.*)</pre>", done.stdout, re.DOTALL)
    assert result, done.stdout + done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(dict(zip(frames, json.loads(html.unescape(result[1])), strict=True)), complaints)


def text_of(entries: list[dict[str, t.Any]]) -> str:
    hosts = parse_hosts(entries)
    return page(fold(hosts), summary_of(hosts), datetime(2026, 11, 26, 18, 40, tzinfo=timezone.utc))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return look(tmp_path_factory.mktemp("plan"), text_of([*fleet(), hostile()]))


def test_it_loads_without_a_complaint_and_without_a_script(seen: Seen) -> None:
    assert seen.complaints == []
    assert {frame["scripts"] for frame in seen.frames.values()} == {0}


def test_a_complaint_would_be_heard(tmp_path: Path) -> None:
    complaints = look(tmp_path, text_of(fleet()).replace("</main>", "<script>alert(1)</script></main>")).complaints
    assert any("Content Security Policy" in complaint for complaint in complaints)


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_wider_than_the_window(seen: Seen, scheme: str, width: int) -> None:
    frame = seen.frames[scheme, width]
    assert width - 30 < frame["needed"] <= frame["room"] <= width


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_parts_of_the_bars_are_as_long_as_their_figures(seen: Seen, width: int) -> None:
    bars = seen.frames["light", width]["bars"]
    assert len(bars) == 7  # in the order of the page: the hostile host and vllm-1 with two GPUs each, lab, rtx5090-1, the A10s
    for bar in bars:
        assert sum(bar["parts"].values()) == pytest.approx(bar["width"], abs=0.1)
    *_others, a10 = bars
    figures = {
        "weights_mib": 4461,
        "mmproj_mib": 1668,
        "kv_cache_mib": 1792,
        "compute_mib": 174,
        "overhead_mib": 994,
        "free_mib": 13939,
    }
    assert a10["parts"] == pytest.approx({kind: a10["width"] * mib / 23028 for kind, mib in figures.items()}, abs=0.1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_of_it_can_be_read_in_light_and_dark(seen: Seen, scheme: str) -> None:
    for width in (NARROW, WIDE):
        assert seen.frames[scheme, width]["dark"] is (scheme == "dark")
        assert seen.frames[scheme, width]["faint"] == []
