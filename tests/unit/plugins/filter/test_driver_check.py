# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.filter.driver_check import FilterModule

driver_check = FilterModule().filters()["driver_check"]
GPU = {"name": "NVIDIA A10", "pci_bus_id": "0000:17:00.0", "pci_id": "10de:2236", "uuid": "GPU-1"}
OTHER = {"name": "NVIDIA A10", "pci_bus_id": "0000:31:00.0", "pci_id": "10de:2236", "uuid": "GPU-2"}


def host(
    loaded: str | None = "580.95.05",
    installed: str | None = "580.95.05",
    pinned: str | None = "580.95.05",
    modules: str = "open",
    gpus: list[dict[str, Any]] | None = None,
    problems: tuple[str, ...] = (),
) -> dict[str, Any]:
    found = [{"code": code, "severity": "error", "message": f"It is {code}", "remedy": "Look"} for code in problems]
    driver = {"loaded_version": loaded, "installed_version": installed, "pinned_version": pinned, "kernel_module": modules}
    return {"gpus": [GPU] if gpus is None else gpus, "driver": {**driver, "reboot_required": False}, "problems": found}


BARE = host(None, None, None, "none", problems=("no_driver",))


@pytest.mark.parametrize(
    ("found", "arguments", "due", "codes"),
    [
        (BARE, {}, True, []),
        (BARE, {"version": 580}, True, []),
        (BARE, {"manage": False}, False, ["no_driver"]),
        (host(), {}, False, []),
        (host(), {"version": 580}, False, []),
        (host(), {"version": "580.95.05", "kernel_module": "open"}, False, []),
        (host(), {"version": "580.126.09"}, False, ["other_version"]),
        (host(), {"version": "590", "manage": False}, False, ["other_version"]),
        (host(), {"kernel_module": "proprietary"}, False, ["other_flavour"]),
        (host(pinned=None), {}, True, []),
        (host(pinned="590.48.01"), {}, True, []),
        (host(pinned=None), {"manage": False}, False, []),
        (host(installed="590.48.01", problems=("driver_mismatch",)), {}, True, []),
        (host(installed="590.48.01", problems=("driver_mismatch",)), {"version": "580"}, True, ["other_version"]),
        (host(loaded=None, problems=("driver_not_loaded",)), {}, True, []),
        (host(loaded=None, problems=("no_kernel_module",), modules="none"), {"kernel_module": "open"}, True, []),
        (host(loaded=None, problems=("nouveau_loaded",)), {}, True, []),
        (host(problems=("gpu_lost",)), {}, False, ["gpu_lost"]),
        (host(problems=("wrong_module_flavour",), modules="proprietary"), {"kernel_module": "open"}, False, ["wrong_module_flavour"]),
        (host(None, None, None, "none", gpus=[]), {"version": "590"}, False, []),
    ],
)
def test_before(found: dict[str, Any], arguments: dict[str, Any], due: bool, codes: list[str]) -> None:
    checked = driver_check(found, **arguments)
    assert (checked["due"], [problem["code"] for problem in checked["problems"]]) == (due, codes)
    assert bool(checked["message"]) == bool(codes)


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ({"needs_gpu": True}, ["no_gpu"]),
        ({"needs_gpu": True, "gpus": [GPU], "toolkit_version": 13.0, "toolkit_source": "pypi"}, ["toolkit_not_packaged"]),
        ({"needs_gpu": True, "gpus": [GPU], "cuda_architectures": "native"}, ["architecture_invalid"]),
        ({"needs_gpu": True, "gpus": [GPU], "cuda_architectures": "86-real,89-real"}, []),
    ],
)
def test_what_the_inventory_asks_for(arguments: dict[str, Any], codes: list[str]) -> None:
    checked = driver_check(host(None, None, None, "none", gpus=[]), **arguments)
    assert [problem["code"] for problem in checked["problems"] if problem["severity"] == "error"] == codes


def test_a_warning_is_no_problem() -> None:
    found = host()
    found["problems"] = [{"code": "reboot_required", "severity": "warning", "message": "x", "remedy": "y"}]
    checked = driver_check(found)
    assert (checked["due"], checked["problems"], checked["message"]) == (False, [], "")


def test_what_a_plan_shows() -> None:
    shown = driver_check(host(), "590", toolkit_version="13.0.3")
    assert shown["gpus"] == [GPU]
    assert shown["driver"] == {"installed_version": "580.95.05", "wanted_version": "590", "kernel_module": "open", "min": "580"}
    assert shown["toolkit"] == {"version": "13.0.3", "min": "11.8", "max": shown["toolkit"]["max"], "architectures": ["86-real"]}
    assert driver_check(host(), "580")["driver"]["wanted_version"] is None
    assert driver_check(host())["toolkit"] is None
    assert driver_check(host(), toolkit_version="latest")["driver"] is None


@pytest.mark.parametrize(("expected", "gpus"), [([{"name": "NVIDIA A10"}], ["NVIDIA A10"]), ([], None)])
def test_a_host_that_cannot_be_reached_is_taken_for_one_without_a_driver(expected: list[dict[str, Any]], gpus: list[str] | None) -> None:
    checked = driver_check({"unreachable": True, "msg": "No route to host"}, "580", needs_gpu=True, expected=expected)
    assert checked["problems"] == []
    assert (checked["gpus"] and [gpu["name"] for gpu in checked["gpus"]]) == gpus


@pytest.mark.parametrize(
    ("found", "before", "codes"),
    [
        (host(), BARE, []),
        (host(gpus=[GPU, OTHER]), host(gpus=[GPU, OTHER]), []),
        (host(), host(gpus=[GPU, OTHER]), ["gpu_missing"]),
        (host(gpus=[{**GPU, "uuid": "GPU-3"}]), host(), ["gpu_missing"]),
        (host(), host(gpus=[{**GPU, "uuid": None}]), []),
        (host(loaded="590.48.01"), host(), ["not_that_version"]),
        (host(modules="proprietary"), host(), ["other_flavour"]),
        (host(problems=("gpu_not_visible",)), host(), ["gpu_not_visible"]),
        (host(None, problems=("driver_not_loaded",), gpus=[{**GPU, "uuid": None}]), host(), ["driver_not_loaded"]),
    ],
)
def test_after(found: dict[str, Any], before: dict[str, Any], codes: list[str]) -> None:
    checked = driver_check(found, "580.95.05", "open", before=before)
    assert [problem["code"] for problem in checked["problems"]] == codes


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        ({"failed": True, "msg": "Boom"}, "gpu_info could not look at the host: Boom. Put that right"),
        ({"failed": True, "msg": "No json", "module_stderr": "no python\n", "rc": 127}, "the host: No json: no python. Put"),
    ],
)
def test_gpu_info_itself_failed(failed: dict[str, Any], said: str) -> None:
    checked = driver_check(failed, "580.95.05", "open", before=host())
    assert (checked["due"], [problem["code"] for problem in checked["problems"]]) == (False, ["host_not_seen"])
    assert said in checked["message"]
    with pytest.raises(AnsibleFilterError, match="gpu_info"):
        driver_check(failed)


def test_what_makes_no_sense_is_refused() -> None:
    assert "nvidia_driver_version is 'latest'" in driver_check(host(), "latest")["message"]
    with pytest.raises(AnsibleFilterError, match="gpu_info"):
        driver_check([])
