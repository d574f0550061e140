# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long gguf_info takes for a file of 20 GB (a sparse one), and how much memory: with and without a large vocabulary, split or not.

    .venv/bin/python benchmarks/gguf_info.py [--runs 21]

Counted are the reading and the result, in a process of its own for each file. The limit is for the CPU time, which other load on the
machine does not change; nothing is waited for. Exits with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, read_model
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_models import Model, Q, attention, feed_forward, write

MODULE = "ansible_collections.baremetal.llm.plugins.modules.gguf_info"
MOST_MILLISECONDS = 50
MOST_MIB = 20
WIDTH, BLOCKS = 8192, 48


def large(vocabulary: int) -> Model:
    """The tensors of a model with 48 layers, and the keys that it is read for."""
    tensors = [("token_embd.weight", (WIDTH, 150_000), Q.Q6_K)]
    for block in range(BLOCKS):
        tensors += [*attention(block, WIDTH, Q.Q4_K, 1024), *feed_forward(block, WIDTH, Q.Q5_K, Q.Q6_K)]
    keys = {"block_count": BLOCKS, "context_length": 32768, "embedding_length": WIDTH, "attention.head_count_kv": [8] * BLOCKS}
    return Model("qwen2", keys, tuple(tensors), vocabulary=vocabulary)


def memory(name: str) -> int:
    """One of the kernel's figures for this process, in KiB."""
    match = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise SystemExit(f"/proc/self/status has no {name}")
    return int(match[1])


def measure(path: str, runs: int) -> dict[str, float]:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak is counted from here
    before = memory("VmRSS")
    wall, cpu = [], []
    for _ in range(runs):
        began, began_cpu = time.perf_counter(), time.process_time()
        read_model(LocalFiles(), path).as_dict()
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - began_cpu))
    return {"wall": statistics.median(wall), "cpu": statistics.median(cpu), "mib": (memory("VmHWM") - before) / 1024}


def in_a_process(path: Path, runs: int) -> dict[str, float]:
    argv = [sys.executable, __file__, "--measure", str(path), "--runs", str(runs)]
    figures: dict[str, float] = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    return figures


def as_a_module(path: Path, directory: Path) -> float:
    """Seconds with the start of Python and of Ansible's code."""
    arguments = directory / "arguments.json"
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {"path": str(path)}}), encoding="utf-8")
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", MODULE, str(arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.runs)))
        return 0
    held = True
    with tempfile.TemporaryDirectory(prefix="gguf_info-") as name:
        directory = Path(name)
        cases = [
            ("no vocabulary", write(directory / "bare.gguf", large(0))),
            ("150,000 tokens and merges", write(directory / "words.gguf", large(150_000))),
            ("the same in several files", write(directory / "split.gguf", large(150_000), tensors_per_file=50)),
        ]
        for what, paths in cases:
            figures = in_a_process(paths[0], arguments.runs)
            within = figures["cpu"] <= MOST_MILLISECONDS and figures["mib"] <= MOST_MIB
            held = held and within
            size = sum(path.stat().st_size for path in paths) / 1e9
            print(
                f"{what:26} {size:5.1f} GB in {len(paths)}  {figures['cpu']:5.1f} ms of CPU (at most {MOST_MILLISECONDS}), "
                f"{figures['wall']:5.1f} ms  {figures['mib']:5.1f} MiB (at most {MOST_MIB})  {'ok' if within else 'TOO MUCH'}"
            )
        print(f"{'as a module, with Python':26} {statistics.median(as_a_module(cases[1][1][0], directory) for _ in range(5)):.2f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
