# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The headers of models that no host has yet, from the files of the controller or from the hub."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._bundle_manifest import NotBundledError, model_place
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UnavailableError, UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import MissingFileError
from ansible_collections.baremetal.llm.plugins.module_utils._header_cache import HeaderCache
from ansible_collections.baremetal.llm.plugins.module_utils._hub_file import HubRepo
from ansible_collections.baremetal.llm.plugins.module_utils._hub_listing import look
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import is_commit
from ansible_collections.baremetal.llm.plugins.module_utils._memory_snapshot import read_snapshot
from ansible_collections.baremetal.llm.plugins.module_utils._mistral_params import as_config
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import CONFIG, MISTRAL_CONFIG, VLLM_MISTRAL, members

_LARGEST_CONFIG = 8 << 20  # bytes


def of_local(path: str) -> dict[str, Any]:
    return read_model(LocalFiles("models_local_files"), path).as_dict()


def of_bundle(bundle: str, repo_id: str, commit: str, file: str) -> dict[str, Any]:
    """Of a file that is to be sent from there; that it is not is known before anything is changed."""
    path = Path(bundle).expanduser() / model_place(repo_id, commit, file)
    if not path.is_file():
        raise NotBundledError(f"inference_bundle: {bundle} does not hold {file} of {repo_id}, which this host lacks")
    return {**read_model(LocalFiles("inference_bundle"), str(path)).as_dict(), "commit": commit}


def snapshot_of_bundle(bundle: str, repo_id: str, commit: str, kind: str) -> dict[str, Any]:
    """Of a whole model that is to be sent from there."""
    directory = Path(bundle).expanduser() / model_place(repo_id, commit, "")
    there = [path for path in directory.rglob("*") if path.is_file()]
    sizes = {str(path.relative_to(directory)): path.stat().st_size for path in there}
    try:
        names = members(kind, sizes, repo_id)
    except UserError:
        raise NotBundledError(f"inference_bundle: {bundle} does not hold all of {repo_id}, which this host lacks") from None
    found = read_snapshot(str(directory), mistral=kind == VLLM_MISTRAL)
    return {**found, "files": [{"path": name, "size": sizes[name]} for name in names], "commit": commit}


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

    def of_whole(self, repo_id: str, revision: str, kind: str) -> dict[str, Any]:
        """Of the files of a repository that make up the set ``kind``: how large they are, and what the model's configuration says."""
        if self.bundle and is_commit(revision):
            return snapshot_of_bundle(self.bundle, repo_id, revision, kind)
        kept = self.cache.get(self.endpoint, repo_id, revision, kind) if is_commit(revision) else None
        if kept is not None:
            return kept
        if self.offline:
            raise UnavailableError(f"inference_offline is true, and what {repo_id} at {revision} has is not known here")
        repo = HubRepo(repo_id, revision, endpoint=self.endpoint, token=self.token, timeout=self.timeout)
        if not is_commit(revision):
            with repo.open(CONFIG) as source, contextlib.suppress(MissingFileError):  # the list of files tells the commit as well
                source.read(0, 1)
            if repo.commit:
                return self.of_whole(repo_id, repo.commit, kind)
        listing = look(repo)
        sizes = {file.path: file.size for file in listing.files}
        names = members(kind, sizes, f"{repo_id} at {revision}")
        files = [{"path": name, "size": sizes[name]} for name in names]
        found = {
            "config": _config(repo, MISTRAL_CONFIG if MISTRAL_CONFIG in names else CONFIG, sizes),
            "files": files,
            "commit": listing.commit,
        }
        self.cache.put(found, self.endpoint, repo_id, listing.commit, kind)
        return found


def _config(repo: HubRepo, name: str, sizes: Mapping[str, int]) -> Any:
    """In the words of Hugging Face's format."""
    with repo.open(name) as file:
        read = file.read(0, min(sizes[name], _LARGEST_CONFIG))
    try:
        config = json.loads(read)
    except ValueError:
        raise UserError(f"{repo.label(name)} is not JSON; take another revision or model") from None
    return as_config(config) if name == MISTRAL_CONFIG and isinstance(config, dict) else config
