# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server listens where it was asked to, and nowhere else.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Endpoint, Sockets


def parse_endpoint(text: str) -> Endpoint:
    """`127.0.0.1:8080`, `[::1]:8080` or `localhost:8080` as an address and a port."""
    host, port = text.rpartition(":")[::2]
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"expect.listen has {text!r}: write it as ADDRESS:PORT, with an IPv6 address in brackets.")
    try:
        resolved = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        raise UserError(f"expect.listen has {text!r}, but this host cannot resolve {host!r}: give an address.") from None
    return str(resolved[0][4][0]), int(port)


def judge_listeners(asked: Collection[Endpoint], sockets: Sockets) -> Check:
    """Exactly the sockets that were asked for, held by the server itself."""
    listens = ", ".join(endpoint(*one) for one in sorted(sockets.mine)) or "no port"
    if sockets.mine == set(asked):
        return Check("listeners", True, f"listens on {listens}")
    detail = f"listens on {listens}, you asked for {', '.join(endpoint(*one) for one in asked)}"
    if sockets.strangers:
        return Check(
            "listeners", False, f"{detail}; {', '.join(sockets.strangers)}", "Stop that process, or give the service another port."
        )
    remedy = "Restart the service if its host or port has changed."
    if any(ip_address(address).is_unspecified for address, port in sockets.mine - set(asked)):
        remedy += " As it is, the whole network can reach it."
    return Check("listeners", False, detail, remedy)
