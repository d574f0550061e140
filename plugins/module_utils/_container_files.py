# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of the host's files an engine needs in its container, where each has the path that it has on the host.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._command import run
from ansible_collections.baremetal.llm.plugins.module_utils._runtime_libraries import DRIVER_LIBRARIES, needed_by
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service

# Any image with a C library has these, of one piece with its loader: another's would not work with it.
_C_LIBRARY = re.compile(r"(?:ld-linux.*|lib(?:c|m|mvec|dl|pthread|rt|resolv|util|anl|nsl|BrokenLocale))\.so(?:\.\d+)*")


def model_reads(service: Service, hub_cache: str) -> Iterator[str]:
    """Where the model is, links followed. Of the hub it is the whole cache: its files are links to others there."""
    if service.model.repo_id is not None:
        yield hub_cache
        return
    for path in service.model.files.values():
        for name in (path, os.path.realpath(path)):
            directory = name if os.path.isdir(name) else os.path.dirname(name)
            yield name if directory == "/" else directory


def option_reads(options: Mapping[str, Any], home: str) -> Iterator[str]:
    """Files and directories that options name, such as a chat template or a certificate; in its home, the service sees all anyway."""
    for value in options.values():
        for path in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(path, str) and path.startswith("/") and path != "/" and os.path.exists(path) and not _is_in(path, home):
                yield path


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Each once, without those inside another."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}):
        if not any(_is_in(path, other) for other in kept):
            kept.append(path)
    return tuple(kept)


def host_libraries(binaries: Path) -> list[str]:
    """The shared libraries that programs need beside their own, the C library's and the driver's, as the loader of this host finds them."""
    there = parse_loader_paths(run(["/sbin/ldconfig", "-p"]).stdout)
    found: dict[str, str] = {}
    wanted = sorted(needed_by(path for path in sorted(binaries.iterdir()) if path.is_file() and not path.is_symlink()))
    while wanted:
        name = wanted.pop()
        own = (binaries / name).exists() or name in DRIVER_LIBRARIES or _C_LIBRARY.fullmatch(name)
        if own or name in found or name not in there:
            continue
        found[name] = there[name]
        wanted += sorted(needed_by([Path(there[name]).resolve()]))
    return sorted(found.values())


def parse_loader_paths(output: str) -> dict[str, str]:
    """From ``ldconfig -p``: the first path of each name, which is the loader's choice."""
    paths: dict[str, str] = {}
    for name, path in re.findall(r"^\t(\S+) \(.*\) => (\S+)$", output, re.MULTILINE):
        paths.setdefault(name, path)
    return paths


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")
