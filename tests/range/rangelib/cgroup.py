# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cgroup per host: the handle by which all its processes are seen and killed, whoever their parent is."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .errors import RangeError
from .layout import ROOT_NAME, Layout


def parse_mount_point(mountinfo: str) -> Path | None:
    """Where cgroup v2 is mounted; on a v1 machine with a v2 tree beside it, that tree."""
    for line in mountinfo.splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            return Path(fields[4])
    return None


def mount_point() -> Path | None:
    return parse_mount_point(Path("/proc/self/mountinfo").read_text())


def scope_path(layout: Layout) -> Path:
    mounted = mount_point()
    if mounted is None:
        raise RangeError("cgroup v2 is not mounted any more.")
    return mounted / ROOT_NAME / layout.scope


def host_path(layout: Layout, name: str) -> Path:
    return scope_path(layout) / name


def create(path: Path) -> None:
    """Make the group and hand it every controller that this machine lets our own groups have."""
    path.mkdir(parents=True, exist_ok=True)
    for level in (path.parent.parent, path.parent, path):
        for controller in (level / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):  # a controller may refuse; the host then lacks just that one
                (level / "cgroup.subtree_control").write_text(f"+{controller}")


def join(path: Path) -> None:
    path.mkdir(exist_ok=True)
    (path / "cgroup.procs").write_text(str(os.getpid()))


def populated(path: Path) -> bool:
    try:
        return "populated 1" in (path / "cgroup.events").read_text()
    except (FileNotFoundError, OSError):
        return False


def _rmdir(path: Path) -> None:
    for directory, _below, _files in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def destroy(path: Path, timeout_seconds: float = 15.0) -> None:
    """Kill every process in the group and remove it; repeated, since one may just be joining."""
    deadline = time.monotonic() + timeout_seconds
    while path.exists():
        with contextlib.suppress(FileNotFoundError):
            (path / "cgroup.kill").write_text("1")
        _rmdir(path)
        if path.exists():
            if time.monotonic() > deadline:
                raise RangeError(f"Processes in {path} do not end; `range down` again, and if that fails reboot this machine.")
            time.sleep(0.02)
    for parent in (path.parent, path.parent.parent):
        with contextlib.suppress(OSError):  # other hosts, other scopes
            parent.rmdir()
