# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._service_request import Request, request_problems

REQUEST = Request(
    state="present",
    service={"name": "chat"},
    binary="/opt/llama.cpp/current/bin/llama-server",
    user="inference",
    group="inference",
    unit_directory="/etc/systemd/system",
    config_directory="/etc/inference",
    state_directory="/var/lib/inference",
    hub_cache="/var/lib/inference/hub",
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"service": {"name": "a/b"}}, [("name_invalid", "name: 'a/b'")]),
        ({"binary": ""}, [("missing_key", "binary is missing")]),
        ({"binary": "", "state": "absent"}, []),
        ({"binary": "llama-server"}, [("path_relative", "binary: 'llama-server'")]),
        ({"hub_cache": "hub"}, [("path_relative", "hub_cache: 'hub'")]),
        ({"group": "in\nference"}, [("unsafe_text", "group holds")]),
        ({"user": "%u", "group": "%u"}, [("unsafe_text", "user holds")]),  # a group that is called like the user is told once
        (
            {"config_directory": "100%", "state": "absent", "service": {"name": ""}},
            [("name_invalid", "name: ''"), ("unsafe_text", "config_directory holds"), ("path_relative", "config_directory: '100%'")],
        ),
    ],
)
def test_what_is_wrong_with_the_parameters(change: dict[str, object], expected: list[tuple[str, str]]) -> None:
    problems = list(request_problems(replace(REQUEST, **change)))
    assert [problem.code for problem in problems] == [code for code, _told in expected]
    assert all(problem.message.startswith(told) for problem, (_code, told) in zip(problems, expected, strict=True))
