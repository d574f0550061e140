# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from . import faults
from .repository import load
from .server import Hub


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="hub", description="A model hub on this machine; serves until it is told to end.")
    top.add_argument("root", metavar="DIRECTORY", type=Path, help="what it serves: DIRECTORY/ORGANISATION/NAME/BRANCH/FILES")
    top.add_argument("--address", default="127.0.0.1", help="where it listens (default: %(default)s)")
    top.add_argument("--port", type=int, default=0, help="port of the hub (default: a free one)")
    top.add_argument("--download-port", type=int, default=0, help="port that large files come from (default: a free one)")
    top.add_argument("--gated", action="append", default=[], metavar="REPO", help="repository that only tokens open; repeatable")
    top.add_argument("--private", action="append", default=[], metavar="REPO", help="one that nobody else hears of; repeatable")
    top.add_argument(
        "--token", dest="tokens", action="append", default=[], metavar="TOKEN[=REPO,…]", help="a token and what it opens; repeatable"
    )
    top.add_argument(
        "--fault",
        dest="faults",
        action="append",
        default=[],
        type=faults.parse,
        metavar="KIND[,NAME=VALUE…]",
        help=f"something that goes wrong: {', '.join(faults.KINDS)}; repeatable",
    )
    return top


def main() -> int:
    arguments = parser().parse_args()
    hub = Hub(load(arguments.root), arguments.address, arguments.port, arguments.download_port)
    for repository in hub.by_name.values():
        repository.gated = repository.repo_id in arguments.gated
        repository.private = repository.repo_id in arguments.private
    for token in arguments.tokens:
        name, _, opened = token.partition("=")
        hub.tokens[name] = set(opened.split(",")) if opened else set()
    for fault in arguments.faults:
        hub.faults.add(fault)
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with hub:
        print(json.dumps({"endpoint": hub.endpoint, "repositories": {name: one.refs for name, one in hub.by_name.items()}}), flush=True)
        signal.sigwait(signals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
