# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/load_check.yml against the real llama-server of a host: few seconds each, and figures that must fit together."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t
from pathlib import Path

import pytest

from .deployment import ROOT, Deployment, Run
from .test_secrets import tiny

TOKENS = 16
QUICK = {"load_check_seconds": 3, "load_check_warm_up": 1, "load_check_parallel": 4, "load_check_max_tokens": TOKENS}
SLOTS = 2


def play(deployment: Deployment, directory: Path, *flags: str, **extra: t.Any) -> Run:
    files = {f"load_check_{name}": str(directory / f"{name}.json") for name in ("json", "baseline")}
    return deployment.play("playbooks/load_check.yml", {**QUICK, **files, **extra}, *flags)


def results(directory: Path, name: str = "json") -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = json.loads((directory / f"{name}.json").read_text("utf-8"))["results"]
    return found


@contextlib.contextmanager
def on_the_host(deployment: Deployment, command: str) -> t.Iterator[None]:
    """Runs there meanwhile; $pid is the server."""
    deployment.put("/run/meanwhile", f"pid=$(systemctl show -P MainPID inference-tiny)\n{command}\n".encode())
    deployment.run("systemd-run", "--unit", "meanwhile", "--quiet", "bash", "/run/meanwhile")
    try:
        yield
    finally:
        deployment.run("sh", "-c", "'systemctl stop meanwhile; kill -CONT $(systemctl show -P MainPID inference-tiny)'", check=False)


def test_figures_fit_together(deployment: Deployment, tmp_path: Path) -> None:
    done = play(deployment, tmp_path, load_check_prompt_tokens=200, load_check_seconds=6)
    assert done.rc == 0, done.output
    assert done.changed == []

    (result,) = results(tmp_path)
    figures = result["figures"]
    assert (result["host"], result["service"], result["model"]) == ("quickstart", "tiny", "tiny")
    assert result["base_url"] == "http://127.0.0.1:8080"
    assert figures["errors"] == {} and figures["requests"]["succeeded"] == figures["requests"]["sent"] > 4
    assert figures["completion_tokens"] == TOKENS
    assert figures["prompt_tokens"] == pytest.approx(200, rel=0.1)
    assert figures["seconds"] == 6
    assert figures["tokens_per_second"] == pytest.approx(TOKENS * figures["requests_per_second"], rel=0.3)
    first, gap, total = (figures[name] for name in ("time_to_first_token_ms", "inter_token_ms", "latency_ms"))
    assert 0 < first["p50"] <= first["p95"] <= first["p99"] <= first["max"] <= total["max"]
    assert first["mean"] + (TOKENS - 1) * figures["time_per_token_ms"]["mean"] == pytest.approx(total["mean"], rel=0.3)
    assert 0 < gap["p50"] <= gap["max"] <= total["max"]
    # By Little's law, as many are under way as there should be.
    assert figures["requests_per_second"] * total["mean"] / 1000 == pytest.approx(4, rel=0.5)
    assert "HOST        SERVICE  PARALLEL  REQUESTS/S  TOKENS/S" in done.output


def test_the_key_is_nowhere(deployment: Deployment, tmp_path: Path) -> None:
    key = (ROOT / ".cache" / "quickstart" / "api-key").read_text(encoding="utf-8").strip()
    with on_the_host(deployment, "while sleep 0.2; do ps axww -o args; done > /run/seen"):
        done = play(deployment, tmp_path, "-vvv", "--diff")
    assert done.rc == 0, done.output

    seen = deployment.run("cat", "/run/seen")
    assert "AnsiballZ_load_check" in seen
    traces = deployment.run(
        "sh", "-c", "'cat ~/.ansible_async/* /run/baremetal.llm/* 2>/dev/null; ls -A ~/.ansible/tmp /run/baremetal.llm'", check=False
    )
    for place in (done.output, seen, traces, (tmp_path / "json.json").read_text("utf-8"), json.dumps([task.result for task in done.tasks])):
        assert key not in place
    assert "progress" not in traces and ".json" not in traces


def test_prompts_that_share_their_beginning_are_answered_sooner(deployment: Deployment, tmp_path: Path) -> None:
    medians = {}
    for percent in (0, 100):
        one = {"load_check_parallel": 1, "load_check_max_tokens": 4, "load_check_prompt_tokens": 700}
        done = play(deployment, tmp_path, load_check_shared_percent=percent, **one)
        assert done.rc == 0, done.output
        medians[percent] = results(tmp_path)[0]["figures"]["time_to_first_token_ms"]["p50"]
    assert medians[100] < medians[0] / 2


