# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows for a host from what was planned for each of its services."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._plan_input import parse_hosts
from ansible_collections.baremetal.llm.plugins.module_utils._plan_report import Host, summary_of
from ansible_collections.baremetal.llm.plugins.module_utils._quantity import Amount
from ansible_collections.baremetal.llm.tests.plan_samples import a10, fleet, plan, problem, rtx5090, share, unknown_model, vllm

MEMORY = 10_000
UUID = "GPU-8b89b58e"


def parsed(entry: dict[str, Any]) -> Host:
    return parse_hosts([entry])[0]


def service(name: str, *shares: dict[str, Any], fits: bool | None = True, gpus: tuple[object, ...] = (0,)) -> dict[str, Any]:
    return {"name": name, "gpus": list(gpus), "fits": fits, "plan": plan(*shares) if shares else None}


def one_gpu(*services: dict[str, Any], memory: float | None = MEMORY, **more: Any) -> Host:
    return parsed({"host": "h", "gpus": [{"index": 0, "memory_mib": memory, "uuid": UUID}], "services": list(services), **more})


ALL = share(MEMORY, 4000, 0, 1000, 500, 500)  # known to the last
PART = share(MEMORY, 4000, 0, None, 500, 500)
NOTHING = share(None, *[None] * 5)


@pytest.mark.parametrize(
    ("services", "memory", "expected", "weights", "free"),
    [
        ((), MEMORY, MEMORY, Amount(0), MEMORY),
        ((service("a", ALL),), MEMORY, MEMORY, Amount(4000), 4000),
        ((service("a", ALL), service("b", ALL)), MEMORY, MEMORY, Amount(8000), -2000),
        ((service("a", ALL), service("b", PART)), MEMORY, MEMORY, Amount(8000), None),
        # Where a part is not known, it is not known what is left, whatever the plan takes to be left.
        ((service("a", {**PART, "free_mib": 5000}),), MEMORY, MEMORY, Amount(4000), None),
        ((service("a", ALL), service("b")), MEMORY, MEMORY, Amount(4000, complete=False), None),
        ((service("a", gpus=(UUID,)),), MEMORY, MEMORY, Amount(complete=False), None),
        ((service("a", gpus=(1,)),), MEMORY, MEMORY, Amount(0), MEMORY),
        ((service("a", gpus=()),), MEMORY, MEMORY, Amount(0), MEMORY),
        # Before there is a driver, only the plan knows how much memory such a GPU has.
        ((service("a", ALL),), None, MEMORY, Amount(4000), 4000),
        ((service("a", NOTHING), service("b", ALL)), None, MEMORY, Amount(4000, complete=False), None),
        ((service("a", NOTHING),), None, None, Amount(complete=False), None),
    ],
)
def test_the_memory_of_a_gpu_is_what_all_its_services_take(
    services: tuple[dict[str, Any], ...], memory: float | None, expected: float | None, weights: Amount, free: float | None
) -> None:
    (use,) = one_gpu(*services, memory=memory).uses
    assert (use.memory_mib, use.parts["weights_mib"], use.free_mib) == (expected, weights, free)


@pytest.mark.parametrize(
    ("drivers", "overhead"),
    [
        ((None,), 500),
        ((450,), 500),
        ((450, 450), 550),
        ((None, None), 1000),
        ((450, 470), 550),
        ((450, None), 1000),
        ((450, 450, 450), 600),
    ],
)
def test_what_the_driver_keeps_back_is_counted_once(drivers: tuple[float | None, ...], overhead: float) -> None:
    services = [service(str(number), {**ALL, "driver_mib": driver}) for number, driver in enumerate(drivers)]
    assert one_gpu(*services).uses[0].parts["overhead_mib"] == Amount(overhead)


def test_a_plan_has_the_gpus_of_its_service_in_their_order() -> None:
    gpus = [{"index": index, "memory_mib": MEMORY, "uuid": f"GPU-{index}"} for index in range(3)]
    two = service("a", {**ALL, "weights_mib": 1}, {**ALL, "weights_mib": 2}, gpus=("GPU-2", 0))
    named = service("b", {**ALL, "index": 1, "weights_mib": 3}, gpus=(2,))
    lost = service("c", {**ALL, "weights_mib": 4}, gpus=(7,))
    host = parsed({"host": "h", "gpus": gpus, "services": [two, named, lost]})
    assert [(use.services, use.parts["weights_mib"].exact) for use in host.uses] == [(("a",), 2), (("b",), 3), (("a",), 1)]


@pytest.mark.parametrize(
    ("services", "lacking", "problems"),
    [
        ((service("a", ALL),), None, []),
        ((service("a", ALL), service("b", ALL)), Amount(2000), [("gpu_shared_too_small", None)]),
        # Not all of it is known, but enough to know.
        (
            (service("a", ALL), service("b", share(MEMORY, 7000, None, None, None, None), fits=None)),
            Amount(3000, complete=False),
            [("gpu_shared_too_small", None)],
        ),
        ((service("a", ALL), service("b", PART, fits=None)), Amount(1000, complete=False), [("gpu_shared_too_small", None)]),
        ((service("a", share(MEMORY, 12000, 0, 0, 0, 0), fits=False),), Amount(2000), [("does_not_fit", "a")]),
        ((service("a", share(MEMORY, 12000, 0, 0, 0, 0), fits=True),), Amount(2000), [("does_not_fit", "a")]),
        ((service("a", ALL, fits=False),), None, [("does_not_fit", "a")]),
    ],
)
def test_what_does_not_fit_is_an_error(
    services: tuple[dict[str, Any], ...], lacking: Amount | None, problems: list[tuple[str, str | None]]
) -> None:
    host = one_gpu(*services)
    assert host.uses[0].lacking == lacking
    assert [(finding.problem.code, finding.service) for finding in host.findings if finding.is_error] == problems
    assert host.fits is (not problems)


