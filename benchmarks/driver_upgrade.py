#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a service is away during a driver upgrade with an unchanged build key, against a plain reboot of the same host.

    .venv/bin/python benchmarks/driver_upgrade.py [--runs 2] [--backend cuda|cpu]

The host goes from one driver to the next and back again, in turn with plain reboots. GET /health is asked ten times a second from here.
Boots a range host with a simulated A10 and takes it down again; exits with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import statistics
import sys
import threading
import time
import typing as t
import urllib.request
from pathlib import Path

from range_hosts import DRIVER, Served, backend_option, on_a10

NEXT = "590.48.01"
MOST_SECONDS_MORE = 15.0
EVERY = 0.1
PATIENCE = 120.0


class Watch(threading.Thread):
    """Asks the service whether it is well, again and again."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._url = f"http://{address}:8080/health"
        self._end = threading.Event()
        self.seen: list[tuple[float, bool]] = []

    def run(self) -> None:
        while not self._end.is_set():
            asked = time.time()
            self.seen.append((asked, self._well()))
            self._end.wait(max(0.0, asked + EVERY - time.time()))

    def _well(self) -> bool:
        try:
            # A host that boots swallows what is sent to it: better to ask anew than to wait.
            with urllib.request.urlopen(self._url, timeout=0.3) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def outages(self) -> list[tuple[float, float]]:
        """Each from the first question without an answer to the next one with."""
        found: list[tuple[float, float]] = []
        began = None
        for when, well in self.seen:
            if well and began is not None:
                found.append((began, when))
            began = None if well else began or when
        return found

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self.join()


def steady(watch: Watch, after: float) -> None:
    """Wait until the service has been away since then, and is back."""
    deadline = time.time() + PATIENCE
    while not any(began >= after for began, _ended in watch.outages()):
        if time.time() > deadline:
            sys.exit(f"The service was not back {PATIENCE:.0f} s after the reboot")
        time.sleep(0.5)


def plain_reboot(served: Served) -> float:
    with Watch(served.host.address) as watch:
        time.sleep(1)
        asked = time.time()
        served.host.run("systemctl", "reboot", check=False)
        steady(watch, asked)
    served.host.run("systemctl", "is-system-running", "--wait", check=False)
    return sum(ended - began for began, ended in watch.outages())


class Upgrade(t.NamedTuple):
    outages: list[tuple[float, float]]
    results: list[tuple[float, str]]
    """When each task was through."""

    @property
    def downtime(self) -> float:
        return sum(ended - began for began, ended in self.outages)

    def meanwhile(self) -> t.Iterator[str]:
        """The tasks that ran while the service was away, and for how long."""
        first, last = self.outages[0][0], self.outages[-1][1]
        for (before, _name), (end, name) in itertools.pairwise(self.results):
            if end > first and before < last:
                yield f"  {before - first:6.1f} s … {end - first:6.1f} s  {name}"


def upgrade(served: Served, version: str) -> Upgrade:
    with Watch(served.host.address) as watch:
        run = served.must("playbooks/driver_upgrade.yml", nvidia_driver_version=version)
        time.sleep(1)
    built = [name for name in run.changed if name.endswith("Build and activate llama.cpp")]
    if built or not watch.outages():
        sys.exit(f"This was no upgrade with an unchanged build key:\n{run.output}")
    log = Path(served.host.directory, "tasks.jsonl").read_text(encoding="utf-8")
    return Upgrade(watch.outages(), [(entry["time"], entry["task"]) for entry in map(json.loads, log.splitlines())])


def told(what: str, values: list[float], limit: str = "") -> str:
    each = ", ".join(f"{value:.1f}" for value in values)
    return f"{what:22} median {statistics.median(values):5.1f} s  (each: {each}{limit})"


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated"))  # the hosts are taken down on the way out
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2, help="upgrades, each with a plain reboot before it")
    backend_option(parser)
    arguments = parser.parse_args()

    reboots, upgrades = [], []
    with on_a10("bench-upgrade", arguments.backend) as served:
        for run in range(arguments.runs):
            reboots.append(plain_reboot(served))
            upgrades.append(upgrade(served, DRIVER if run % 2 else NEXT))

    print("The last upgrade, from the moment the service was away:")
    print(*upgrades[-1].meanwhile(), sep="\n")
    print(f"outages                {len(upgrades[-1].outages)}")
    more = [upgraded.downtime - reboot for upgraded, reboot in zip(upgrades, reboots, strict=True)]
    print(told("plain reboot", reboots))
    print(told("driver upgrade", [upgraded.downtime for upgraded in upgrades]))
    print(told("more, pair by pair", more, f"; at most {MOST_SECONDS_MORE:.0f}"))
    return 0 if statistics.median(more) <= MOST_SECONDS_MORE else 1


if __name__ == "__main__":
    sys.exit(main())
