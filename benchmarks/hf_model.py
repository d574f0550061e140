# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hf_model costs on top of the hub's client, and what it costs when there is nothing to do.

    .venv/bin/python benchmarks/hf_model.py [--size-gb 4] [--runs 2] [--directory /var/tmp]

Downloads a file from a hub on the loopback with the bare client and with the module, in turn; then looks at a model of 20 GB, sparse,
that is there and proven. Exits with 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_environment import HubEnvironment
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import parse_lock
from ansible_collections.baremetal.llm.plugins.module_utils._hub_plan import Request
from ansible_collections.baremetal.llm.plugins.module_utils._hub_present import ensure_present
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubClient

ROOT = Path(__file__).resolve().parents[1]
HUB = ROOT / "tests" / "hub" / "hub"
CLIENTS = ROOT / ".cache" / "hub-clients"
MODULE = "ansible_collections.baremetal.llm.plugins.modules.hf_model"
REPO_ID, FILE = "bench/model", "model-q4_k_m.gguf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 20 * 10**9
NOOP_RUNS = 11

MOST_NOOP_SECONDS = 0.5
LEAST_RATIO = 0.8

BARE = "import sys; from huggingface_hub.cli.hf import main; main()"
QUIET = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def module_argv(arguments: Mapping[str, Any], directory: Path) -> list[str]:
    file = directory / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {"repo_id": REPO_ID, "client_directory": str(CLIENTS), **arguments}}))
    return [sys.executable, "-m", MODULE, str(file)]


def run_module(arguments: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    done = subprocess.run(module_argv(arguments, directory), stdout=subprocess.PIPE, text=True, cwd="/", check=False)
    result: dict[str, Any] = json.loads(done.stdout)
    if result.get("failed"):
        raise SystemExit(f"hf_model: {result['msg']}")
    return result


def downloads(directory: Path, size: int, runs: int) -> float:
    """How fast the module is, proof included, against the client alone: 1 is as fast."""
    served = directory / "served" / REPO_ID / "main"
    served.mkdir(parents=True)
    (served / FILE).touch()
    os.truncate(served / FILE, size)
    with subprocess.Popen([HUB, directory / "served"], stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout
        endpoint = json.loads(hub.stdout.readline())["endpoint"]
        try:
            # The client is there, and the file in the memory of this machine, before anything counts.
            run_module({"cache_dir": str(directory / "warm"), "endpoint": endpoint}, directory)
            shutil.rmtree(directory / "warm")
            python = max(CLIENTS.glob("*-py*/bin/python"), key=lambda path: path.lstat().st_mtime)
            ratios = []
            for run in range(runs):
                cache = directory / f"cache-{run}"
                environment = {**os.environ, **QUIET, "HF_ENDPOINT": endpoint, "HF_HOME": str(directory / "home")}
                bare_argv = [str(python), "-c", BARE, "download", REPO_ID, FILE, "--cache-dir", str(cache / "bare")]

                def bare() -> None:
                    subprocess.run(bare_argv, env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: B023

                def proven() -> None:
                    run_module({"cache_dir": str(cache / "proven"), "endpoint": endpoint}, directory)  # noqa: B023

                took = {}
                for name, work in (("bare", bare), ("proven", proven)) if run % 2 == 0 else (("proven", proven), ("bare", bare)):
                    os.sync()  # what was written before is no longer waited for
                    took[name] = seconds(work)
                    shutil.rmtree(cache)
                rates = {name: size / 1e6 / taken for name, taken in took.items()}
                print(
                    f"{size / 1e9:.1f} GB              {took['bare']:8.1f} s bare ({rates['bare']:.0f} MB/s), "
                    f"{took['proven']:.1f} s with proof ({rates['proven']:.0f} MB/s)",
                    flush=True,
                )
                ratios.append(took["bare"] / took["proven"])
        finally:
            hub.terminate()
    return statistics.median(ratios)


def nothing_to_do(directory: Path) -> tuple[float, int, int]:
    """Seconds inside the module, how many sockets it made, and how many contents of the model it opened."""
    cache = RepoCache(directory / "large", REPO_ID)
    cache.make(cache.snapshot(COMMIT))
    model = cache.pointer(COMMIT, FILE)
    model.touch()
    os.truncate(model, LARGE)
    arguments = {"cache_dir": str(cache.cache_dir), "revision": COMMIT, "offline": True}
    first = seconds(lambda: run_module(arguments, directory))
    print(f"{LARGE / 1e9:.0f} GB read and proven {first:7.1f} s   ({LARGE / 1e6 / first:.0f} MB/s)", flush=True)
    locked = run_module(arguments, directory)
    # As a deployment has it: from a lock, and not offline.
    arguments = {"cache_dir": str(cache.cache_dir), "expected": {"commit": COMMIT, "files": locked["files"]}, "revision": COMMIT}
    trace = directory / "trace"
    subprocess.run(
        ["strace", "-f", "-qq", "-o", trace, "-e", "trace=openat,open,socket", *module_argv(arguments, directory)],
        stdout=subprocess.DEVNULL,
        cwd="/",
        check=True,
    )
    calls = trace.read_text(encoding="utf-8", errors="replace")
    sockets = len(re.findall(r"\bsocket\(AF_INET", calls))
    contents = len(re.findall(rf"{re.escape(FILE)}|/blobs/", calls))
    process = statistics.median(seconds(lambda: run_module(arguments, directory)) for _ in range(NOOP_RUNS))
    client = HubEnvironment(CLIENTS, HubClient("", "http://127.0.0.1:9", None, 30, directory))
    request = Request(cache, COMMIT, lock=parse_lock(arguments["expected"]))
    inside = statistics.median(seconds(lambda: ensure_present(request, client, check_mode=False)) for _ in range(NOOP_RUNS))
    print(f"nothing to do         {inside:8.4f} s inside the module, {process:.3f} s with the start of Python", flush=True)
    return inside, sockets, contents


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-gb", type=float, default=4.0, help="size of the file that is downloaded (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=2, help="downloads with each, in turn (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where to download to; needs the file's size")
    options = parser.parse_args()
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="hf_model-", dir=options.directory) as name:
        directory = Path(name)
        took, sockets, contents = nothing_to_do(directory)
        ratio = downloads(directory, round(options.size_gb * 1e9), options.runs)
    held = took <= MOST_NOOP_SECONDS and not sockets and not contents and ratio >= LEAST_RATIO
    print(
        f"nothing to do         {took:8.4f} s   at most {MOST_NOOP_SECONDS}; {sockets} connections, {contents} contents opened, of 0 each"
    )
    print(f"bare / with proof     {ratio:8.3f}     at least {LEAST_RATIO}")
    print("ok" if held else "TOO SLOW")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
