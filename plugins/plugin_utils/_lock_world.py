# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lock is made of, asked from the controller: the hub, registries of images, git repositories, the package index.

It takes no root, and keeps nothing.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from ansible_collections.baremetal.llm.plugins.module_utils import _hub_listing
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import HubRepo
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import HubFile, Listing
from ansible_collections.baremetal.llm.plugins.module_utils._job import Job
from ansible_collections.baremetal.llm.plugins.module_utils._lock_wanted import WantedImage, WantedModel
from ansible_collections.baremetal.llm.plugins.module_utils._progress import ProgressFile
from ansible_collections.baremetal.llm.plugins.module_utils._registry import digest_of, login_of
from ansible_collections.baremetal.llm.plugins.module_utils._source import Source, SourceCache, fetch, resolve_revision
from ansible_collections.baremetal.llm.plugins.plugin_utils._registry_web import RegistryWeb, docker_config


class Outside:
    def look(self, model: WantedModel, revision: str) -> Listing:
        return _hub_listing.look(_repo(model, revision))

    def sha256(self, model: WantedModel, commit: str, file: HubFile) -> str:
        return _hub_listing.sha256_of(_repo(model, commit), file)

    def image_digest(self, image: WantedImage) -> str:
        login = login_of(image.image.registry, docker_config(os.environ))
        return digest_of(image.image, RegistryWeb(), login, plain=image.plain)

    def digest(self, source: Source) -> str:
        missing = [f"{tool.what} ({tool.package})" for tool in source.tools if tool.find() is None]
        if missing:
            raise UserError(f"llama_cpp_source: asking for {source.label} takes {', '.join(missing)} on this machine; install it")
        try:
            return resolve_revision(source).digest if source.kind == "git" else _downloaded_digest(source)
        except UserError as failed:
            raise UserError(f"llama_cpp_source: {failed.msg}", **failed.details) from None


def _repo(model: WantedModel, revision: str) -> HubRepo:
    return HubRepo(model.repo_id, revision, endpoint=model.endpoint, token=model.token or None)


def _downloaded_digest(source: Source) -> str:
    """An index can tell a checksum in several ways, or not at all; the file itself always does."""
    with tempfile.TemporaryDirectory(prefix="deploy-lock-") as directory:
        work = Path(directory)
        job = Job(io.StringIO(), ProgressFile(work / "progress.json"))
        return fetch(source, None, SourceCache(work / "sources"), work, job).digest
