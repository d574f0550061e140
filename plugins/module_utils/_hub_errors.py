# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure of the hub, of the way to it or of its client means to the operator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._command import without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubFailure


@dataclass(frozen=True)
class Asked:
    """What the hub was asked for, and by whom."""

    repo_id: str
    revision: str
    endpoint: str
    with_token: bool
    cache_dir: Path
    python: str
    own_python: bool


def explained(failure: HubFailure, asked: Asked) -> UserError:
    kind = UnavailableError if failure.transient else UserError
    return kind(_message(failure, asked), **failure.details)


def _message(failure: HubFailure, asked: Asked) -> str:
    endpoint, repo_id = without_credentials(asked.endpoint).rstrip("/"), asked.repo_id
    page = f"{endpoint}/{repo_id}"
    what = f"{failure.path} of {repo_id}" if failure.path else repo_id
    if failure.kind == "http":
        return _http_message(failure, asked, endpoint, what)
    if failure.kind == "gated":
        whose = "with the account of this token, or give one of an account that has" if asked.with_token else "and give a token (token)"
        return f"{repo_id} is gated, so only accounts that have accepted its terms may download it; accept them at {page} {whose}"
    if failure.kind == "no_repository":
        hidden = (
            "the token may not read it; correct the name, or give another"
            if asked.with_token
            else "it is private; correct the name, or give a"
        )
        return f"repo_id: {endpoint} has no {repo_id}, or {hidden} token that may read it"
    if failure.kind == "no_revision":
        return f"revision: {repo_id} has no commit, branch or tag {asked.revision!r}; {page}/tree/main shows those that it has"
    if failure.kind == "no_file":
        return f"files: the hub lists {what} at {asked.revision}, but does not give it; run this again, or take another revision"
    if failure.kind == "network" and failure.path:
        return (
            f"the connection broke again and again while {what} came ({failure.detail}); run this again, it goes on from what has arrived"
        )
    if failure.kind == "network":
        return f"{endpoint} can't be reached ({failure.detail}); check the network, the proxy (HTTPS_PROXY) and the address (endpoint)"
    if failure.kind == "size":
        return f"{what} ended too early again and again; run this again, it goes on from what has arrived"
    if failure.kind == "corrupt":
        return (
            f"{what} arrived damaged twice ({failure.detail} is not what the hub says it has), and nothing of it was kept; "
            f"run this again, and if it stays so find out what between this host and {endpoint} changes files"
        )
    if failure.kind == "space":
        return (
            f"cache_dir: no space was left on the file system of {asked.cache_dir} while {what} came; "
            "free some and run this again, it goes on from what has arrived"
        )
    if failure.kind == "disk":
        return f"cache_dir: {what} can't be written below {asked.cache_dir}: {failure.detail}; repair or replace the file system"
    if failure.kind == "answer":
        return (
            f"endpoint: {endpoint} does not answer as the hub does ({failure.detail}); correct the address, or bring its mirror up to date"
        )
    if failure.kind == "killed":
        return (
            f"the hub's client was killed ({failure.detail}), perhaps for lack of memory; run this again, it goes on from what has arrived"
        )
    if failure.kind == "client" and asked.own_python:
        return f"the hub's client at {asked.python} does not work ({failure.detail}); remove its directory, then it is installed anew"
    if failure.kind == "client":
        return f"python: the hub's client at {asked.python} does not work ({failure.detail}); leave python out to have one installed"
    return f"the hub's client can't bring {what}: {failure.detail}"


def _http_message(failure: HubFailure, asked: Asked, endpoint: str, what: str) -> str:
    status = failure.status or 0
    if status == 401:
        return f"token: {endpoint} refuses it (401), so it has expired or is mistyped; make a new one at {endpoint}/settings/tokens"
    if status == 403:
        rights = "the token's rights do not reach so far; give one with" if asked.with_token else "it takes a token; give one with"
        return f"token: {endpoint} does not give {what} (403), {rights} read access to {asked.repo_id}"
    if status == 429:
        wait = f" in {failure.retry_after} s" if failure.retry_after else " later"
        token = "" if asked.with_token else ", or give a token (token), which may ask more often"
        return f"{endpoint} has been asked too often from here (429); run this again{wait}{token}"
    if status >= 500:
        return f"{endpoint} has a problem of its own ({status}), also when asked again; run this later, it goes on from what has arrived"
    return f"{endpoint} does not give {what} (status {status}: {failure.detail}); check repo_id, revision and endpoint"
