# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much llama_build costs on top of the compilers: ratios measured within one run, on the real tree.

    .venv/bin/python benchmarks/llama_build.py [--archive llama_cpp_python-….tar.gz | --version 0.3.36] [--targets …]

Without an archive, pip downloads one. Takes about two compiles of llama.cpp. Exits with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._build import default_jobs, ensure_present
from ansible_collections.baremetal.llm.plugins.module_utils._build_plan import Request
from ansible_collections.baremetal.llm.plugins.module_utils._cmake import build_argv, configure_argv, drop_foreign_variables
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source, parse_source, unpack_tree
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import MAKE, ask_toolchain

MODULE = "ansible_collections.baremetal.llm.plugins.modules.llama_build"
SUBDIRECTORY = "vendor/llama.cpp"
NOOP_RUNS = 11
LIMITS = {"nothing to do, seconds inside the module": 0.5, "cold / bare cmake and ninja": 1.03, "evicted, warm ccache / cold": 0.35}


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def report(what: str, work: Callable[[], object]) -> float:
    """Wall seconds of ``work``; the CPU seconds of its children tell how much of them is due to other load on the machine."""
    before = os.times()
    wall = seconds(work)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{what:24} {wall:8.1f} s   ({cpu:.0f} s of CPU)", flush=True)
    return wall


def run_module(arguments: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    file = directory / "arguments.json"
    file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    done = subprocess.run([sys.executable, "-m", MODULE, str(file)], stdout=subprocess.PIPE, text=True, check=False)
    result: dict[str, Any] = json.loads(done.stdout)
    if result.get("failed"):
        raise SystemExit(f"llama_build: {result['msg']}")
    return result


def download(version: str, directory: Path) -> Path:
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", f"--dest={directory}"]
    subprocess.run([*argv, f"llama-cpp-python=={version}"], check=True)
    return next(directory.glob("*.tar.gz"))


def bare_build(archive: Path, request: Request, digest: str, directory: Path) -> float:
    """cmake and ninja as anybody would call them, with the same flags; unpacking does not count."""
    tree = unpack_tree(archive, Source("archive", subdirectory=SUBDIRECTORY), directory / "tree", lambda: None)
    toolchain = ask_toolchain(request.options, None)
    make_program = MAKE.find() or "ninja"
    build = directory / "build"
    configure = configure_argv(
        source=tree,
        build=build,
        options=request.options,
        commit=digest[:12],
        c_compiler=toolchain.c_path,
        cxx_compiler=toolchain.cxx_path,
        cuda=None,
        make_program=make_program,
        launcher=None,
    )
    compile_ = build_argv(make_program, build, request.targets, default_jobs())

    def work() -> None:
        for argv in (configure, compile_):
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    return report("bare cmake and ninja", work)


def measure(archive: Path, targets: list[str], directory: Path) -> dict[str, float]:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    prefix = directory / "prefix" / "llama.cpp"
    source = {"kind": "archive", "path": str(archive), "sha256": digest, "subdirectory": SUBDIRECTORY}
    arguments = {"prefix": str(prefix), "source": source, "targets": targets}
    request = Request(prefix=prefix, source=parse_source(source), targets=tuple(targets))

    bare = bare_build(archive, request, digest, directory)
    cold = report("llama_build, cold", lambda: run_module(arguments, directory))
    noop = statistics.median(seconds(lambda: ensure_present(request, check_mode=False)) for _ in range(NOOP_RUNS))
    process = statistics.median(seconds(lambda: run_module(arguments, directory)) for _ in range(NOOP_RUNS))
    print(f"nothing to do            {noop:8.3f} s inside the module, {process:.3f} s with the start of Python", flush=True)
    key = os.path.basename(os.readlink(prefix / "current"))
    shutil.rmtree(prefix / "releases" / key)
    warm = report("evicted, warm ccache", lambda: run_module(arguments, directory))
    return dict(zip(LIMITS, (noop, cold / bare, warm / cold), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="a source distribution of llama-cpp-python")
    parser.add_argument("--version", default="0.3.36", help="the version to download without an archive")
    parser.add_argument("--targets", nargs="+", default=["llama-server", "llama-bench"])
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where to build; needs about 3 GiB")
    options = parser.parse_args()
    if shutil.which("ccache") is None:
        print("ccache is not installed, so the rebuild can't be measured", file=sys.stderr)
        return 2
    drop_foreign_variables()
    with tempfile.TemporaryDirectory(prefix="llama_build-", dir=options.directory) as name:
        directory = Path(name)
        archive = options.archive or download(options.version, directory)
        measured = measure(archive.absolute(), options.targets, directory)
    exceeded = 0
    for what, value in measured.items():
        verdict = "ok" if value <= LIMITS[what] else "TOO MUCH"
        exceeded += value > LIMITS[what]
        print(f"{what:42} {value:7.3f}   at most {LIMITS[what]:.2f}   {verdict}")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
