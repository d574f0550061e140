# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of models that no host has yet, from the files of the controller or from the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._bundle_manifest import NotBundledError, model_place
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._header_cache import HeaderCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import HubRepo
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import is_commit


def of_local(path: str) -> dict[str, Any]:
    return read_model(LocalFiles("models_local_files"), path).as_dict()


def of_bundle(bundle: str, repo_id: str, commit: str, file: str) -> dict[str, Any]:
    """Of a file that is to be sent from there; that it is not is known before anything is changed."""
    path = Path(bundle).expanduser() / model_place(repo_id, commit, file)
    if not path.is_file():
        raise NotBundledError(f"inference_bundle: {bundle} does not hold {file} of {repo_id}, which this host lacks")
    return {**read_model(LocalFiles("inference_bundle"), str(path)).as_dict(), "commit": commit}


@dataclass(frozen=True)
class HubHeaders:
    endpoint: str
    token: str | None
    offline: bool
    timeout: float
    cache: HeaderCache
    bundle: str | None = None

    def of(self, repo_id: str, revision: str, file: str) -> dict[str, Any]:
        """The hub is asked for nothing where a commit's header is kept. Of a branch, one byte tells the commit."""
        if self.bundle and is_commit(revision):
            return of_bundle(self.bundle, repo_id, revision, file)
        name = (self.endpoint, repo_id, revision, file)
        kept = self.cache.get(*name) if is_commit(revision) else None
        if kept is not None:
            return kept
        if self.offline:
            raise UnavailableError(f"inference_offline is true, and the header of {file} of {repo_id} at {revision} is not known here")
        repo = HubRepo(repo_id, revision, endpoint=self.endpoint, token=self.token, timeout=self.timeout)
        if not is_commit(revision):
            with repo.open(file) as source:
                source.read(0, 1)
            if repo.commit:
                return self.of(repo_id, repo.commit, file)
        header = {**read_model(repo, file).as_dict(), "commit": repo.commit}
        if is_commit(revision):
            self.cache.put(header, *name)
        return header
