# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import clean, parse_hosts
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import Amount
from ansible_collections.baremetal.llm.tests.plan_samples import a10, fleet


def changed(path: str, value: Any) -> dict[str, Any]:
    """A host with one value in place of another, such as that of services.0.port."""
    host = copy.deepcopy(a10())
    *parents, last = path.split(".")
    place: Any = host
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value
    return host


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("host", "", "hosts[0].host is ''. Give a text."),
        ("host", None, "hosts[0].host is None. Give a text."),
        ("groups", "a10", "hosts[0].groups is 'a10'. Give a list of texts."),
        ("gpus", {"index": 0}, "hosts[0].gpus is {'index': 0}. Give a list of dicts."),
        ("gpus.0.memory_mib", "22 GiB", "hosts[0].gpus[0].memory_mib is '22 GiB'. Give a number from 0 on, or null where it is not known."),
        ("gpus.0.memory_mib", -1, "hosts[0].gpus[0].memory_mib is -1. Give a number from 0 on, or null where it is not known."),
        ("gpus.0.memory_mib", float("nan"), "hosts[0].gpus[0].memory_mib is nan. Give a number from 0 on, or null where it is not known."),
        ("gpus.0.memory_mib", 1e300, "hosts[0].gpus[0].memory_mib is 1e+300. Give a number from 0 on, or null where it is not known."),
        ("gpus.0.memory_mib", True, "hosts[0].gpus[0].memory_mib is True. Give a number from 0 on, or null where it is not known."),
        ("gpus.0.index", 0.5, "hosts[0].gpus[0].index is 0.5. Give a whole number from 0 on, or null where it is not known."),
        ("gpus.0.name", 5090, "hosts[0].gpus[0].name is 5090. Give a text, or null where it is not known."),
        (
            "gpus",
            [{"index": 1}, {"index": 1}],
            "hosts[0].gpus has the indices 1, 1. Give each GPU an index of its own.",
        ),
        (
            "services.0.plan.gpus.0.index",
            3,
            "hosts[0]: the plan of 'qwen2-vl' has a GPU of index 3, and gpus has 0. Give the plan that was made for the GPUs of this host.",
        ),
        ("driver", "580", "hosts[0].driver is '580'. Give a dict."),
        ("toolkit.architectures", [None], "hosts[0].toolkit.architectures is [None]. Give a list of texts."),
        ("models.0.files.1.path", None, "hosts[0].models[0].files[1].path is None. Give a text."),
        (
            "models.0.files.1.present",
            "yes",
            "hosts[0].models[0].files[1].present is 'yes'. Give true or false, or null where it is not known.",
        ),
        ("services.0.fits", 1, "hosts[0].services[0].fits is 1. Give true or false, or null where it is not known."),
        ("services.0.plan.gpus.0.weights_mib", [], "hosts[0].services[0].plan.gpus[0].weights_mib is []. Give a number from 0 on"),
        ("services.0.plan.estimates", ["compute"], "hosts[0].services[0].plan.estimates[0] is 'compute'. Give a dict."),
        (
            "services.0.plan.capacity",
            {"kv_cache_tokens": -1},
            "hosts[0].services[0].plan.capacity.kv_cache_tokens is -1. Give a number from 0 on",
        ),
        (
            "services.0.plan.suggestions",
            [{"code": "x", "message": "m", "options": {"a": [1]}}],
            "hosts[0].services[0].plan.suggestions[0].options is {'a': [1]}. Give a dict of texts, numbers and booleans.",
        ),
        (
            "services.0.plan.problems",
            [{"code": "x", "severity": "hint", "message": "m", "remedy": "r"}],
            "hosts[0].services[0].plan.problems[0].severity is 'hint'. Give error or warning.",
        ),
        ("services.0.plan.suggestions", [{"code": "x"}], "hosts[0].services[0].plan.suggestions[0].message is None. Give a text."),
        (
            "problems",
            [{"code": "x", "severity": "fatal", "message": "m", "remedy": "r"}],
            "hosts[0].problems[0].severity is 'fatal'. Give error or warning.",
        ),
        ("services", [["qwen2-vl"]], "hosts[0].services[0] is ['qwen2-vl']. Give a dict."),
    ],
)
def test_what_is_wrong_is_told_with_its_place(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as failure:
        parse_hosts([changed(path, value)])
    assert failure.value.msg.startswith(message)


def test_a_value_of_any_length_is_told_in_short() -> None:
    with pytest.raises(UserError) as failure:
        parse_hosts([changed("gpus.0.index", "x" * 10_000)])
    assert len(failure.value.msg) < 200


def test_a_host_is_given_once() -> None:
    with pytest.raises(UserError, match="hosts has 'a10-1' twice"):
        parse_hosts([a10(), a10()])


def test_all_but_the_name_may_be_unknown() -> None:
    (host,) = parse_hosts([{"host": "bare", "gpus": [{}], "models": [{}], "services": [{"name": "s", "plan": {"gpus": [], "host": {}}}]}])
    assert host.gpus[0].memory_mib is None
    assert host.models[0].missing == Amount(complete=False)
    assert host.services[0].fits is None
    assert host.driver is None
    assert host.given == ()


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ([(10, False), (5, True)], Amount(10)),
        ([(10, False), (None, False)], Amount(10, complete=False)),
        ([(10, False), (None, True)], Amount(10)),
        ([(10, False), (5, None)], Amount(10, complete=False)),
    ],
)
def test_what_is_to_be_fetched_is_added_up_where_nobody_has(files: list[tuple[int | None, bool | None]], missing: Amount) -> None:
    given = [{"path": str(index), "size": size, "present": present} for index, (size, present) in enumerate(files)]
    (host,) = parse_hosts([{"host": "h", "models": [{"files": given}]}])
    assert host.models[0].missing == missing


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Qwen3-VL 30B · größer", "Qwen3-VL 30B · größer"),
        ("two\nlines\tand\u00a0more", "two lines and more"),
        ("\x1b[31mred\x07\x00", "\ufffd[31mred\ufffd\ufffd"),
        ("right\u202eto left", "right\ufffdto left"),
    ],
)
def test_no_text_steers_a_terminal(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_the_samples_are_understood() -> None:
    assert [host.name for host in parse_hosts(fleet())] == ["a10-1", "a10-2", "rtx5090-1", "vllm-1.example.org", "lab"]
