# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics under vLLM's names, counted by this stand-in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

_HISTOGRAMS = ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds")


class Metrics:
    def __init__(self, model: str, cache: Mapping[str, object], log_stats: bool) -> None:
        self._labels = f'engine="0",model_name="{model}"'
        self._cache = ",".join(f'{name}="{value}"' for name, value in {**cache, "engine": 0}.items())
        self._log_stats = log_stats
        self._lock = threading.Lock()
        self.running = 0
        self._requests = 0
        self._counters = {
            "prompt_tokens": 0,
            "generation_tokens": 0,
            "num_preemptions": 0,
            "prefix_cache_queries": 0,
            "prefix_cache_hits": 0,
        }
        self._seconds = dict.fromkeys(_HISTOGRAMS, 0.0)
        self._counts = dict.fromkeys(_HISTOGRAMS, 0)

    def start(self) -> None:
        with self._lock:
            self.running += 1

    def end(self) -> None:
        with self._lock:
            self.running -= 1

    def served(self, prompt: int, generated: int, seconds: float, first: float | None) -> None:
        with self._lock:
            self._requests += 1
            self._counters["prompt_tokens"] += prompt
            self._counters["generation_tokens"] += generated
            self._counters["prefix_cache_queries"] += prompt
            self._observe("e2e_request_latency_seconds", seconds, 1)
            self._observe("request_queue_time_seconds", 0.0, 1)
            if first is not None:
                self._observe("time_to_first_token_seconds", first, 1)
                self._observe("inter_token_latency_seconds", seconds - first, max(0, generated - 1))

    def _observe(self, name: str, seconds: float, times: int) -> None:
        self._seconds[name] += seconds
        self._counts[name] += times

    def text(self) -> str:
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield "# TYPE http_requests_total counter"
        yield f'http_requests_total{{handler="/v1/chat/completions",method="POST",status="2xx"}} {self._requests}.0'
        if not self._log_stats:
            return
        for name, value in (("num_requests_running", self.running), ("num_requests_waiting", 0), ("kv_cache_usage_perc", 0)):
            yield f"# TYPE vllm:{name} gauge"
            yield f"vllm:{name}{{{self._labels}}} {value}.0"
        for name, value in self._counters.items():
            yield f"# TYPE vllm:{name}_total counter"
            yield f"vllm:{name}_total{{{self._labels}}} {value}.0"
        yield "# TYPE vllm:request_success_total counter"
        yield f'vllm:request_success_total{{{self._labels},finished_reason="length"}} {self._requests}.0'
        for name in _HISTOGRAMS:
            yield f"# TYPE vllm:{name} histogram"
            yield f'vllm:{name}_bucket{{{self._labels},le="+Inf"}} {self._counts[name]}.0'
            yield f"vllm:{name}_count{{{self._labels}}} {self._counts[name]}.0"
            yield f"vllm:{name}_sum{{{self._labels}}} {self._seconds[name]}"
        yield "# TYPE vllm:cache_config_info gauge"
        yield f"vllm:cache_config_info{{{self._cache}}} 1.0"
