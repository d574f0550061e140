# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a service is told that the value of an option is wrong, whichever engine the option is of.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error


class BadValueError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def bad_value(key: str, message: str, remedy: str) -> Problem:
    return error("option_value", f"options.{key} {message}", remedy)


def alternatives(words: Iterable[str]) -> str:
    return " or ".join(sorted(words))
