# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _command, _systemd
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import Systemd, UnitStatus

UNIT = "inference-chat.service"
RUNNING = """ActiveState=active
MainPID=7
NeedDaemonReload=no
DropInPaths=/etc/systemd/system/service.d/all.conf /etc/systemd/system/inference-chat.service.d/mine.conf
"""


class Answers:
    """What the programs say, by their first words; notes what was asked."""

    def __init__(self, **answers: tuple[int, str, str]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def __call__(self, argv: Sequence[str], **options: object) -> Completed:
        self.asked.append(list(argv))
        rc, stdout, stderr = self.answers.get(argv[1].lstrip("-").replace("-", "_"), (0, "", ""))
        return Completed(tuple(argv), rc, stdout, stderr)


@pytest.fixture
def host(tmp_path: Path) -> Systemd:
    (tmp_path / "proc" / "7").mkdir(parents=True)
    return Systemd(proc=tmp_path / "proc", credentials=tmp_path / "credentials")


def answering(monkeypatch: pytest.MonkeyPatch, **answers: tuple[int, str, str]) -> Answers:
    fake = Answers(**answers)
    monkeypatch.setattr(_systemd, "run", fake)
    monkeypatch.setattr(_command, "run", fake)
    return fake


@pytest.mark.parametrize(
    ("said", "version"), [("systemd 252 (252.39-1~deb12u1)\n+PAM", 252), ("systemd 257.7\n", 257), ("systemd 249 (249.11)", 249)]
)
def test_version(monkeypatch: pytest.MonkeyPatch, host: Systemd, said: str, version: int) -> None:
    answering(monkeypatch, version=(0, said, ""))
    assert host.version() == version


def test_a_host_without_systemd_is_told(monkeypatch: pytest.MonkeyPatch, host: Systemd) -> None:
    answering(monkeypatch, version=(127, "", "No such file or directory: 'systemctl'"))
    with pytest.raises(UserError, match="no systemd") as caught:
        host.version()
    assert caught.value.details["rc"] == 127


def test_a_running_unit(monkeypatch: pytest.MonkeyPatch, host: Systemd, tmp_path: Path) -> None:
    fake = answering(monkeypatch, show=(0, RUNNING, ""))
    (tmp_path / "proc" / "7" / "environ").write_bytes(b"A=1\0INFERENCE_CONFIG_DIGEST=abc\0EQUALS=a=b\0")
    (tmp_path / "credentials" / UNIT).mkdir(parents=True)
    (tmp_path / "credentials" / UNIT / "api-key").write_bytes(b"sk-1\n")
    assert host.status(UNIT) == UnitStatus(
        active=True,
        main_pid=7,
        stale=False,
        drop_ins=("/etc/systemd/system/inference-chat.service.d/mine.conf",),
        environment={"A": "1", "INFERENCE_CONFIG_DIGEST": "abc", "EQUALS": "a=b"},
        credentials={"api-key": b"sk-1\n"},
    )
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("ActiveState=inactive\nMainPID=0\nNeedDaemonReload=no\nDropInPaths=\n", UnitStatus()),
        ("ActiveState=failed\nMainPID=0\nNeedDaemonReload=yes\nDropInPaths=\n", UnitStatus(stale=True)),
        ("ActiveState=activating\nMainPID=0\nNeedDaemonReload=no\nDropInPaths=\n", UnitStatus(active=True)),
        # It has ended since systemctl looked.
        ("ActiveState=active\nMainPID=8\nNeedDaemonReload=no\nDropInPaths=\n", UnitStatus(active=True, main_pid=8, credentials={})),
    ],
)
def test_other_states(monkeypatch: pytest.MonkeyPatch, host: Systemd, shown: str, expected: UnitStatus) -> None:
    answering(monkeypatch, show=(0, shown, ""))
    assert host.status(UNIT) == expected


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("0::/system.slice/inference-chat.service\n", UNIT),
        ("9:name=systemd:/\n0::/system.slice/inference-chat.service/worker\n", UNIT),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/run-u1.service\n", "run-u1.service"),
        ("0::/\n", None),
    ],
)
def test_the_unit_of_a_process(host: Systemd, tmp_path: Path, cgroup: str, expected: str | None) -> None:
    (tmp_path / "proc" / "7" / "cgroup").write_text(cgroup)
    assert host.unit_of(7) == expected
    assert host.unit_of(8) is None


def test_a_unit_is_checked_under_its_own_name(monkeypatch: pytest.MonkeyPatch, host: Systemd) -> None:
    fake = answering(monkeypatch)
    host.verify(UNIT, "[Service]\n")
    staged = Path(fake.asked[0][-1])
    assert staged.name == UNIT and not staged.parent.exists()


@pytest.mark.parametrize(
    ("rc", "stderr"),
    [
        (1, "/tmp/staged/inference-chat.service:3: Unknown section 'Servise'. Ignoring."),
        (0, "/tmp/staged/inference-chat.service:9: Unknown key name 'Fancy' in section 'Service', ignoring."),
        (1, "Failed to load"),
    ],
)
def test_a_refused_unit_is_an_error_with_the_reason(monkeypatch: pytest.MonkeyPatch, host: Systemd, rc: int, stderr: str) -> None:
    answering(monkeypatch, verify=(rc, "", stderr))
    with pytest.raises(UserError) as caught:
        host.verify(UNIT, "[Service]\n")
    assert stderr in caught.value.msg and "not written" in caught.value.msg
    assert caught.value.details["stderr"] == stderr


def test_complaints_about_other_units_do_not_count(monkeypatch: pytest.MonkeyPatch, host: Systemd) -> None:
    answering(monkeypatch, verify=(0, "", "/lib/systemd/system/rsyslog.service:12: Unknown key name 'X'"))
    host.verify(UNIT, "[Service]\n")


def test_forgetting_does_not_mind_that_nothing_had_failed(monkeypatch: pytest.MonkeyPatch, host: Systemd) -> None:
    fake = answering(monkeypatch, reset_failed=(1, "", "Unit inference-chat.service not loaded."))
    host.stop(UNIT)
    host.forget(UNIT)
    assert [argv[1] for argv in fake.asked] == ["stop", "daemon-reload", "reset-failed"]


def test_a_unit_that_does_not_stop_is_an_error(monkeypatch: pytest.MonkeyPatch, host: Systemd) -> None:
    answering(monkeypatch, stop=(1, "", "Access denied"))
    with pytest.raises(UserError, match=r"Stopping inference-chat.service failed .*: Access denied"):
        host.stop(UNIT)
