# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A prefix with CUDA toolkits, and the module cuda_toolkit run on it as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_store import ToolkitStore

# What the tests build with: the one that role cuda_toolkit installs by default.
TOOLKIT = "13.0.3"

_PACKAGE = "ansible_collections.baremetal.llm.plugins"
# The module as it is, with other wheels.
_WITH_TABLE = f"""\
import json, sys
from {_PACKAGE}.module_utils import _cuda_wheels
_cuda_wheels.WHEELS.clear()
_cuda_wheels.WHEELS.update(json.loads(sys.argv.pop(1)))
from {_PACKAGE}.modules.cuda_toolkit import main
main()
"""


class Toolkits:
    def __init__(self, prefix: Path, *, table: object = None, env: t.Mapping[str, str] | None = None) -> None:
        self.prefix = prefix
        self._store = ToolkitStore(prefix)
        program = ["-m", f"{_PACKAGE}.modules.cuda_toolkit"] if table is None else ["-c", _WITH_TABLE, json.dumps(table)]
        self._argv = [sys.executable, *program]
        self._env = {**os.environ, **(env or {})}

    def start(self, *, env: t.Mapping[str, str] | None = None, **arguments: t.Any) -> subprocess.Popen[str]:
        arguments = {"prefix": str(self.prefix), **arguments, "_ansible_diff": True}
        process = subprocess.Popen(
            self._argv,
            env={**self._env, **(env or {})},
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, *, env: t.Mapping[str, str] | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        stdout, stderr = self.start(env=env, **arguments).communicate(timeout=900)
        assert stdout, stderr
        result = json.loads(stdout)
        assert isinstance(result, dict)
        return result

    def visible(self) -> list[str]:
        return sorted(path.name for path in self.prefix.glob("[!.]*"))

    def own(self) -> list[str]:
        return sorted(os.listdir(self._store.log.parent))

    def damaged(self, version: str) -> list[str]:
        return self._store.damaged(version)

    def progress(self) -> dict[str, t.Any]:
        try:
            progress = json.loads(self._store.progress.read_text())
        except FileNotFoundError:
            return {}
        assert isinstance(progress, dict)
        return progress

    def processes(self) -> list[str]:
        """The command lines of other programs that work under the prefix."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.prefix) in command:
                found.append(command)
        return found
