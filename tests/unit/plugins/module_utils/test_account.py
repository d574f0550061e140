from __future__ import annotations

import pwd
from types import SimpleNamespace

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _account as account
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def test_a_new_account_cannot_log_in_and_gets_a_group_of_its_own() -> None:
    argv = account.useradd("inference", "inference", "/var/lib/inference", group_exists=False)
    assert argv[0] == "useradd"
    assert {"--system", "--user-group", "--no-create-home", "/usr/sbin/nologin"} <= set(argv)
    assert argv[-2:] == ["--", "inference"]


def test_a_group_that_is_there_is_used() -> None:
    argv = account.useradd("inference", "models", "/var/lib/inference", group_exists=True)
    assert argv[argv.index("--gid") + 1] == "models"
    assert "--user-group" not in argv


def test_another_group_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="group: models is not there"):
        account.useradd("inference", "models", "/var/lib/inference", group_exists=False)


@pytest.mark.parametrize(("comment", "ours"), [(account.MADE_HERE, True), ("Jane Doe", False)])
def test_only_an_account_that_was_made_here_is_ours(monkeypatch: pytest.MonkeyPatch, comment: str, ours: bool) -> None:
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_gecos=comment))
    assert account.exists("inference")
    assert account.is_ours("inference") is ours


def test_nobody_is_not_ours() -> None:
    assert not account.exists("no-such-user-here")
    assert not account.is_ours("no-such-user-here")
