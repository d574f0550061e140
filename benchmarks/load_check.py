# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests the load check itself can make, against a server that computes nothing and has the same CPUs.

    .venv/bin/python benchmarks/load_check.py [--seconds 5] [--parallel 16] [--tokens 8] [--cpus 2]

Measured are streamed answers of so many tokens and whole ones, with a connection for each request (as it is by default) and with
connections that are kept, and how much CPU time the load check takes for each request. Both processes are held on so many CPUs. Exits
with 1 when one of the four kinds is below the limit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from ansible_collections.baremetal.llm.plugins.module_utils._load_check import Request, load_check
from ansible_collections.baremetal.llm.plugins.module_utils._table import render
from ansible_collections.baremetal.llm.tests import trivial_api

LEAST_PER_SECOND = 1000


@contextlib.contextmanager
def server(tokens: int) -> Iterator[str]:
    argv = [sys.executable, trivial_api.__file__, str(tokens)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--cpus", type=int, default=2)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cpus])  # for the server, too

    held, rows = True, []
    with server(arguments.tokens) as url:
        for stream in (True, False):
            for reuse in (False, True):
                request = Request(
                    url, parallel=arguments.parallel, seconds=arguments.seconds, warm_up=1, max_tokens=arguments.tokens,
                    stream=stream, reuse_connections=reuse,
                )  # fmt: skip
                figures = load_check(request).figures
                within = figures.requests_per_second >= LEAST_PER_SECOND and not figures.failed
                held = held and within
                rows.append(
                    [
                        f"streamed, {arguments.tokens} tokens" if stream else "whole",
                        "kept" if reuse else "one each",
                        f"{figures.requests_per_second:.0f}",
                        f"{figures.tokens_per_second:.0f}",
                        f"{10 * figures.client_cpu_percent / max(figures.requests_per_second, 1):.2f}",
                        str(figures.failed),
                        "ok" if within else "TOO FEW",
                    ]
                )
    headings = ["ANSWERS", "CONNECTIONS", "REQUESTS/S", "TOKENS/S", "CPU MS EACH", "FAILED", f"at least {LEAST_PER_SECOND}"]
    print("\n".join(render(headings, rows, numeric={*headings[2:6]})))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
