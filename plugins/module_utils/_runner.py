# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs a server, as far as the probe asks: a unit of systemd, a container, or nobody that can be asked.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._listeners import Listener, Process, listeners, owners

Endpoint = tuple[str, int]


class State(Protocol):
    """What the runner says now."""

    @property
    def restarts(self) -> int: ...

    @property
    def remedy(self) -> str:
        """What to do about its trouble, where the runner itself knows."""

    def trouble(self, restarts_before: int) -> str | None:
        """Why waiting is pointless, or None. Each start is one chance: a restart counts as a failure."""


class Sockets(NamedTuple):
    mine: frozenset[Endpoint]
    """Where the server is reached."""
    strangers: tuple[str, ...] = ()
    """Sockets that were to be its own, with those who hold them."""


class Runner(Protocol):
    def state(self) -> State | None:
        """None where nobody tells."""

    def last_words(self) -> str:
        """What was said before the trouble, as the end of a sentence; nothing where that tells nothing."""

    def log_of_start(self) -> Sequence[str]:
        """The first lines since the latest start, the model's loading included."""

    def log(self) -> list[str]:
        """The last lines."""

    def owns(self, pid: int) -> bool: ...

    def sockets(self, asked: Collection[Endpoint]) -> Sockets: ...


def signal_name(number: int) -> str:
    """What ended a process, as both runners tell it by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Nobody:
    """A server whose runner was not named."""

    def state(self) -> None:
        return None

    def last_words(self) -> str:
        return ""

    def log_of_start(self) -> list[str]:
        return []

    def log(self) -> list[str]:
        return []

    def owns(self, pid: int) -> bool:
        return False

    def sockets(self, asked: Collection[Endpoint]) -> Sockets:
        return sockets_on_this_host(asked, None)


def sockets_on_this_host(asked: Collection[Endpoint], owns: Callable[[int], bool] | None) -> Sockets:
    found = listeners()
    return sockets_of(asked, found, owners([listener.inode for listener in found]), owns)


def sockets_of(
    asked: Collection[Endpoint], found: Sequence[Listener], holders: Mapping[int, Process], owns: Callable[[int], bool] | None
) -> Sockets:
    """Which sockets are the server's own.

    With nothing to tell its processes by, those on the asked ports; so are those whose owner is not to be seen.
    """
    ports = {port for address, port in asked}
    mine, strangers = set(), []
    for listener in found:
        place, holder = (listener.address, listener.port), holders.get(listener.inode)
        if owns and holder and not owns(holder.pid):
            if place in asked:
                strangers.append(f"{listener} is held by {holder}")
        elif listener.port in ports or (owns and holder):
            mine.add(place)
    return Sockets(frozenset(mine), tuple(strangers))
