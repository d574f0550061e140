# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the installed llama.cpp what a model takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._command import check
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._memory_measured import PROGRAM, Measured, parse

_SECONDS = 120.0


class FitParams:
    """The program beside the llama-server that will run; it sees the GPUs of the service and no others, as far as they are named."""

    def __init__(self, binary: str, gpus: Sequence[Mapping[str, Any]]) -> None:
        self._program = os.path.join(os.path.dirname(binary), PROGRAM)
        self._gpus = [str(gpu["uuid"]) for gpu in gpus if gpu.get("uuid")] if all(gpu.get("uuid") for gpu in gpus) else None

    def __call__(self, arguments: Sequence[str]) -> dict[str, Measured]:
        """A :class:`UserError` where it can't tell."""
        # A configuration file of whoever runs this would change what is planned.
        env = {"XDG_CONFIG_HOME": "/nonexistent"}
        if self._gpus is not None:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus)
        completed = check([self._program, *arguments], what=PROGRAM, env=env, timeout=_SECONDS)
        found = parse(completed.stdout)
        if not found:
            raise UserError(f"{PROGRAM} printed no memory", **completed.details())
        return found
