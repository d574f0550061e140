# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between engines in how they are proven.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils._check import Check
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_use import EngineOnGpu
from ansible_collections.baremetal.llm.plugins.module_utils._http import Client, Reply
from ansible_collections.baremetal.llm.plugins.module_utils._probe_report import Expectation, Report
from ansible_collections.baremetal.llm.plugins.module_utils._runner import Runner


@dataclass(frozen=True)
class Engine:
    door: str
    """What is asked first of a healthy server, and not without its key."""
    open_to_all: str
    """What is answered without a key."""
    key_remedy: str
    """What to do about a server that was given a key and knows none."""
    unavailable: str
    """What status 503 of /health means, where it does not mean that the model is being loaded."""
    always_advises: bool
    """Whether its log tells also of troubles that have nothing to do with GPUs."""
    look: Callable[[Client, Reply, Expectation, Runner, Report], Sequence[Check]]
    """The checks of what the server says of itself, with its answer at the door, and what is told of it in the report."""
    question: Callable[[], Mapping[str, object]]
    """What a question needs so that its answer can be timed."""
    cannot_chat: Callable[[Reply], bool]
    """Whether the answer to a chat says that the model is none to chat with, and completes texts only."""
    on_gpu: EngineOnGpu
