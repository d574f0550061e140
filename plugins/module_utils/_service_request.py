# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for of one service: the module's parameters, and what is wrong with them whatever the host is like.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error
from ansible_collections.baremetal.llm.plugins.module_utils._service import name_problem, text_problem


@dataclass(frozen=True)
class Request:
    """Each field is the parameter of this name."""

    state: str
    service: Mapping[str, Any]
    """As it is written; only a service that is to be present is read."""
    binary: str
    """Empty where none was given."""
    user: str
    group: str
    unit_directory: str
    config_directory: str
    state_directory: str
    hub_cache: str
    base_image: str = ""
    """What a release of the host runs in where a container does."""
    pull: bool = True
    """Whether an image that is not there may be fetched."""

    @property
    def name(self) -> str:
        name: str = self.service["name"]
        return name

    @property
    def needs_binary(self) -> bool:
        """Whether the engine is the release of the host, and not one that an image brings."""
        image = self.service.get("manager") == "compose" and self.service.get("image")
        return self.service.get("engine") != "vllm" and not image


def request_problems(request: Request) -> Iterator[Problem]:
    problem = name_problem(request.name)
    if problem:
        yield problem
    if request.state == "present" and not request.binary and request.needs_binary:
        yield error("missing_key", "binary is missing", "Give the path of llama-server, as baremetal.llm.llama_build returns it")
    group = {} if request.group == request.user else {"group": request.group}
    directories = {
        "unit_directory": request.unit_directory,
        "config_directory": request.config_directory,
        "state_directory": request.state_directory,
        "hub_cache": request.hub_cache,
    }
    for key, text in {"binary": request.binary, "user": request.user, **group, **directories}.items():
        problem = text_problem(key, text)
        if problem:
            yield problem
    for key, path in {"binary": request.binary, **directories}.items():
        if path and not os.path.isabs(path):
            yield error("path_relative", f"{key}: {path!r} is not an absolute path", "Give the absolute path on the host")
