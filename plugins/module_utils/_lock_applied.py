# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one host gets, once its lock has been looked at: as the inventory says, with every name that the lock knows settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import DeployLock
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._image import parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._lock_wanted import Wanted, parse_wanted
from ansible_collections.baremetal.llm.plugins.module_utils._source import described_source


def applied_models(lock: DeployLock, raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The models of the hub by their services, for hf_model. Of one that the lock does not cover, it may know the commit all the same."""
    models = {}
    for model in _wanted(raw).models:
        entry = lock.models.get(model.key)
        settled: dict[str, Any] = {"revision": model.revision}
        if entry and model.is_covered_by(entry):
            settled["expected"] = entry.model.as_dict()
        elif entry:
            settled = {"revision": entry.model.commit}
        models[model.service] = {"repo_id": model.repo_id, "files": list(model.files), **settled}
    return models


def applied_services(lock: DeployLock, raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the lock changes in the services, by their names."""
    wanted = _wanted(raw)
    changes: dict[str, dict[str, Any]] = {model.service: {} for model in wanted.models}
    for model in wanted.models:
        if locked := lock.lookup(model.repo_id, model.revision):
            changes[model.service]["model"] = {"revision": locked.commit}
    for image in wanted.images:
        settled = lock.settle_image(image.image)
        if image.own and settled != image.image:
            changes.setdefault(image.service, {})["image"] = str(settled)
    return changes


def applied_base_image(lock: DeployLock, raw: Mapping[str, Any]) -> str:
    """The image of services that name none, with its digest if it is locked."""
    text = str(raw.get("base_image") or "")
    image = parse_image(text)
    return str(lock.settle_image(image)) if image else text


def _wanted(raw: Mapping[str, Any]) -> Wanted:
    try:
        return parse_wanted({**raw, "llama_cpp_source": None})
    except UserError:  # of which the problems of the services tell
        return Wanted(str(raw.get("host")))


def applied_source(lock: DeployLock, raw: object) -> object:
    """The description of the sources of llama.cpp, with the commit in the place of a branch, and the checksum where there was none."""
    try:
        source = described_source(raw)
    except UserError:  # of which the build tells
        return raw
    locked = lock.lookup_source(source)
    if locked is None or not isinstance(raw, Mapping):
        return raw
    return {**raw, "version" if source.kind == "git" else "sha256": locked.digest}
