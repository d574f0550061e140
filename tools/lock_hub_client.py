#!/usr/bin/env python3
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/module_utils/_hub_requirements.py: which wheels of the Python package index make up the model hub's client.

    tools/lock_hub_client.py            the version that is in the file, with the newest of what it needs
    tools/lock_hub_client.py 2.4.0      another version

pip resolves them for each Python and machine that a host may have; nothing is installed. Like `make lock` this asks the package
index alone, whatever else pip is configured for, and writes no address.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "plugins" / "module_utils" / "_hub_requirements.py"
PACKAGE = "huggingface-hub"
MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
# What the oldest Python needs besides; the others do not mind it.
BACKPORTS = ("exceptiongroup",)
# Another way to download, which can be neither resumed nor watched; the client does without it.
LEFT_OUT = ("hf-xet",)

HEADER = '''\
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model hub's client and what it needs: package, version and the sha256 of each wheel that a host may take.

Written by tools/lock_hub_client.py.
"""

from __future__ import annotations

'''

Wheels = dict[tuple[str, str], set[str]]


def resolved(requirements: list[str], python: str, machine: str) -> Wheels:
    """The wheels for one kind of host, by package and version."""
    own = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")
    environment = {name: value for name, value in os.environ.items() if name not in own} | {"PIP_CONFIG_FILE": os.devnull}
    platforms = [f"--platform={glibc}_{machine}" for glibc in GLIBC]
    arguments = ["--dry-run", "--ignore-installed", "--quiet", "--report=-", "--only-binary=:all:", "--target=nowhere"]
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *arguments, f"--python-version={python}", *platforms]
    done = subprocess.run([*argv, *requirements], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return {
        (item["metadata"]["name"].lower().replace("_", "-"), item["metadata"]["version"]): {
            item["download_info"]["archive_info"]["hashes"]["sha256"]
        }
        for item in json.loads(done.stdout)["install"]
    }


def union(tables: list[Wheels]) -> Wheels:
    merged: Wheels = {}
    for table in tables:
        for package, hashes in table.items():
            merged.setdefault(package, set()).update(hashes)
    names = [name for name, _version in merged]
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        sys.exit(f"Not every Python and machine gets the same version of {', '.join(doubles)}")
    return {package: hashes for package, hashes in sorted(merged.items()) if package[0] not in LEFT_OUT}


def rendered(version: str, wheels: Wheels) -> str:
    lines = [f'VERSION = "{version}"', "", "WHEELS: dict[str, tuple[str, tuple[str, ...]]] = {"]
    for (name, of), hashes in wheels.items():
        lines += [f'    "{name}": (', f'        "{of}",', "        ("]
        lines += [f'            "{one}",' for one in sorted(hashes)]
        lines += ["        ),", "    ),"]
    return HEADER + "\n".join([*lines, "}", ""])


def main(arguments: list[str]) -> None:
    current = re.search(r'^VERSION = "(.+)"$', FILE.read_text("utf-8") if FILE.exists() else "", re.MULTILINE)
    version = arguments[0] if arguments else current[1] if current else sys.exit("Which version? Give it as an argument")
    # What the oldest Python can take is for all of them. pip judges the markers of dependencies by the Python that it runs on itself.
    oldest = resolved([f"{PACKAGE}=={version}", *BACKPORTS], PYTHONS[0], MACHINES[0])
    pinned = [f"{name}=={of}" for name, of in oldest]
    with ThreadPoolExecutor(2) as pool:
        tables = list(pool.map(lambda host: resolved(pinned, *host), product(PYTHONS, MACHINES)))
    FILE.write_text(rendered(version, union(tables)), encoding="utf-8")
    print(f"{FILE.name}: {PACKAGE} {version}")


if __name__ == "__main__":
    main(sys.argv[1:])
