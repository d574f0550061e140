# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's daemon.json: nothing of what is there is lost."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._docker_daemon import LOGS, merged, parse, rendered, wanted_config
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

Config = dict[str, t.Any]


@pytest.mark.parametrize(("text", "config"), [(None, {}), ("", {}), (" \n", {}), ("{}", {}), ('{"debug": true}', {"debug": True})])
def test_what_is_there(text: str | None, config: Config) -> None:
    assert parse(text) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1,}', "is no JSON: "),
        ("debug: true", "is no JSON: "),
        ("[]", "has to be a JSON object, and is a list"),
        ("null", "and is a NoneType"),
    ],
)
def test_what_cannot_be_read_is_not_overwritten(text: str, says: str) -> None:
    with pytest.raises(UserError, match="it has been left as it is") as refused:
        parse(text)
    assert says in refused.value.msg


@pytest.mark.parametrize(
    ("config", "wanted", "result"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 1, "d": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"c": None}}, {"b": {}}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 2}}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"b": None}, {"a": 1}),
    ],
)
def test_merging(config: Config, wanted: Config, result: Config) -> None:
    before = json.dumps(config)
    assert merged(config, wanted) == result
    assert json.dumps(config) == before


def wanted(
    config: Config, *, live_restore: bool = True, cdi: bool = True, engine: str = "26.1.5+dfsg1", extra: Config | None = None
) -> Config:
    return wanted_config(config, live_restore=live_restore, cdi=cdi, engine_version=engine, extra=extra or {})


@pytest.mark.parametrize(
    ("config", "options", "result"),
    [
        ({}, {}, {**LOGS, "live-restore": True, "features": {"cdi": True}}),
        ({}, {"cdi": False}, {**LOGS, "live-restore": True}),
        ({}, {"cdi": False, "live_restore": False}, {**LOGS}),
        ({"live-restore": True}, {"cdi": False, "live_restore": False}, {**LOGS, "live-restore": False}),
        # From 28.2 on CDI is on by itself, unless somebody has turned it off.
        ({}, {"engine": "28.2.0"}, {**LOGS, "live-restore": True}),
        ({"features": {"cdi": False}}, {"engine": "29.0.1"}, {**LOGS, "live-restore": True, "features": {"cdi": True}}),
        ({}, {"engine": "28.1.9"}, {**LOGS, "live-restore": True, "features": {"cdi": True}}),
        ({}, {"engine": ""}, {**LOGS, "live-restore": True, "features": {"cdi": True}}),
        ({"features": {"buildkit": True}}, {}, {**LOGS, "live-restore": True, "features": {"buildkit": True, "cdi": True}}),
        # Options of one log driver are an error with another.
        ({"log-driver": "journald"}, {"cdi": False}, {"log-driver": "journald", "live-restore": True}),
        ({"log-opts": {"max-size": "1m"}}, {"cdi": False}, {"log-opts": {"max-size": "1m"}, "live-restore": True}),
        ({}, {"cdi": False, "extra": {"log-driver": "local"}}, {"log-driver": "local", "live-restore": True}),
        ({"mtu": 1400}, {"cdi": False, "extra": {"mtu": None}}, {**LOGS, "live-restore": True}),
    ],
)
def test_what_it_shall_say(config: Config, options: dict[str, t.Any], result: Config) -> None:
    assert wanted(config, **options) == result
    assert wanted(result, **options) == result, "once is enough"


def test_it_is_written_as_a_person_would() -> None:
    assert rendered({"b": 1, "a": {"c": "ä"}}) == '{\n    "b": 1,\n    "a": {\n        "c": "ä"\n    }\n}\n'
