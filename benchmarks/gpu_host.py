#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GPU costs a `site.yml` that finds nothing to do: a host with a simulated A10 against the CPU quickstart, in turn.

    .venv/bin/python benchmarks/gpu_host.py [--runs 5] [--backend cuda|cpu]

And how long gpu_info takes there, against a ping. Boots two range hosts and takes them down again; exits with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import signal
import statistics
import sys
import time

from range_hosts import Served, backend_option, on_a10, on_cpu

MOST_TASKS_MORE = 2
MOST_SECONDS_MORE = 1.0
MOST_GPU_INFO = 0.7

PLAY = """\
- hosts: all
  become: true
  gather_facts: false
  tasks:
"""
TWO_TASKS = "    - ansible.builtin.ping:\n    - baremetal.llm.gpu_info:\n"


def no_op(served: Served) -> tuple[float, list[str]]:
    """Wall seconds of a site.yml with nothing to do, and its tasks."""
    start = time.monotonic()
    run = served.must()
    seconds = time.monotonic() - start
    if run.changed:
        sys.exit(f"{served.host.name} is not converged: {', '.join(run.changed)} changed something")
    return seconds, re.findall(r"^TASK \[(.*?)\] \**$", run.output, re.MULTILINE)


def pair(cpu: Served, gpu: Served) -> tuple[tuple[float, list[str]], tuple[float, list[str]]]:
    return no_op(cpu), no_op(gpu)


def task_seconds(served: Served, runs: int) -> tuple[list[float], list[float]]:
    """Of ping and of gpu_info, each a whole task: from the result of the one before to its own."""
    playbook = served.host.directory / "gpu_info.yml"
    playbook.write_text(PLAY + TWO_TASKS * (runs + 1), encoding="utf-8")
    served.must(str(playbook))
    lines = (served.host.directory / "tasks.jsonl").read_text(encoding="utf-8").splitlines()
    ends = [json.loads(line)["time"] for line in lines]
    spans = [end - before for before, end in itertools.pairwise(ends)]
    # The first pair warms up, and its ping has no beginning.
    return spans[1::2], spans[2::2]


def told(what: str, values: list[float], limit: str = "") -> str:
    return f"{what:22} median {statistics.median(values):5.2f} s  (min {min(values):.2f}, max {max(values):.2f}{limit})"


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated"))  # the hosts are taken down on the way out
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each, after one warm-up")
    backend_option(parser)
    arguments = parser.parse_args()

    cpu_seconds, gpu_seconds = [], []
    cpu_tasks: list[str] = []
    gpu_tasks: list[str] = []
    with on_cpu("bench-cpu") as cpu, on_a10("bench-a10", arguments.backend) as gpu:
        for run in range(arguments.runs + 1):
            (cpu_took, cpu_tasks), (gpu_took, gpu_tasks) = pair(cpu, gpu)
            if run:
                cpu_seconds.append(cpu_took)
                gpu_seconds.append(gpu_took)
        pings, infos = task_seconds(gpu, arguments.runs)

    more = [gpu_took - cpu_took for gpu_took, cpu_took in zip(gpu_seconds, cpu_seconds, strict=True)]
    tasks_more = len(gpu_tasks) - len(cpu_tasks)
    print(told("site.yml, CPU", cpu_seconds))
    print(told(f"site.yml, A10, {arguments.backend}", gpu_seconds))
    print(told("more, pair by pair", more, f"; at most {MOST_SECONDS_MORE}"))
    print(f"tasks                  {len(cpu_tasks)} and {len(gpu_tasks)}: {tasks_more} more  (at most {MOST_TASKS_MORE})")
    print(*(f"  + {task}" for task in gpu_tasks if task not in cpu_tasks), sep="\n")
    print(told("a ping, as a task", pings))
    print(told("gpu_info, as a task", infos, f"; at most {MOST_GPU_INFO}"))
    held = tasks_more <= MOST_TASKS_MORE and statistics.median(more) <= MOST_SECONDS_MORE and statistics.median(infos) <= MOST_GPU_INFO
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
