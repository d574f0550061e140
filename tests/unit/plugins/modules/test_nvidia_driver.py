# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module makes of its parameters and of what the domain returns; what is done is the domain's, and tested there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.module_utils import _driver_pin as pin
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_conflicts import OF_THE_DRIVER
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Repository
from ansible_collections.baremetal.llm.plugins.module_utils._driver_change import DriverChange
from ansible_collections.baremetal.llm.plugins.module_utils._driver_choice import NOT_OFFERED, Needs, Wish
from ansible_collections.baremetal.llm.plugins.module_utils._driver_work import Request
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour
from ansible_collections.baremetal.llm.plugins.modules import nvidia_driver
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_driver_host import VERSIONS, FakeDriverHost, driver, pinned

CODE = re.compile(r'\b(?:error|warning)\(\s*"(\w+)"')
RETURNED = yaml.safe_load(nvidia_driver.RETURN)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def runner(host: FakeDriverHost, check: bool = False, **arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(nvidia_driver, "DriverHost", lambda lock_timeout: host)
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            nvidia_driver.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return runner


def codes(result: dict[str, Any]) -> list[str]:
    return [problem["code"] for problem in result["problems"]]


A10 = {"name": "NVIDIA A10"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, Request(Wish(), Needs([], ""))),
        (
            {"version": "580", "kernel_module": "proprietary", "upgrade": True, "gpus": [A10], "toolkit_version": "13.0.3"},
            Request(Wish("580", Flavour.PROPRIETARY, upgrade=True), Needs([A10], "13.0.3")),
        ),
        (
            {"repository": "distribution", "compute_only": False},
            Request(Wish(), Needs([], ""), Repository.DISTRIBUTION, compute_only=False),
        ),
    ],
)
def test_the_parameters_become_a_request(arguments: dict[str, Any], expected: Request, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Asked(DriverChange):
        def __init__(self, host: Any, request: Request, *, check_mode: bool) -> None:
            asked.append((request, check_mode))
            super().__init__(host, request, check_mode=check_mode)

    monkeypatch.setattr(nvidia_driver, "DriverChange", Asked)
    for check in (False, True):
        run(FakeDriverHost(), check=check, **arguments)
    assert asked == [(expected, False), (expected, True)]


@pytest.mark.parametrize(("arguments", "seconds"), [({}, 300), ({"lock_timeout": 7}, 7)])
def test_how_long_another_program_is_waited_for(arguments: dict[str, int], seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def host(lock_timeout: int) -> FakeDriverHost:
        asked.append(lock_timeout)
        return FakeDriverHost()

    monkeypatch.setattr(nvidia_driver, "DriverHost", host)
    with patch_module_args({**arguments, "state": "planned"}), pytest.raises(SystemExit):
        nvidia_driver.main()
    assert asked == [seconds]


@pytest.mark.parametrize("state", ["planned", "downloaded", "present", "accepted", "reverted"])
def test_each_state_returns_what_is_described(state: str, run: Any) -> None:
    result = run(FakeDriverHost(driver("580.95.05"), VERSIONS), version="580", state=state)
    assert "failed" not in result
    described = {name for name, value in RETURNED.items() if value["returned"] == "always" or state == "planned"}
    assert set(result) - {"changed", "diff", "invocation", "warnings"} == described


def test_every_code_is_described() -> None:
    utils = Path(nvidia_driver.__file__).parents[1] / "module_utils"
    made = {code for name in ("choice", "obstacles") for code in CODE.findall((utils / f"_driver_{name}.py").read_text("utf-8"))}
    described = set(re.findall(r"V\((\w+)\)", " ".join(RETURNED["problems"]["description"])))
    assert described == {*made, NOT_OFFERED}
    assert not described & OF_THE_DRIVER  # these are described where they are made


def test_a_state_of_its_own_each(run: Any) -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    wanted = {"version": "590", "upgrade": True}
    expected = [
        ("planned", "580.95.05", False, []),
        ("downloaded", "580.95.05", True, ["keep", "download"]),
        ("present", "590.48.01", True, ["keep", "record", "download", f"write {pin.PIN}", "install", "auto libcuda1"]),
        ("reverted", "580.95.05", True, [f"write {pin.PIN}", "install", "auto libcuda1"]),
        ("accepted", "580.95.05", True, ["drop"]),
    ]
    for state, installed, changed, done in expected:
        host.done = []
        result = run(host, state=state, **wanted)
        assert (result["installed_version"], result["changed"], host.done) == (installed, changed, done), state


def test_a_plan_tells_and_does_not_fail(run: Any) -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"), loaded="580.95.05")
    nothing = run(host, state="planned")
    assert (nothing["due"], nothing["installs"], nothing["message"]) == (False, False, "")
    upgrade = run(host, state="planned", version="590", upgrade=True)
    assert (upgrade["due"], upgrade["installs"], upgrade["message"]) == (True, True, "")
    assert upgrade["target_version"] == "590.48.01" and upgrade["offered"] == [*reversed(VERSIONS)]
    assert "nvidia-driver-cuda 580.95.05-1 -> 590.48.01-1" in upgrade["changes"]
    refused = run(host, state="planned", version="590")
    assert "failed" not in refused and codes(refused) == ["other_version"] and refused["due"]
    assert refused["message"].startswith("NVIDIA driver 580.95.05 is installed, and version asks for 590")


def test_problems_and_errors_fail(run: Any) -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, fails="download")
    refused = run(host, version="590")
    assert refused["failed"] and codes(refused) == ["other_version"] and "playbooks/driver_upgrade.yml" in refused["msg"]
    failed = run(host, version="590", upgrade=True)
    assert failed["failed"] and "no network" in failed["msg"] and failed["rc"] == 100
    not_understood = run(host, version="newest")
    assert not_understood["failed"] and "write it like 580.126.09 or 580" in not_understood["msg"]


@pytest.mark.parametrize(("state", "given"), [("planned", []), ("downloaded", [True]), ("present", [True])])
def test_warnings_are_given_where_something_is_done(state: str, given: list[bool], run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(nvidia_driver.AnsibleModule, "warn", lambda _module, text: warned.append(text))
    result = run(FakeDriverHost(driver("580.95.05"), VERSIONS, has_nouveau=True), version="590", upgrade=True, state=state)
    assert codes(result) == ["nouveau_loaded"]
    assert [text.startswith("nouveau holds the GPUs") and "but to reboot" in text for text in warned] == given


def test_the_diff_has_packages_and_files(run: Any) -> None:
    host = FakeDriverHost(driver("580.95.05"), VERSIONS, files=pinned("580.95.05"))
    wanted = {"version": "590", "upgrade": True}
    packages, file = run(host, check=True, **wanted)["diff"]
    assert (packages["before_header"], file["before_header"]) == ("packages", pin.PIN)
    assert "nvidia-driver-cuda 580.95.05-1\n" in packages["before"] and "nvidia-driver-cuda 590.48.01-1\n" in packages["after"]
    assert (file["before"], file["after"]) == (pin.pin_text("580.95.05"), pin.pin_text("590.48.01"))
    assert run(host, check=True, state="downloaded", **wanted)["diff"] == []
    assert run(host)["diff"] == []
