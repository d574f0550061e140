#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long `playbooks/plan.yml` takes for a hundred hosts of the class a10, with the headers of their model kept from a run before.

    .venv/bin/python benchmarks/plan.py [--hosts 100] [--runs 3]

The hosts are names for one range host with a simulated A10, each with an SSH connection of its own. Boots that host and takes it down
again; exits with 1 when the limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from ansible_collections.baremetal.llm.tests.example_hub import example_hub
from ansible_collections.baremetal.llm.tests.host_classes import A10
from ansible_collections.baremetal.llm.tests.integration.deployment import ROOT
from ansible_collections.baremetal.llm.tests.integration.gpu_hosts import GpuHost, gpu_host
from range_hosts import DRIVER

MOST_SECONDS = 60.0


def inventory(host: GpuHost, count: int, directory: Path) -> Path:
    """So many names for the host. One connection for each, as hundred hosts would have; the host has to let them all in."""
    host.put("/etc/ssh/sshd_config.d/many.conf", b"MaxStartups 200\nMaxSessions 200\n")
    host.run("systemctl", "reload", "ssh")
    (variables,) = yaml.safe_load((host.directory / "range.yml").read_text("utf-8"))["all"]["hosts"].values()
    names = {f"many-{number:03}": {"ansible_control_path": str(directory / f"{number}")} for number in range(1, count + 1)}
    path = directory / "hosts.yml"
    path.write_text(yaml.safe_dump({"a10": {"hosts": names}, "many": {"hosts": {each: {} for each in names}, "vars": variables}}), "utf-8")
    return path


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated"))  # the host is taken down on the way out
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3, help="counted runs, after one that reads the headers")
    arguments = parser.parse_args()

    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="plan-") as name, gpu_host("bench-plan", "a10", driver=DRIVER) as host:
        directory = Path(name)
        with example_hub(directory) as hub:
            model = {"repo_id": A10.repository, "revision": hub.by_name[A10.repository].refs["main"], "file": A10.model}
            extra = {
                "models_hub_endpoint": hub.endpoint,
                "a10_model": {**model, "mmproj": A10.projector},
                "plan_html": str(directory / "plan.html"),
                "plan_json": str(directory / "plan.json"),
            }
            sources = [ROOT / "inventories" / "example", inventory(host, arguments.hosts, directory)]
            command = [ROOT / ".venv/bin/ansible-playbook", "playbooks/plan.yml", *(word for source in sources for word in ("-i", source))]
            for run in range(arguments.runs + 1):
                before = len(hub.requests)
                start = time.monotonic()
                done = subprocess.run(
                    [*command, "--limit", "many", "-e", json.dumps(extra)],
                    cwd=ROOT,
                    env={**os.environ, "XDG_CACHE_HOME": str(directory / "cache"), "ANSIBLE_NOCOLOR": "1"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
                took = time.monotonic() - start
                if done.returncode:
                    sys.exit(done.stdout)
                if run:
                    seconds.append(took)
                    asked = len(hub.requests) - before
        summary = json.loads((directory / "plan.json").read_text("utf-8"))["summary"]

    unreachable = len(re.findall("UNREACHABLE", done.stdout))
    print(
        f"plan.yml, {arguments.hosts} hosts  median {statistics.median(seconds):.1f} s  (min {min(seconds):.1f}, max {max(seconds):.1f}; ",
        end="",
    )
    print(f"at most {MOST_SECONDS:.0f})")
    print(f"the hub was asked      {asked} times  (must be 0)")
    print(f"the hosts that fit     {summary['fit']} of {summary['hosts']}, {unreachable} were not reached")
    held = statistics.median(seconds) <= MOST_SECONDS and not asked and not unreachable and summary["fit"] == arguments.hosts
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
