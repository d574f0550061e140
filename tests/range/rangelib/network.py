# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bridge per scope: hosts reach each other, the outer machine and, masqueraded, whatever that machine reaches."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import shlex
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from .errors import RangeError
from .layout import Layout
from .process import run

IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
PREFIX = 24
FIRST_HOST, LAST_HOST = 10, 250

# Private networks that few sites use; the first one that overlaps no route of this machine is taken.
SUBNETS = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.213.77.0/24", "10.213.78.0/24", "172.30.213.0/24", "172.30.214.0/24", "192.168.213.0/24", "192.168.214.0/24")
)


# --- pure parts


def routed_networks(ip_json: str) -> list[ipaddress.IPv4Network]:
    """The destinations in the output of `ip -j -4 route show table all`, default routes left out."""
    found = []
    for route in json.loads(ip_json or "[]"):
        with contextlib.suppress(ValueError):
            network = ipaddress.IPv4Network(route["dst"], strict=False)
            if network.prefixlen:
                found.append(network)
    return found


def choose_subnet(taken: Collection[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    for subnet in SUBNETS:
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise RangeError(f"Every subnet the range may use ({', '.join(map(str, SUBNETS))}) is routed on this machine already.")


def choose_address(subnet: ipaddress.IPv4Network, taken: Collection[str]) -> str:
    for number in range(FIRST_HOST, LAST_HOST + 1):
        address = str(subnet[number])
        if address not in taken:
            return address
    raise RangeError(f"All addresses of {subnet} are in use; `range down` some hosts.")


def gateway(subnet: ipaddress.IPv4Network) -> str:
    return str(subnet[1])


def rules(bridge: str, subnet: ipaddress.IPv4Network) -> list[tuple[str, str, list[str]]]:
    """(table, chain, match and target): what a machine with a closed firewall (Docker's, for one) needs to let hosts out."""
    return [
        ("nat", "POSTROUTING", ["-s", str(subnet), "!", "-d", str(subnet), "-j", "MASQUERADE"]),
        ("filter", "FORWARD", ["-i", bridge, "-j", "ACCEPT"]),
        ("filter", "FORWARD", ["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"]),
        ("filter", "INPUT", ["-i", bridge, "-j", "ACCEPT"]),
    ]


def tables(iptables_save: str) -> dict[str, list[str]]:
    """Table → its rules and user-defined chains, from the output of iptables-save."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in iptables_save.splitlines():
        if line.startswith("*"):
            current = found.setdefault(line[1:], [])
        elif line.startswith("-A") or (line.startswith(":") and line.split()[1] == "-"):
            current.append(line)
    return found


def deletions(iptables_save: str, tag: str) -> list[list[str]]:
    """The iptables arguments that take out the rules carrying our comment, and no other."""
    return [
        ["-t", table, "-D", *words[1:]]
        for table, lines in tables(iptables_save).items()
        for words in map(shlex.split, lines)
        if words[0] == "-A" and "--comment" in words and words[words.index("--comment") + 1] == tag
    ]


# --- what touches the machine


def _iptables(*arguments: str, check: bool = True) -> bool:
    return run(["iptables", "--wait", *arguments], check=check).returncode == 0


def _save() -> str:
    return run(["iptables-save"]).stdout


def _link_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _record_before(layout: Layout) -> None:
    if layout.before.exists():
        return
    before: dict[str, Any] = {"ip_forward": IP_FORWARD.read_text().strip(), "iptables_tables": sorted(tables(_save()))}
    partial = layout.before.with_suffix(".partial")
    partial.write_text(json.dumps(before))
    partial.rename(layout.before)


def subnet_of(layout: Layout) -> ipaddress.IPv4Network | None:
    if not layout.network.exists():
        return None
    return ipaddress.IPv4Network(json.loads(layout.network.read_text())["subnet"])


def ensure(layout: Layout) -> ipaddress.IPv4Network:
    """Bring the network up, or complete one that an interrupted run left half-way. The caller holds the global lock."""
    _record_before(layout)
    subnet = subnet_of(layout)
    if subnet is None:
        subnet = choose_subnet(routed_networks(run(["ip", "-j", "-4", "route", "show", "table", "all"]).stdout))
        partial = layout.network.with_suffix(".partial")
        partial.write_text(json.dumps({"bridge": layout.bridge, "subnet": str(subnet)}))
        partial.rename(layout.network)
    if not _link_exists(layout.bridge):
        run(["ip", "link", "add", "name", layout.bridge, "type", "bridge"])
    run(["ip", "address", "replace", f"{gateway(subnet)}/{PREFIX}", "dev", layout.bridge])
    run(["ip", "link", "set", layout.bridge, "up"])
    for table, chain, rule in rules(layout.bridge, subnet):
        tagged = [*rule, "-m", "comment", "--comment", layout.tag]
        if not _iptables("-t", table, "-C", chain, *tagged, check=False):
            _iptables("-t", table, "-I", chain, *tagged)
    if IP_FORWARD.read_text().strip() != "1":
        IP_FORWARD.write_text("1")
    return subnet


def unplug(machine: str) -> None:
    """Take away the outer end of a host's cable, whose name the next host of that name needs.

    The kernel would do it with the host's network, at a moment of its own. A name too long for a link is an alternative name of it.
    """
    run(["ip", "link", "delete", f"vb-{machine}"], check=False)


def teardown(layout: Layout) -> None:
    """Take this scope's network away. The caller holds the global lock and no host is left."""
    for arguments in deletions(_save(), layout.tag):
        _iptables(*arguments)
    if _link_exists(layout.bridge):
        run(["ip", "link", "delete", layout.bridge])
    layout.network.unlink(missing_ok=True)


def restore_before(layout: Layout) -> None:
    """The last scope has gone: put the outer machine's own settings back."""
    if not layout.before.exists():
        return
    before = json.loads(layout.before.read_text())
    if before["ip_forward"] != IP_FORWARD.read_text().strip():
        IP_FORWARD.write_text(before["ip_forward"])
    _delete_empty_tables(set(before["iptables_tables"]))
    layout.before.unlink()


def _delete_empty_tables(keep: Iterable[str]) -> None:
    """iptables makes a table at the first rule and keeps it at the last; nft can take the empty one away again."""
    if not shutil.which("nft"):
        return
    for table, content in tables(_save()).items():
        if table not in keep and not content:
            run(["nft", "delete", "table", "ip", table], check=False)