@pytest.mark.parametrize(
    "extra", [{"load_check_stream": False}, {"load_check_endpoint": "completions", "load_check_reuse_connections": True}]
)
def test_other_ways_to_ask_from_the_controller(deployment: Deployment, tmp_path: Path, extra: dict[str, t.Any]) -> None:
    done = play(deployment, tmp_path, load_check_from="controller", load_check_parallel=SLOTS, **extra)
    assert done.rc == 0, done.output
    (result,) = results(tmp_path)
    assert result["base_url"] == f"http://{deployment.address}:8080"
    assert result["figures"]["errors"] == {} and result["figures"]["requests"]["succeeded"] > 4
    assert (result["figures"]["time_to_first_token_ms"] is None) == ("load_check_stream" in extra)


def test_a_wrong_key_is_counted_and_not_told(deployment: Deployment, tmp_path: Path) -> None:
    key = "a-wrong-key-that-must-not-be-seen-0123456789"
    done = play(deployment, tmp_path, "-vvv", inference_services=[tiny(key)])
    assert done.rc == 2
    assert done.failure.strip() == (
        "quickstart tiny (http://127.0.0.1:8080): the first request failed, http_401: GET /v1/models is answered: Invalid API Key"
    )
    assert results(tmp_path)[0]["figures"]["errors"] == {"http_401": 1}
    assert key not in done.output


def test_a_baseline_and_a_server_that_has_become_slow(deployment: Deployment, tmp_path: Path) -> None:
    saved = play(deployment, tmp_path, load_check_save=True)
    assert saved.rc == 0 and saved.changed == ["Report"], saved.output
    before = (tmp_path / "baseline.json").read_text("utf-8")

    # This machine may be busy, so nearly everything passes for the same.
    again = play(deployment, tmp_path, load_check_tolerance=10_000, load_check_fail_on_worse=True)
    assert again.rc == 0 and again.changed == [], again.output
    assert results(tmp_path)[0]["comparison"]["verdict"] == "same"

    other = play(deployment, tmp_path, load_check_parallel=2)
    assert other.rc == 0 and "not comparable with the baseline, parallel was 4 and is 2" in other.output

    with on_the_host(deployment, "while kill -STOP $pid; do sleep 0.3; kill -CONT $pid; sleep 0.02; done"):
        slow = play(deployment, tmp_path, load_check_tolerance=40, load_check_fail_on_worse=True, load_check_save=True)
    assert slow.rc == 2
    assert slow.failure.startswith("quickstart tiny (http://127.0.0.1:8080) is worse than its baseline: requests/s ")
    comparison = results(tmp_path)[0]["comparison"]
    worse = {change["metric"] for change in comparison["changes"] if change["verdict"] == "worse"}
    assert comparison["verdict"] == "worse" and {"requests/s", "tokens/s", "total p50"} <= worse
    assert (tmp_path / "baseline.json").read_text("utf-8") == before


def test_a_server_that_hangs_ends_in_time(deployment: Deployment, tmp_path: Path) -> None:
    with on_the_host(deployment, "kill -STOP $pid; sleep 600"):
        began = time.monotonic()
        done = play(deployment, tmp_path, load_check_request_timeout=2, load_check_seconds=60)
        took = time.monotonic() - began
    assert done.rc == 2 and "GET /v1/models was not answered within 2 s" in done.failure
    assert took < 45


def test_a_server_that_is_not_there_and_a_service_that_nobody_has(deployment: Deployment, tmp_path: Path) -> None:
    services = [{**tiny("x" * 32), "port": 8099}]
    done = play(deployment, tmp_path, inference_services=services)
    assert done.rc == 2 and "nothing listens there" in done.failure
    assert "1 × no_answer" in done.output
    done = play(deployment, tmp_path, load_check_services=["tinny"])
    assert done.rc == 2 and done.failure.strip() == "load_check_services: no host that was asked has a service called tinny."
    done = play(deployment, tmp_path, load_check_from="there")
    assert done.rc == 2 and done.failure.strip() == "load_check_from is there: use host or controller"


def test_check_mode_asks_nothing(deployment: Deployment, tmp_path: Path) -> None:
    done = play(deployment, tmp_path, "--check")
    assert done.rc == 0, done.output
    assert not (tmp_path / "json.json").exists() and "REQUESTS/S" not in done.output


def test_it_ends_by_itself_when_the_controller_is_lost(deployment: Deployment, tmp_path: Path) -> None:
    def progress() -> bool:
        return bool(deployment.run("sh", "-c", "'ls /run/baremetal.llm/*.json 2>/dev/null'", check=False).strip())

    deployment.play_and_kill(progress, {**QUICK, "load_check_seconds": 20}, playbook="playbooks/load_check.yml")
    busy = play(deployment, tmp_path)
    assert busy.rc == 2 and "another load check runs on this host" in busy.output
    deadline = time.monotonic() + 60
    while progress():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert play(deployment, tmp_path).rc == 0
