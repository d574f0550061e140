# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the Docker host: writes a root file system as a tar to standard output, of Debian packages that are installed there.

    python3 - PACKAGE[,PACKAGE…] [DIRECTORY:PLACE…]

with all that the packages depend on, without what only people read; the contents of each DIRECTORY come to PLACE.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_FOR_PEOPLE = re.compile(r"/usr/share/(doc|man|info|locale|lintian|bug|menu|doc-base)(/|$)|/usr/lib/.*/gconv/|.*/__pycache__(/|$)")
_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
_DIRECTORIES = (
    ("tmp", 0o1777),
    ("root", 0o700),
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
    ("run", 0o755),
    ("vllm-workspace", 0o755),
)
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def packages(roots: Iterable[str]) -> set[str]:
    """These, and whatever has to be there for them."""
    needs: dict[str, list[str]] = {}
    providers: dict[str, str] = {}
    for stanza in Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        if "installed" not in fields.get("Status", "").split():
            continue
        name = fields["Package"]
        alternatives = re.split(r"[,|]\s*", ", ".join(fields.get(kind, "") for kind in ("Depends", "Pre-Depends")))
        needs[name] = [re.split(r"[\s:(]", one.strip())[0] for one in alternatives if one.strip()]
        for provided in re.split(r",\s*", fields.get("Provides", "")):
            providers.setdefault(provided.split(" ")[0], name)
    found: set[str] = set()
    rest = list(roots)
    while rest:
        name = rest.pop()
        name = name if name in needs else providers.get(name, name)
        if name not in found and name in needs:
            found.add(name)
            rest += needs[name]
        elif name not in needs and name in roots:
            sys.exit(f"The package {name} is not installed on this host.")
    return found


def files(names: Iterable[str]) -> Iterator[Path]:
    for name in sorted(names):
        for listing in Path("/var/lib/dpkg/info").glob(f"{name}*.list"):
            if listing.stem.split(":")[0] == name:
                yield from map(Path, listing.read_text(encoding="utf-8").splitlines())


def place(path: Path) -> str:
    """Where a file is when /bin and the like are links, as they are."""
    return str(path.parent.resolve() / path.name).lstrip("/")


def main() -> None:
    roots, *directories = sys.argv[1:]
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name, target in _LINKS.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, mode in _DIRECTORIES:
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, mode
            tar.addfile(directory)
        for name, text in _FILES.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(text), 0o644
            tar.addfile(file, io.BytesIO(text.encode()))
        done = {*_LINKS, *_FILES, *(name for name, mode in _DIRECTORIES)}
        for path in files(packages(roots.split(","))):
            where = place(path)
            if where and where not in done and not _FOR_PEOPLE.match(str(path)) and os.path.lexists(path):
                done.add(where)
                tar.add(path, where, recursive=False)
        for pair in directories:
            source, _, where = pair.partition(":")
            tar.add(source, where.lstrip("/"), filter=_as_root)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


main()
