# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who listens on which TCP port of this host, read from /proc: no `ss`, no `lsof`, nothing to install.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import ipaddress
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_LISTEN = "0A"  # the state's number in the kernel's include/net/tcp_states.h
_WILDCARDS = frozenset({"0.0.0.0", "::"})


class Listener(NamedTuple):
    """A socket in the LISTEN state. An IPv4 address mapped into IPv6 is written as IPv4: that is what it serves."""

    address: str
    port: int
    inode: int

    def __str__(self) -> str:
        return endpoint(self.address, self.port)


class Process(NamedTuple):
    pid: int
    comm: str

    def __str__(self) -> str:
        return f"{self.comm} (pid {self.pid})"


def endpoint(address: str, port: int) -> str:
    """`127.0.0.1:8080`, `[::1]:8080`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse(table: str) -> list[Listener]:
    """The listening sockets of the text of /proc/net/tcp or /proc/net/tcp6."""
    found = []
    for line in table.splitlines()[1:]:  # the first line is the heading
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, port = fields[1].split(":")
            found.append(Listener(_decode(address), int(port, 16), int(fields[9])))
    return found


def _decode(address: str) -> str:
    # The kernel prints each 32-bit word of the address in the byte order of the host.
    words = [int(address[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(address), 8)]
    ip = ipaddress.ip_address(b"".join(words))
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def listeners(proc: Path = Path("/proc")) -> list[Listener]:
    """All listening TCP sockets of this network namespace."""
    found: list[Listener] = []
    for name in ("tcp", "tcp6"):
        try:
            found += parse((proc / "net" / name).read_text(encoding="ascii"))
        except FileNotFoundError:  # tcp6 is missing where IPv6 is switched off
            continue
    return found


def clashing(found: Iterable[Listener], address: str, port: int) -> list[Listener]:
    """Those of `found` that would make a bind to this address and port fail.

    A wildcard takes every address of its family; `::` takes IPv4 as well, unless the socket is IPv6-only, which /proc does not
    tell: the careful answer is that it clashes.
    """
    return [held for held in found if held.port == port and _overlap(held.address, address)]


def _overlap(held: str, asked: str) -> bool:
    if held == asked or "::" in (held, asked):
        return True
    same_family = (":" in held) == (":" in asked)
    return same_family and bool(_WILDCARDS & {held, asked})


def owners(inodes: Collection[int], proc: Path = Path("/proc")) -> dict[int, Process]:
    """Which process holds each of these sockets; without root, only the caller's own processes can be told."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, Process] = {}
    for directory in proc.iterdir():
        if len(found) == len(wanted):
            break
        if not directory.name.isdecimal():
            continue
        for inode in {wanted[link] for link in _links(directory / "fd") if link in wanted}:
            found.setdefault(inode, Process(int(directory.name), _comm(directory)))
    return found


def _links(directory: Path) -> Iterator[str]:
    # Processes end and descriptors close while we read; those of others cannot be read without root.
    with contextlib.suppress(OSError):
        for link in directory.iterdir():
            with contextlib.suppress(OSError):
                yield str(link.readlink())


def _comm(directory: Path) -> str:
    try:
        return (directory / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"
