# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unpack collections, and those that they depend on, from the distribution that has all of Ansible's.

It has 550 MB in 100 collections when it is installed; what is wanted of it are 2 MB. What is there already is replaced.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

_ROOT = "ansible_collections"


class MissingError(Exception):
    """A collection that the distribution does not have."""


def directory_of(collection: str) -> str:
    namespace, _dot, name = collection.partition(".")
    return f"{_ROOT}/{namespace}/{name}/"


def with_dependencies(wanted: Iterable[str], wheel: ZipFile) -> list[str]:
    """The collections in the order in which they are met, each once."""
    names = set(wheel.namelist())
    found: list[str] = []
    pending = list(wanted)
    while pending:
        collection = pending.pop(0)
        if collection in found:
            continue
        manifest = f"{directory_of(collection)}MANIFEST.json"
        if manifest not in names:
            raise MissingError(collection)
        found.append(collection)
        pending += json.loads(wheel.read(manifest))["collection_info"]["dependencies"] or {}
    return found


def unpack(collection: str, wheel: ZipFile, target: Path) -> None:
    """Nothing is half-unpacked: the collection appears in one step."""
    prefix = directory_of(collection)
    final = target / prefix
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack.", dir=target) as directory:
        wheel.extractall(directory, [name for name in wheel.namelist() if name.startswith(prefix)])
        shutil.rmtree(final, ignore_errors=True)
        Path(directory, prefix).rename(final)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("target", type=Path, help="the directory that ansible_collections is in")
    parser.add_argument("collections", nargs="+", metavar="collection")
    arguments = parser.parse_args()
    with ZipFile(arguments.wheel) as wheel:
        try:
            found = with_dependencies(arguments.collections, wheel)
        except MissingError as missing:
            print(f"{arguments.wheel.name} has no collection {missing}", file=sys.stderr)
            return 1
        for collection in found:
            unpack(collection, wheel, arguments.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
