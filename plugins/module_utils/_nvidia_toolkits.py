# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CUDA toolkits: where they are looked for, and which version one is.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import NamedTuple

# Where the packages of NVIDIA and of distributions put toolkits; `cuda` itself is mostly a link to one of the others.
KNOWN_PLACES = ("usr/local/cuda*", "opt/cuda*")
# Where one may be below a prefix that is none itself: one directory per version, or a Python environment with NVIDIA's wheels.
BELOW_A_PREFIX = (
    "*",
    "nvidia/cu*",
    "*/nvidia/cu*",
    "lib/python3*/site-packages/nvidia/cu*",
    "*/lib/python3*/site-packages/nvidia/cu*",
)
COMPILER = "bin/nvcc"


class Toolkit(NamedTuple):
    version: str
    root: str


def parse_version_json(text: str) -> str | None:
    """From a toolkit's version.json, which toolkits from the package index lack."""
    try:
        version = json.loads(text)["cuda"]["version"]
    except (ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, str) else None


def parse_nvcc_version(output: str) -> str | None:
    match = re.search(r"release (\d+\.\d+)", output)
    return match[1] if match else None


def parse_nvcc_build(output: str) -> str | None:
    """The compiler's own version, which tells more than the release that it belongs to: 13.0.88."""
    match = re.search(r", V(\d+\.\d+\.\d+)", output)
    return match[1] if match else None


def parse_nvcc_root(output: str) -> str | None:
    """The toolkit that an nvcc in PATH, which may be a script, belongs to: its own answer to ``--dryrun``."""
    match = re.search(r"^#\$ TOP=(\S+)", output, re.MULTILINE)
    return posixpath.normpath(match[1]) if match else None
