# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The system account that services run as: made when it is not there, and taken away again only if it was made here.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import grp
import pwd

from ansible_collections.baremetal.llm.plugins.module_utils._command import check
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

MADE_HERE = "Inference services of baremetal.llm"
"""The account's comment, by which an account of the operator's own is told apart."""

_TIMEOUT = 30.0  # seconds


def exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def is_ours(user: str) -> bool:
    try:
        return pwd.getpwnam(user).pw_gecos == MADE_HERE
    except KeyError:
        return False


def useradd(user: str, group: str, home: str, *, group_exists: bool) -> list[str]:
    """The command that makes the account: no password, no shell, no home of its own making."""
    if not group_exists and group != user:
        raise UserError(f"group: {group} is not there; create it, or leave group out to get one that is called like the user")
    own_group = ["--gid", group] if group_exists else ["--user-group"]
    settings = ["--system", *own_group, "--home-dir", home, "--no-create-home", "--shell", "/usr/sbin/nologin", "--comment", MADE_HERE]
    return ["useradd", *settings, "--", user]


def create(user: str, group: str, home: str) -> None:
    check(useradd(user, group, home, group_exists=_group_exists(group)), what=f"Creating the account {user}", timeout=_TIMEOUT)


def remove(user: str) -> None:
    check(["userdel", "--", user], what=f"Removing the account {user}", timeout=_TIMEOUT)


def _group_exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True
