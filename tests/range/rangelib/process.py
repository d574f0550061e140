# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run programs: argv lists, the C locale, errors that quote what the program said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from .errors import RangeError

# Everything a contained command mounts or starts dies with it, and it dies with us, SIGKILL included: the kernel sees to
# it through the namespaces, so an interrupted run leaves neither mounts nor processes.
CONTAINED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def c_locale() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def run(argv: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, env=c_locale(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-8:]
        raise RangeError(f"`{' '.join(argv)}` ended with {done.returncode}: " + ("\n  ".join(said) or "no output"))
    return done
