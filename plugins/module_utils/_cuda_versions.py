# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of drivers, toolkits, compilers and CMake: tuples of numbers, which compare as they should."""

from __future__ import annotations

import re

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError

Version = tuple[int, ...]


def parse_version(text: str, parameter: str, like: str, *, parts: int = 1) -> Version:
    """The numbers of ``text``; ``parts`` is how many there have to be. ``like`` is an example of what is meant."""
    stripped = text.strip()
    if not re.fullmatch(rf"\d+(\.\d+){{{parts - 1},}}", stripped, re.ASCII):
        raise UserError(f"{parameter} is {text!r}, which is not a version; write it like {like}")
    return tuple(int(number) for number in stripped.split("."))


def show(version: Version) -> str:
    return ".".join(str(number) for number in version)


def show_driver(version: Version) -> str:
    """As NVIDIA writes it: 580.65.06."""
    return ".".join(str(number) if index == 0 else f"{number:02}" for index, number in enumerate(version))
