#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/module_utils/_cuda_wheels.py: which wheels of the Python package index make up which CUDA toolkit.

    tools/lock_cuda_wheels.py              the versions that are in the table, and the newest patch of each minor version
    tools/lock_cuda_wheels.py 13.0.3 …     these versions alone

pip resolves the package ``cuda-toolkit`` for each version and machine; nothing is installed. Like `make lock` this asks the
package index alone, whatever else pip is configured for, and writes no address.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TABLE = Path(__file__).resolve().parents[1] / "plugins" / "module_utils" / "_cuda_wheels.py"
MACHINES = ("x86_64", "aarch64")
GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
# What compiling and linking llama.cpp takes. Earlier packages hold no nvcc.
EXTRAS = "nvcc,cudart,cublas,cccl"
OLDEST = (13, 0)
# An umbrella without files, and a compiler at run time that cuBLAS loads if it is there but is not linked with.
LEFT_OUT = ("cuda-toolkit", "nvidia-cuda-nvrtc")

HEADER = '''\
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA toolkits of the Python package index: version -> machine -> wheels, each a package, version, sha256 and size in bytes.

Written by tools/lock_cuda_wheels.py.
"""

from __future__ import annotations

Lock = tuple[str, str, str, int]

'''

Lock = tuple[str, str, str, int]


def pip(*arguments: str) -> str:
    own = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")
    environment = {name: value for name, value in os.environ.items() if name not in own} | {"PIP_CONFIG_FILE": os.devnull}
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(argv, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def in_the_table() -> set[str]:
    return set(re.findall(r'^    "(\d+\.\d+\.\d+)": \{$', TABLE.read_text("utf-8"), re.MULTILINE)) if TABLE.exists() else set()


def on_the_index() -> list[str]:
    """Every version of the package, spelt as the index has it: some patches have a fourth number."""
    listed = re.search(r"^Available versions: (.+)$", pip("index", "versions", "cuda-toolkit"), re.MULTILINE)
    return listed[1].split(", ") if listed else []


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def chosen(offered: list[str], wanted: set[str]) -> dict[str, str]:
    """Toolkit version -> package version: ``wanted``, or what is known already with the newest patch of each minor version."""
    by_toolkit = {".".join(map(str, numbers(version)[:3])): version for version in sorted(offered, key=numbers)}
    if not wanted:
        newest = {numbers(toolkit)[:2]: toolkit for toolkit in by_toolkit if numbers(toolkit)[:2] >= OLDEST}
        wanted = in_the_table() | set(newest.values())
    if unknown := wanted - by_toolkit.keys():
        sys.exit(f"The package index has no cuda-toolkit {', '.join(sorted(unknown))}")
    return {toolkit: by_toolkit[toolkit] for toolkit in sorted(wanted, key=numbers)}


def locked(package_version: str, machine: str) -> list[Lock]:
    platforms = [f"--platform={glibc}_{machine}" for glibc in GLIBC]
    arguments = ["--dry-run", "--ignore-installed", "--quiet", "--report=-", "--only-binary=:all:", "--target=nowhere", *platforms]
    report = json.loads(pip("install", *arguments, f"cuda-toolkit[{EXTRAS}]=={package_version}"))
    wheels = {item["metadata"]["name"]: item for item in report["install"] if item["metadata"]["name"] not in LEFT_OUT}
    return [
        (
            name,
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
            size_of(item["download_info"]["url"]),
        )
        for name, item in sorted(wheels.items())
    ]


def size_of(url: str) -> int:
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
        return int(answer.headers["Content-Length"])


def rendered(table: dict[str, dict[str, list[Lock]]]) -> str:
    lines = ["WHEELS: dict[str, dict[str, tuple[Lock, ...]]] = {"]
    for version, machines in table.items():
        lines.append(f'    "{version}": {{')
        for machine, wheels in machines.items():
            lines.append(f'        "{machine}": (')
            lines += [f'            ("{name}", "{of}", "{sha256}", {size}),' for name, of, sha256, size in wheels]
            lines.append("        ),")
        lines.append("    },")
    return HEADER + "\n".join([*lines, "}", ""])


def main(arguments: list[str]) -> None:
    versions = chosen(on_the_index(), set(arguments))
    with ThreadPoolExecutor(4) as pool:
        pending = {
            toolkit: {machine: pool.submit(locked, package, machine) for machine in MACHINES} for toolkit, package in versions.items()
        }
        table = {toolkit: {machine: future.result() for machine, future in machines.items()} for toolkit, machines in pending.items()}
    TABLE.write_text(rendered(table), encoding="utf-8")
    print(f"{TABLE.name}: {', '.join(table)}")


if __name__ == "__main__":
    main(sys.argv[1:])
