# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a server to become healthy, as long as there is hope.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import time

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, RequestError
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import OK, READ_LOG, UNAVAILABLE
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Runner

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks at /health
_LONGEST_LOOK = 10.0  # seconds that one of them may take


def wait_until_healthy(client: Client, runner: Runner, timeout: float, when_unavailable: str = "") -> tuple[Check, float | None]:
    """Wait through "connection refused" and "loading"; give up early when the server cannot come up. Also the seconds waited, if any.

    ``when_unavailable``: what status 503 means to an engine that does not say "loading" with it.
    """
    started = time.monotonic()
    end = started + timeout
    first = runner.state()
    restarts_before = first.restarts if first else 0
    pause = _FIRST_PAUSE
    waited = False
    while True:
        status, reason, hopeless = _ask_health(client, max(0.1, min(end - time.monotonic(), _LONGEST_LOOK)))
        now = runner.state()
        trouble = now.trouble(restarts_before) if now else None
        if now and trouble:
            return Check("health", False, trouble + runner.last_words(), now.remedy or READ_LOG), None
        if status == OK:
            seconds = round(time.monotonic() - started, 2) if waited else None
            return Check("health", True, f"healthy after {seconds:g} s" if seconds is not None else "healthy"), seconds
        if status == UNAVAILABLE and when_unavailable:
            return Check("health", False, f"{reason}: {when_unavailable}", f"{READ_LOG} Then restart it."), None
        if hopeless:
            return Check("health", False, reason, "Check base_url: is another server listening there?"), None
        remaining = end - time.monotonic()
        if remaining <= 0:
            remedy = f"{READ_LOG} If it only needs longer to load its model, raise the timeout."
            return Check("health", False, f"not healthy within {timeout:g} s; at last: {reason}", remedy), None
        time.sleep(min(pause, remaining))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        waited = True


def _ask_health(client: Client, timeout: float) -> tuple[int | None, str, bool]:
    """The status of /health, what it means, and whether asking again is pointless."""
    try:
        reply = client.get("/health", timeout=timeout)
    except RequestError as error:
        return None, str(error), error.permanent
    words = reply.excerpt()
    reason = f"GET /health is answered {reply.status}" + (f": {words}" if words else "")
    is_client_error = 400 <= reply.status < 500  # what neither engine ever answers to /health
    return reply.status, reason, is_client_error
