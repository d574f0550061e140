# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an upgrade of the driver keeps for the way back: the record of what there was, and its package files.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils._command import run
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import QUIET
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._files import read_text_or_none, sync_directory, write_atomic

STATE_DIRECTORY = "var/lib/baremetal-llm"
_APT_CACHE = "var/cache/apt/archives"


class UpgradeArchive:
    """``root`` stands for /, ``architecture`` is that of the host as Debian calls it: `amd64`."""

    def __init__(self, root: Path, architecture: str) -> None:
        self._cache = root / _APT_CACHE
        self._directory = root / STATE_DIRECTORY
        self._record = self._directory / "driver-upgrade.json"
        self._packages = self._directory / "driver-upgrade"
        self._architecture = architecture

    def record(self) -> Record | None:
        text = read_text_or_none(self._record)
        return None if text is None else Record.from_json(text, str(self._record))

    def write_record(self, record: Record) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        write_atomic(self._record, record.to_json().encode(), 0o644)

    def drop(self) -> None:
        # The record goes first: packages without one are swept away by the next upgrade, one without them could not be obeyed.
        self._record.unlink(missing_ok=True)
        sync_directory(self._directory)
        shutil.rmtree(self._packages, ignore_errors=True)

    def missing(self, packages: Mapping[str, str]) -> list[str]:
        """Of which of these no package file is kept."""
        return [f"{name}={version}" for name, version in sorted(packages.items()) if self._kept(name, version) is None]

    def keep(self, packages: Mapping[str, str]) -> list[str]:
        """Keep the package files of what is installed, and tell for which ones that was not possible."""
        self._packages.mkdir(parents=True, exist_ok=True, mode=0o755)
        if missing := self.missing(packages):
            with tempfile.TemporaryDirectory(dir=self._packages) as temporary:
                # At once, for every apt-get reads all of its lists. If it does not know one of them it brings none.
                if run(["apt-get", "download", *missing], cwd=temporary, env=QUIET, timeout=None).rc != 0:
                    for one in missing:
                        run(["apt-get", "download", one], cwd=temporary, env=QUIET, timeout=None)
                for one in missing:
                    name, _equals, version = one.partition("=")
                    found = self._package_file(Path(temporary), name, version) or self._package_file(self._cache, name, version)
                    if found:
                        self._keep_file(found, Path(temporary, "copy"))
        return self.missing(packages)

    def arguments_to_install(self, packages: Mapping[str, str]) -> list[str]:
        """The kept files, or else the versions by name."""
        return [self._kept(name, version) or f"{name}={version}" for name, version in sorted(packages.items())]

    def _kept(self, name: str, version: str) -> str | None:
        found = self._package_file(self._packages, name, version)
        return str(found) if found else None

    def _package_file(self, directory: Path, name: str, version: str) -> Path | None:
        """The file of a package; one without an architecture in its name is of this host's own, or of all."""
        plain, _colon, foreign = name.partition(":")
        escaped = version.replace(":", "%3a")
        names = (f"{plain}_{escaped}_{architecture}.deb" for architecture in ([foreign] if foreign else [self._architecture, "all"]))
        return next((directory / name for name in names if (directory / name).is_file()), None)

    def _keep_file(self, path: Path, partial: Path) -> None:
        shutil.copyfile(path, partial)
        with partial.open("rb") as copied:
            os.fsync(copied.fileno())
        os.replace(partial, self._packages / path.name)
        sync_directory(self._packages)
