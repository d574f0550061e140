# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The llama-server on this host, asked which flags it has.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os

from ansible_collections.baremetal.llm.plugins.module_utils._command import run
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import Flags, parse_help

HOST_CONFIG = "/etc/llama.cpp/config.ini"
_TIMEOUT = 60.0  # seconds; a CUDA build looks for its devices first


def flags_of(binary: str) -> Flags:
    shown = run([binary, "--help"], env={"XDG_CONFIG_HOME": "/dev/null"}, timeout=_TIMEOUT)
    flags = parse_help(shown.stdout)
    if shown.rc != 0 or "--model" not in flags:
        # Before it prints its help, it reads the configuration of the whole host, and ends where it finds a mistake in it.
        remedy = f"correct {HOST_CONFIG}, which it reads first" if os.path.exists(HOST_CONFIG) else "build it again"
        raise UserError(f"binary: `{binary} --help` does not answer as llama-server does (rc {shown.rc}): {remedy}.", **shown.details())
    return flags
