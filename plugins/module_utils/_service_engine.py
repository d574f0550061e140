# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine is: the seam between what is true of every service, and how llama-server or vLLM serves one.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Launch


@dataclass(frozen=True)
class Inside:
    """How things are called where the process runs, which in a container is not the host."""

    addresses: tuple[str, ...]
    """What it has to listen on."""
    key_file: str
    """Where it finds its API key, as its command is to name it."""


class Engine(Protocol):
    """The engine of one service. What it has to know of its binary or its image is asked once, by :meth:`ask`."""

    @property
    def known(self) -> bool:
        """Whether there was something to ask; in check mode, a task before this one may still have to bring it."""

    def model_problems(self, missing: Severity) -> Iterable[Problem]:
        """What is wrong with the model; ``missing`` is what a missing file is."""

    def ask(self, *, predict: bool) -> Iterable[Problem]:
        """Ask it what it can do, and tell what keeps it from answering; ``predict`` where it may still be to come."""

    def launch(self, inside: Inside, gpus: GpuAccess | None) -> tuple[Launch, list[Problem]]:
        """What is to be run, and what would fail or disappoint in it."""

    def release_problems(self, launch: Launch) -> Iterable[Problem]:
        """What the release says of itself."""

    def expectation(self, gpus: GpuAccess | None) -> dict[str, object]:
        """What inference_probe can prove, in the form of its parameter ``expect``."""

    def remember(self) -> None:
        """Keep what was asked, where asking takes long. The files of the service are there by then."""
