# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import sys

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import Listener, clashing, endpoint, listeners, owners, parse

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the recorded tables are from a little-endian host")

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 103 1 0000000042b54f9c 100 0 0 10 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 4711 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000   998        0 4712 1 0000000000000000 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 55 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 56 1 0 100 0 0 10 0
   2: B80D0120000000000000000001000000:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 57 1 0 100 0 0 10 0
"""


def test_only_listening_sockets_are_parsed() -> None:
    assert parse(TCP) == [Listener("0.0.0.0", 2024, 103), Listener("127.0.0.1", 8080, 4711)]


def test_ipv6_mapped_ipv4_is_told_as_ipv4() -> None:
    assert parse(TCP6) == [Listener("::1", 8081, 55), Listener("127.0.0.1", 8082, 56), Listener("2001:db8::1", 8083, 57)]


@pytest.mark.parametrize("table", ["", "  sl  local_address rem_address   st\n", "heading\nnonsense\n"])
def test_nothing_to_parse(table: str) -> None:
    assert parse(table) == []


@pytest.mark.parametrize(
    ("held", "asked", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("::", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
        ("::1", "0.0.0.0", False),
        ("0.0.0.0", "::1", False),
    ],
)
def test_clashing_addresses(held: str, asked: str, clash: bool) -> None:
    listener = Listener(held, 8080, 1)
    assert clashing([listener], asked, 8080) == ([listener] if clash else [])
    assert clashing([listener], asked, 8081) == []


def test_endpoints_bracket_ipv6() -> None:
    assert (endpoint("127.0.0.1", 1), endpoint("::1", 2)) == ("127.0.0.1:1", "[::1]:2")


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_real_socket_is_found_with_its_process(family: socket.AddressFamily, address: str) -> None:
    if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("IPv6 is switched off")
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        (mine,) = clashing(listeners(), address, port)
        assert (mine.address, mine.inode) == (address, os.fstat(server.fileno()).st_ino)
        assert owners([mine.inode])[mine.inode].pid == os.getpid()
    assert clashing(listeners(), address, port) == []
