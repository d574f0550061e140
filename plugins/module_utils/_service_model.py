# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files of a service's model are on its host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._gguf_shards import shard_names
from ansible_collections.baremetal.llm.plugins.module_utils._hub_cache import RepoCache
from ansible_collections.baremetal.llm.plugins.module_utils._service import Model, Service
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_files import set_for


def located(service: Service, hub_cache: str) -> Service:
    """The service with the paths on this host of files that are named by a repository of the hub."""
    model = service.model
    if model.repo_id is None:
        return service
    cache = RepoCache(hub_cache, model.repo_id)
    # Of a branch that was never fetched nobody knows the commit; then its name stands for it, and the file is missing.
    snapshot = cache.snapshot(cache.commit_of(model.revision) or model.revision)
    mmproj = None if model.mmproj is None else str(snapshot / model.mmproj)
    # Of a whole repository, the snapshot itself.
    return replace(service, model=replace(model, file=str(snapshot / model.file), mmproj=mmproj))


def wanted_files(engine: str, options: Mapping[str, Any], named: Iterable[str]) -> list[str]:
    """What of a repository a service needs: the files that it names, or what its engine reads of the whole."""
    return [set_for(options)] if engine == "vllm" else list(named)


def file_names(model: Model) -> list[str]:
    """All files that it names, the further shards too."""
    return [name for path in model.files.values() for name in shard_names(path) or [path]]
