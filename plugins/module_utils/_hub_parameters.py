# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters by which a module names a model of the hub, and what they ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._delivery import ARGUMENTS, delivery_of
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_access import access_of
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import DEFAULT_CACHE, RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_environment import DEFAULT_DIRECTORY, HubEnvironment
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import (
    DEFAULT_ENDPOINT,
    DEFAULT_REVISION,
    check_endpoint,
    check_path,
    check_repo_id,
    check_revision,
    check_token,
    parse_lock,
)
from ansible_collections.baremetal.llm.plugins.module_utils._hub_plan import Request
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubClient

_LOCKED_FILE = {
    "path": {"type": "str", "required": True},
    "size": {"type": "int", "required": True},
    "sha256": {"type": "str", "required": True},
}
PLACE_SPEC: dict[str, Any] = {
    "cache_dir": {"type": "path", "default": DEFAULT_CACHE},
    "group": {"type": "str"},
    "endpoint": {"type": "str", "default": DEFAULT_ENDPOINT},
    "token": {"type": "str", "no_log": True},
    "offline": {"type": "bool", "default": False},
    "python": {"type": "path"},
    "client_directory": {"type": "path", "default": DEFAULT_DIRECTORY},
    "timeout": {"type": "int", "default": 30},
    "bundle": ARGUMENTS["bundle"],
}
"""Where models come from and go to."""

MODEL_SPEC: dict[str, Any] = {
    "repo_id": {"type": "str", "required": True},
    "revision": {"type": "str"},
    "files": {"type": "list", "elements": "str", "default": []},
    "expected": {
        "type": "dict",
        "options": {
            "commit": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "dict", "required": True, "options": _LOCKED_FILE},
        },
    },
}
"""Which model."""


def checked_cache(params: Mapping[str, Any]) -> RepoCache:
    """The cache that is meant, once all that names something has been found to be sound."""
    check_repo_id(params["repo_id"])
    if params["revision"] is not None:
        check_revision(params["revision"])
    for index, name in enumerate(params["files"]):
        check_path(f"files[{index}]", name)
    check_endpoint(params["endpoint"])
    if params["token"]:
        check_token(params["token"])
    if params["timeout"] < 1:
        raise UserError(f"timeout: {params['timeout']} is no time to wait; give a number of seconds, such as 30")
    for name in ("cache_dir", "client_directory", "python"):
        if params[name] and not os.path.isabs(params[name]):
            raise UserError(f"{name}: {params[name]!r} is not an absolute path; give the path on the host from / on")
    return RepoCache(params["cache_dir"], params["repo_id"], access_of(params["group"]))


def request_of(params: Mapping[str, Any], cache: RepoCache, *, trust: bool = True) -> Request:
    return Request(
        cache=cache,
        revision=params["revision"] or DEFAULT_REVISION,
        patterns=tuple(params["files"]),
        lock=parse_lock(params["expected"]) if params["expected"] else None,
        offline=params["offline"],
        delivery=delivery_of(params),
        trust=trust,
        with_token=bool(params["token"]),
    )


def environment_of(params: Mapping[str, Any], scratch: str) -> HubEnvironment:
    client = HubClient(params["python"] or "", params["endpoint"].rstrip("/"), params["token"] or None, params["timeout"], Path(scratch))
    return HubEnvironment(Path(params["client_directory"]), client)
