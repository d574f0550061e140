# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files an account of this host may read.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from ansible_collections.baremetal.llm.plugins.module_utils._command import run

_NOBODY = 65534  # the user and the group that own nothing, on Debian and Ubuntu


def readable(path: str, user: str) -> bool:
    """Whether the kernel lets this user read the file: ACLs and every directory on the way included."""
    if os.geteuid() != 0:
        return os.access(path, os.R_OK)
    return run([*_as_user(user), "test", "-r", path]).rc == 0


def first_unreadable(paths: Sequence[str], user: str) -> str | None:
    """The first of these files that the user cannot read, if there is one. All are asked for at once."""
    if os.geteuid() != 0:
        return next((path for path in paths if not os.access(path, os.R_OK)), None)
    told = run([*_as_user(user), "find", "-L", *paths, "-maxdepth", "0", "-readable", "-print0"]).stdout.split("\0")
    return next((path for path in paths if path not in told), None)


def _as_user(user: str) -> list[str]:
    try:
        account = pwd.getpwnam(user)
        identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
    except KeyError:  # it is still to be created, and will have the rights that everybody has
        identity = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return ["setpriv", *identity, "--"]
