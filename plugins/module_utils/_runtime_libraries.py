# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared libraries that programs need besides their own: which the loader will find, and which have to lie beside them.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._command import run
from ansible_collections.baremetal.llm.plugins.module_utils._elf import DamagedElfError, mapped, needed
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

# They come with the driver and must be of its version, so they are never shipped.
DRIVER_LIBRARY = "libcuda.so.1"
DRIVER_LIBRARIES = frozenset({DRIVER_LIBRARY, "libnvidia-ml.so.1"})
_READABLE_BY_ALL = 0o444


def add_toolkit_libraries(binaries: Path, toolkit: Path | None) -> set[str]:
    """Put beside the programs in ``binaries`` what they need of the toolkit's libraries; returns what nobody has brought along.

    So the toolkit may go or be replaced, and the programs still run with what they were built for.
    """
    wanted = sorted(needed_by(_files(binaries)))
    missing = set()
    while wanted:
        name = wanted.pop()
        if (binaries / name).exists() or name in DRIVER_LIBRARIES:
            continue
        if toolkit and (toolkit / name).is_file():
            _link_or_copy((toolkit / name).resolve(), binaries / name)
            wanted += needed_by([binaries / name])
        else:
            missing.add(name)
    return missing


def needed_by(files: Iterable[Path]) -> set[str]:
    return {name for file in files for name in _needed(file)}


def loader_libraries() -> frozenset[str]:
    """The names of the libraries that the loader of this host finds by itself."""
    # Not in the PATH of everyone.
    program = shutil.which("ldconfig") or "/sbin/ldconfig"
    return parse_loader_cache(run([program, "-p"]).stdout)


def parse_loader_cache(output: str) -> frozenset[str]:
    """From ``ldconfig -p``."""
    return frozenset(re.findall(r"^\t(\S+) \(.*\) => ", output, re.MULTILINE))


def _files(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if path.is_file() and not path.is_symlink()]


def _needed(file: Path) -> list[str]:
    try:
        with mapped(file) as data:
            return needed(data) if data is not None else []
    except DamagedElfError as error:
        raise UserError(f"{file} is damaged: {error}", path=str(file)) from error


def _link_or_copy(source: Path, target: Path) -> None:
    """cublasLt alone has half a gigabyte, so it is not copied where that can be avoided."""
    if source.stat().st_mode & _READABLE_BY_ALL == _READABLE_BY_ALL:
        try:
            os.link(source, target)
        except OSError:
            pass  # another file system, or one without hard links
        else:
            return
    shutil.copyfile(source, target)
    target.chmod(0o644)
