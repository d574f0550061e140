# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _account, _systemd_service
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Change, Content
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import UnitStatus
from ansible_collections.baremetal.llm.plugins.module_utils._systemd_service import SystemdService
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import digest
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_service_host import ServiceHost

UNIT = "[Service]\nExecStart=/bin/true\nEnvironment=INFERENCE_CONFIG_DIGEST=\n"
UNIT = UNIT.replace("DIGEST=", f"DIGEST={digest(UNIT)}")
EDITED = UNIT.replace("/bin/true", "/bin/false")
CONTENT = Content(UNIT, b"sk-1\n")


@pytest.fixture
def host(tmp_path: Path) -> ServiceHost:
    return ServiceHost(tmp_path)


def manager(host: ServiceHost, **parameters: Any) -> SystemdService:
    return SystemdService(host.request(**parameters), host.systemd)


# -- what runs -----------------------------------------------------------------------------------------------------------

STARTED = {"INFERENCE_CONFIG_DIGEST": digest(UNIT)}
RUNNING = UnitStatus(active=True, main_pid=7, environment=STARTED, credentials={"api-key": b"sk-1\n"})


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (CONTENT, RUNNING, True),
        (Content(UNIT), UnitStatus(active=True, main_pid=7, environment=STARTED, credentials={}), True),
        (Content(UNIT, b"sk-2\n"), RUNNING, False),
        (Content(UNIT), RUNNING, False),
        (Content(EDITED, b"sk-1\n"), RUNNING, False),
        (CONTENT, UnitStatus(), False),
        (Content("[Service]\n"), UnitStatus(active=True, main_pid=7, environment={}, credentials={}), False),
        (CONTENT, UnitStatus(active=False, environment=STARTED, credentials={"api-key": b"sk-1\n"}), False),
        (CONTENT, UnitStatus(active=True, main_pid=7, environment=None, credentials={"api-key": b"sk-1\n"}), False),
    ],
)
def test_a_process_runs_with_what_it_was_started_with(host: ServiceHost, content: Content, status: UnitStatus, expected: bool) -> None:
    host.systemd.running = status
    assert manager(host).standing(Change(content, content)).restart_required is not expected


@pytest.mark.parametrize(
    ("before", "after", "status", "expected"),
    [
        (CONTENT, CONTENT, RUNNING, False),
        (CONTENT, CONTENT, UnitStatus(), True),
        (Content(), CONTENT, UnitStatus(), True),
        (Content(), CONTENT, RUNNING, False),  # the unit was deleted, and is written again as it was
        (Content(UNIT, b"sk-2\n"), CONTENT, RUNNING, False),
        (CONTENT, Content(UNIT, b"sk-2\n"), RUNNING, True),
        (Content(EDITED, b"sk-1\n"), CONTENT, RUNNING, True),  # it may have been started while it was edited
        (Content(f"# mine\n{UNIT}", b"sk-1\n"), CONTENT, RUNNING, False),
        (CONTENT, Content(), RUNNING, False),
        (Content(), Content(), UnitStatus(), False),
    ],
)
def test_a_restart_is_due_unless_it_surely_runs_as_its_files_shall_say(
    host: ServiceHost, before: Content, after: Content, status: UnitStatus, expected: bool
) -> None:
    host.systemd.running = status
    assert manager(host).standing(Change(before, after)).restart_required is expected


# -- the unit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("directory", "fine"), [("/var/lib/inference", True), ("/var/library", False), ("/srv/inference", False)])
def test_the_state_is_where_systemd_makes_it(host: ServiceHost, directory: str, fine: bool) -> None:
    problems = list(manager(host, state_directory=directory).place_problems())
    assert [problem.code for problem in problems] == ([] if fine else ["state_directory_invalid"])


@pytest.mark.parametrize(
    ("stale", "outdated", "due"), [(False, "", False), (True, "", True), (False, "definition", True), (False, "key", False)]
)
def test_systemd_has_to_read_a_unit_that_is_new(host: ServiceHost, stale: bool, outdated: str, due: bool) -> None:
    unit = manager(host)
    host.systemd.running = UnitStatus(stale=stale)
    paths = (getattr(unit.files, outdated),) if outdated else ()
    assert unit.standing(Change(CONTENT, CONTENT, paths)).reload_required is due


class Accounts:
    """Those of a host. ``theirs`` was made by the operator."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: set[str] = set()
        monkeypatch.setattr(_account, "exists", lambda user: user in {*self.made, "theirs"})
        monkeypatch.setattr(_account, "is_ours", lambda user: user in self.made)
        monkeypatch.setattr(_account, "create", lambda user, group, home: self.made.add(user))
        monkeypatch.setattr(_account, "remove", lambda user: self.made.remove(user))


@pytest.fixture
def accounts(host: ServiceHost, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    monkeypatch.setattr(_systemd_service, "STATE_ROOT", f"{host.root}/")
    return Accounts(monkeypatch)


@pytest.mark.parametrize(("user", "made"), [("inference", {"inference"}), ("theirs", set())])
def test_an_account_that_is_not_there_is_made(host: ServiceHost, accounts: Accounts, user: str, made: set[str]) -> None:
    unit = manager(host, user=user)
    nothing = Change(Content(), Content())
    assert unit.standing(nothing).unprepared is bool(made)
    unit.write(nothing)
    assert accounts.made == made
    assert not unit.standing(nothing).unprepared and unit.files.everything() == []


@pytest.mark.parametrize("user", ["inference", "theirs"])
def test_it_goes_with_the_last_service_if_it_was_made_here(host: ServiceHost, accounts: Accounts, user: str) -> None:
    chat = manager(host, user=user)
    chat.write(chat.files.change_to(CONTENT))
    embed = manager(host, user=user, service={"name": "embed"})
    embed.write(embed.files.change_to(CONTENT))
    made = set(accounts.made)
    chat.remove(chat.remains())
    assert accounts.made == made and not chat.remains()
    embed.remove(embed.remains())
    assert accounts.made == set() and not embed.remains()


def test_an_account_that_was_left_behind_is_something_to_remove(host: ServiceHost, accounts: Accounts) -> None:
    accounts.made.add("inference")
    remains = manager(host, user="inference").remains()
    assert (remains.files, remains.running, bool(remains)) == ((), False, True)
