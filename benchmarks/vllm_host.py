#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long `site.yml` takes on a converged vLLM box where there is nothing to do, and how many tasks that are.

    .venv/bin/python benchmarks/vllm_host.py [--runs 5]

The host is that of the Molecule scenario vllm, which is booted, converged and removed for it. Exits with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
SCENARIO = ROOT / "extensions" / "molecule" / "vllm"
MOST_SECONDS = 5.5
MOST_TASKS = 17


def molecule(action: str, directory: str) -> None:
    done = subprocess.run(
        [BIN / "molecule", "--base-config", "extensions/molecule/config.yml", action, "--scenario-name", "vllm"],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "MOLECULE_GLOB": "extensions/molecule/*/molecule.yml",
            "MOLECULE_EPHEMERAL_DIRECTORY": directory,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"molecule {action} failed:\n{done.stdout}")


def no_op(directory: str) -> tuple[float, str]:
    """Wall seconds of a site.yml with nothing to do, and what it prints."""
    site = [BIN / "ansible-playbook", "site.yml", "-i", f"{directory}/inventory", "-e", f"@{SCENARIO / 'vars' / 'different_here.yml'}"]
    site += ["-e", f"scenario_files={directory}", "-e", "ansible_python_interpreter=/usr/bin/python3"]
    start = time.monotonic()
    done = subprocess.run(site, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode or not re.search(r"changed=0\b", done.stdout):
        sys.exit(f"The host is not converged:\n{done.stdout}")
    return seconds, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs, after one warm-up")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-vllm-") as directory:
        try:
            molecule("converge", directory)
            runs = [no_op(directory) for _run in range(arguments.runs + 1)][1:]
        finally:
            molecule("destroy", directory)
    seconds = [took for took, _output in runs]
    output = runs[-1][1]
    tasks = re.findall(r"^TASK \[(.*?)\] \**$", output, re.MULTILINE)
    skipped = sum(map(int, re.findall(r"skipped=(\d+)", output)))
    print(f"site.yml   median {statistics.median(seconds):.2f} s  (min {min(seconds):.2f}, max {max(seconds):.2f}; at most {MOST_SECONDS})")
    print(f"tasks      {len(tasks)}  (at most {MOST_TASKS}), of which {skipped} are skipped")
    print(*(f"  {task}" for task in tasks), sep="\n")
    return 0 if statistics.median(seconds) <= MOST_SECONDS and len(tasks) <= MOST_TASKS else 1


if __name__ == "__main__":
    sys.exit(main())