def test_an_error_that_says_why_stands_alone() -> None:
    why = problem("kv_cache_too_large", "error", "The KV cache takes 40 GiB", "Set cache_type_k to q8_0", "a")
    host = one_gpu(service("a", ALL, fits=False), problems=[why, why])
    assert [finding.problem.code for finding in host.findings] == ["kv_cache_too_large"]
    # The same, from the plan itself.
    of_plan = {key: why[key] for key in ("code", "severity", "message", "remedy")}
    host = one_gpu({**service("a"), "plan": {**plan(ALL), "fits": False, "problems": [of_plan]}, "fits": None}, problems=[why])
    assert [(finding.problem.code, finding.service) for finding in host.findings] == [("kv_cache_too_large", "a")]
    assert host.fits is False


@pytest.mark.parametrize(
    ("missing", "free", "message"),
    [
        ((5, 6), 11, None),
        ((5, 6), 10, "/models has 10 bytes left, and 11 bytes are still to be fetched into it"),
        ((5, None), 4, "/models has 4 bytes left, and at least 5 bytes are still to be fetched into it"),
        ((5, None), 5, None),
        ((5, 6), None, None),
    ],
)
def test_all_models_of_a_directory_have_to_go_into_it(missing: tuple[int | None, ...], free: int | None, message: str | None) -> None:
    models = [{"missing_bytes": size, "directory": "/models", "free_bytes": free} for size in missing]
    host = parsed({"host": "h", "models": [*models, {"missing_bytes": 100, "directory": "/elsewhere", "free_bytes": 200}]})
    assert [finding.problem.message for finding in host.findings] == ([message] if message else [])
    assert host.fits  # the memory does not depend on the disk


@pytest.mark.parametrize(
    ("entry", "fits", "errors", "warnings"),
    [(a10(), True, 0, 0), (rtx5090(), True, 0, 1), (vllm(), False, 3, 0), (unknown_model(), None, 0, 1), ({"host": "idle"}, True, 0, 0)],
)
def test_the_verdict_on_a_host(entry: dict[str, Any], fits: bool | None, errors: int, warnings: int) -> None:
    host = parsed(entry)
    assert (host.fits, host.errors, host.warnings) == (fits, errors, warnings)


def test_errors_come_first() -> None:
    told = [problem("w", "warning", "m", "r"), problem("e", "error", "m", "r"), problem("v", "warning", "m", "r")]
    assert [finding.problem.code for finding in parsed({"host": "h", "problems": told}).findings] == ["e", "w", "v"]


def test_a_service_that_fits_alone_is_told_from_one_that_fits() -> None:
    host = parsed(vllm())
    assert [host.crowds(each) for each in host.services] == [True, True]
    host = parsed(a10())
    assert [host.crowds(each) for each in host.services] == [False]


def test_the_summary() -> None:
    assert summary_of(parse_hosts(fleet())).as_dict() == {
        "hosts": 5,
        "fit": 3,
        "do_not_fit": 1,
        "unknown": 1,
        "errors": 3,
        "warnings": 2,
        "missing_bytes": None,  # a size is not known
    }
    assert summary_of(parse_hosts([a10(1), a10(2), rtx5090()])).as_dict()["missing_bytes"] == 2 * 6037235712


def test_the_json_of_a_host_is_what_was_given_and_what_follows() -> None:
    told = json.loads(json.dumps(parsed(vllm()).as_dict(), allow_nan=False))
    assert told["host"] == "vllm-1.example.org" and told["fits"] is False
    given = vllm()
    for key in ("groups", "driver", "toolkit"):
        assert told[key] == given[key]
    for service_told, service_given in zip(told["services"], given["services"], strict=True):
        for key in ("kv_bytes_per_token", "tokens_per_slot", "slots", "capacity", "estimates", "calibrated", "problems"):
            assert service_told["plan"][key] == service_given["plan"][key]
        assert service_told["plan"]["gpus"] == [{"index": 0, **service_given["plan"]["gpus"][0]}]
    (suggestion,) = given["services"][1]["plan"]["suggestions"]
    assert told["services"][1]["plan"]["suggestions"] == [{key: value for key, value in suggestion.items() if key != "file"}]
    assert told["models"][0]["files"] == given["models"][0]["files"]
    assert told["models"][0]["missing_bytes"] is None
    assert told["gpus"][0] == {
        "index": 0,
        "name": "NVIDIA GeForce RTX 4090",
        "memory_mib": 24564,
        "uuid": "GPU-0",
        "compute_capability": "8.9",
        "services": ["mistral-7b", "qwen3-4b"],
        "weights_mib": 6341,
        "mmproj_mib": 0,
        "kv_cache_mib": 18954,
        "compute_mib": 1205,
        "overhead_mib": 1492,
        "free_mib": -3428,
    }
    assert told["gpus"][1]["services"] == []
    assert [each["code"] for each in told["problems"]] == ["driver_too_old", "gpu_shared_too_small", "disk_too_small"]
