#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long `site.yml` takes on a host where there is nothing to do, against one `ansible -m ping` of the same host.

The two run in turn, so that a machine whose speed drifts does not favour either. Run it after `make demo`:
`benchmarks/site.py [--runs 5] [--inventory inventories/quickstart]`.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"

MOST_SECONDS = 4.5
MOST_TASKS = 14
MOST_PINGS = 4.0


def timed(argv: list[str]) -> tuple[float, str]:
    """Wall seconds and output of a command that must succeed."""
    start = time.monotonic()
    process = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds = time.monotonic() - start
    if process.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{process.stdout}")
    return seconds, process.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each, after one warm-up")
    parser.add_argument("--inventory", default="inventories/quickstart")
    arguments = parser.parse_args()

    site = [str(BIN / "ansible-playbook"), "site.yml", "-i", arguments.inventory]
    ping = [str(BIN / "ansible"), "all", "-m", "ansible.builtin.ping", "-i", arguments.inventory]
    sites, pings, output = [], [], ""
    for run in range(arguments.runs + 1):
        site_seconds, output = timed(site)
        ping_seconds, _reply = timed(ping)
        if run:
            sites.append(site_seconds)
            pings.append(ping_seconds)

    changed = sum(int(count) for count in re.findall(r"changed=(\d+)", output))
    tasks = len(re.findall(r"^TASK \[", output, re.MULTILINE))
    ratio = statistics.median(site / ping for site, ping in zip(sites, pings, strict=True))
    print(f"site.yml   median {statistics.median(sites):.2f} s  (min {min(sites):.2f}, max {max(sites):.2f}; at most {MOST_SECONDS})")
    print(f"ping       median {statistics.median(pings):.2f} s  (min {min(pings):.2f}, max {max(pings):.2f})")
    print(f"ratio      median {ratio:.2f}  (pair by pair; at most {MOST_PINGS})")
    print(f"tasks      {tasks}  (at most {MOST_TASKS}), changed {changed}  (must be 0)")
    held = statistics.median(sites) <= MOST_SECONDS and ratio <= MOST_PINGS and tasks <= MOST_TASKS and not changed
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
