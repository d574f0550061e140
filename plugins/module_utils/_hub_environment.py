# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub's client on this host: a virtual environment of pinned wheels, installed when something is to be fetched and it is not there.

::

    <directory>/<version>-py<Python>-<digest>/     the environment, complete or not there at all
    <directory>/.lock

The digest is that of the pinned wheels. An environment belongs to one Python; after an upgrade of the distribution it is made anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed, follow, without_credentials
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubClient
from ansible_collections.baremetal.llm.plugins.module_utils._hub_requirements import VERSION, WHEELS
from ansible_collections.baremetal.llm.plugins.module_utils._lock import locked
from ansible_collections.baremetal.llm.plugins.module_utils._pip import hash_mismatch, index_unreachable, not_offered
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import PIP

DEFAULT_DIRECTORY = "/opt/huggingface-hub"

_KEPT_LINES = 200
_INDEX = "the package index that pip on this host is configured for"


def requirements(wheels: Mapping[str, tuple[str, tuple[str, ...]]]) -> str:
    """For pip: these wheels and no others."""
    return "".join(
        f"{name}=={version}{''.join(f' --hash=sha256:{sha256}' for sha256 in hashes)}\n" for name, (version, hashes) in wheels.items()
    )


@dataclass(frozen=True)
class HubEnvironment:
    """Gives the client: that of ``client.python``, or else one that it installs below ``directory``."""

    directory: Path
    client: HubClient

    @property
    def place(self) -> Path:
        digest = hashlib.sha256(requirements(WHEELS).encode()).hexdigest()[:8]
        return self.directory / f"{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}-{digest}"

    def ready(self) -> HubClient | None:
        if self.client.python:
            return self.client
        return self._own if os.access(self._python, os.X_OK) else None

    def provide(self, progress: ProgressFile) -> HubClient:
        client = self.ready()
        if client is not None:
            return client
        if PIP.find() is None:
            raise UserError(
                f"the hub's client is not there and can't be installed, missing: {PIP.what}; install it first (Debian and Ubuntu: "
                f"apt-get install {PIP.package}), or give an interpreter that has huggingface_hub (python)"
            )
        progress.step("install the hub's client", detail=f"huggingface-hub {VERSION}")
        try:
            self._install(progress)
        except OSError as error:
            raise self._disk_error(error) from error
        return self._own

    @property
    def _own(self) -> HubClient:
        return replace(self.client, python=str(self._python), own=True)

    @property
    def _python(self) -> Path:
        return self.place / "bin" / "python"

    def _install(self, progress: ProgressFile) -> None:
        with locked(self.directory / ".lock") as lock, tempfile.TemporaryDirectory(prefix=".new-", dir=self.directory) as work:
            # Somebody else may have installed it while this run waited.
            if os.access(self._python, os.X_OK):
                return
            staged, wanted = Path(work, "environment"), Path(work, "requirements.txt")
            wanted.write_text(requirements(WHEELS), encoding="utf-8")
            # Without pip in it, for which Debian has a package of its own: the pip of the host fills it.
            self._run([sys.executable, "-m", "venv", "--without-pip", str(staged)], work, progress, lock)
            packages = next(staged.glob("lib/python*/site-packages"))
            argv = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
            argv += ["--progress-bar=off", "--retries=2", "--no-deps", "--only-binary=:all:", "--require-hashes"]
            self._run([*argv, f"--target={packages}", f"--requirement={wanted}"], work, progress, lock)
            self._run([str(staged / "bin" / "python"), "-I", "-c", "import huggingface_hub.file_download"], work, progress, lock)
            staged.chmod(0o755)
            os.sync()
            # Earlier environments, and what killed runs have left. A run that is still at work in one has loaded what it needs.
            for old in self.directory.glob("[!.]*-py*-*"):
                shutil.rmtree(old)
            for left in self.directory.glob(".new-*"):
                if left != Path(work):
                    shutil.rmtree(left)
            os.rename(staged, self.place)

    def _run(self, argv: list[str], work: str, progress: ProgressFile, lock: int) -> None:
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        rc = follow(argv, on_line=lines.append, on_idle=progress.beat, env={"TMPDIR": work}, keep_open=(lock,))
        if rc != 0:
            raise _failed(Completed(tuple(argv), rc, "\n".join(lines), ""), self.directory)

    def _disk_error(self, error: OSError) -> UserError:
        where = f"client_directory: the hub's client can't be installed below {self.directory}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return UserError(
                f"{where} by the user with the id {os.geteuid()}: {error.strerror}; run this with become: true, or give another"
            )
        return UserError(f"{where}: {error.strerror or error}; free some space, or give another")


def _failed(failed: Completed, directory: Path) -> UserError:
    output = failed.stdout
    details = {**failed.details(), "stdout": without_credentials("\n".join(output.splitlines()[-10:]))}
    if os.strerror(errno.ENOSPC) in output:
        return UserError(f"client_directory: no space was left on the file system of {directory}; free some, or give another", **details)
    if mismatch := hash_mismatch(output):
        package, expected, got = mismatch
        return UserError(
            f"{_INDEX} gave another file for {package} than the hub's client is made of (sha256 {got}, not {expected}), so nothing was "
            "installed; run this again, and if it stays so find out who changed the file on the way",
            **details,
        )
    if index_unreachable(output):
        return UserError(
            f"{_INDEX} can't be reached, so the hub's client can't be installed; check the network and `pip config list` there, or give an "
            "interpreter that has huggingface_hub (python)",
            **details,
        )
    if absent := not_offered(output):
        return UserError(
            f"{_INDEX} has no {absent}, of which the hub's client is made; complete the mirror, or give an interpreter that has "
            "huggingface_hub (python)",
            **details,
        )
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "it said nothing")
    return UserError(f"the hub's client can't be installed: {without_credentials(last)}", **details)
