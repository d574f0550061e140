# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker's daemon.json: what is there is kept, what is wanted is added.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._docker_versions import CDI_DEFAULT_SINCE, numbers
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

PATH = "/etc/docker/daemon.json"
LOGS: Mapping[str, Any] = {"log-driver": "json-file", "log-opts": {"max-size": "50m", "max-file": "5"}}
"""So that the log of a container does not fill the disk. Left out where the file says anything about logs: options of one driver are an
error with another."""


def parse(text: str | None, path: str = PATH) -> dict[str, Any]:
    """Of no file, or an empty one, nothing."""
    if text is None or not text.strip():
        return {}
    remedy = f"Put {path} right (dockerd --validate says whether it is); it has been left as it is"
    try:
        config = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}. {remedy}", path=path) from error
    if not isinstance(config, dict):
        raise UserError(f"{path} has to be a JSON object, and is a {type(config).__name__}. {remedy}", path=path)
    return config


def merged(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """``wanted`` over ``config``, key by key; null takes a key out. Lists are replaced."""
    result = dict(config)
    for key, value in wanted.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def wanted_config(
    config: Mapping[str, Any], *, live_restore: bool, cdi: bool, engine_version: str, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """The file as it shall be."""
    result = dict(config) if any(key in config or key in extra for key in LOGS) else merged(config, LOGS)
    if live_restore or "live-restore" in config:
        result = merged(result, {"live-restore": live_restore})
    features = config.get("features")
    forbidden = isinstance(features, Mapping) and features.get("cdi") is False
    if cdi and (forbidden or numbers(engine_version) < CDI_DEFAULT_SINCE):
        result = merged(result, {"features": {"cdi": True}})
    return merged(result, extra)


def rendered(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=4, ensure_ascii=False) + "\n"
