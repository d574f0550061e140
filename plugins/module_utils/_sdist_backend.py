# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the build backend of a source distribution, so that pip downloads one without building anything.

``pip download`` asks the backend for the package's metadata, which means fetching the backend and running code out of the
archive. What pip wants to know stands in the archive's ``PKG-INFO`` already. pip starts its hooks in a new interpreter with
the backend's name in the environment; with this file as ``sitecustomize.py`` in PYTHONPATH the backend is there before pip
looks for it. Imported anywhere else it does nothing.
"""

from __future__ import annotations

import email.parser
import os
import sys
import types
from pathlib import Path


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:
    """PEP 517's hook: write the ``.dist-info`` directory of the source tree in the working directory, return its name."""
    text = Path("PKG-INFO").read_bytes()
    headers = email.parser.BytesHeaderParser().parsebytes(text)
    directory = f"{headers['Name'].replace('-', '_')}-{headers['Version']}.dist-info"
    Path(metadata_directory, directory).mkdir()
    Path(metadata_directory, directory, "METADATA").write_bytes(text)
    return directory


def stand_in_for(backend: str) -> None:
    """Make ``backend``, written ``package.module:object``, importable."""
    name, _colon, attribute_path = backend.partition(":")
    parents = name.split(".")
    for depth in range(1, len(parents) + 1):
        sys.modules[".".join(parents[:depth])] = types.ModuleType(".".join(parents[:depth]))
    target = sys.modules[name]
    for attribute in filter(None, attribute_path.split(".")):
        inner = types.ModuleType(attribute)
        setattr(target, attribute, inner)
        target = inner
    vars(target)["prepare_metadata_for_build_wheel"] = prepare_metadata_for_build_wheel


_wanted = os.environ.get("_PYPROJECT_HOOKS_BUILD_BACKEND") or os.environ.get("PEP517_BUILD_BACKEND")
if _wanted and __name__ == "sitecustomize":
    stand_in_for(_wanted)
