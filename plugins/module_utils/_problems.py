# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with what the operator asked for: findings as data, so that all of them can be told at once.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Severity(str, enum.Enum):
    ERROR = "error"
    """It would fail; nothing is changed."""
    WARNING = "warning"
    """It would run, and disappoint."""


@dataclass(frozen=True)
class Problem:
    """One finding. ``code`` is documented and stable; ``message`` says what is, ``remedy`` what to do."""

    code: str
    severity: Severity
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}{'' if self.remedy.endswith('?') else '.'}"

    def as_dict(self) -> dict[str, str]:
        """The entry of a module's ``problems[]``."""
        return {"code": self.code, "severity": self.severity.value, "message": self.message, "remedy": self.remedy}


def error(code: str, message: str, remedy: str) -> Problem:
    return Problem(code, Severity.ERROR, message, remedy)


def warning(code: str, message: str, remedy: str) -> Problem:
    return Problem(code, Severity.WARNING, message, remedy)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def warnings(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity is Severity.WARNING]


def failure_message(problems: Iterable[Problem]) -> str:
    """One sentence where there is one error, a list where there are more."""
    texts = [str(problem) for problem in errors(problems)]
    if len(texts) == 1:
        return texts[0]
    return "\n".join([f"{len(texts)} problems:", *(f"- {text}" for text in texts)])


class ProblemsError(Exception):
    """What was found makes going on pointless. A module fails with it as ``msg``, and with ``problems``."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(failure_message(self.problems))


def demand(problems: Iterable[Problem]) -> None:
    """Go on only if there is no error among them."""
    found = list(problems)
    if errors(found):
        raise ProblemsError(found)
