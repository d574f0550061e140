# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of the range lives and what it is called. Every name is derived, so clean-up needs no memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import RangeError

ROOT_NAME = "baremetal-llm-range"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z]")
_SCOPE = re.compile(r"[a-z0-9]{1,8}")


def checked_name(name: str, what: str = "host") -> str:
    if not _NAME.fullmatch(name):
        raise RangeError(f"`{name}` cannot name a {what}: use up to 40 lower-case letters, digits and dashes, starting with a letter.")
    return name


@dataclass(frozen=True)
class Layout:
    """One scope of the range: scopes share the base cache and nothing else, so tests do not see the hosts of a demo."""

    scope: str
    cache: Path
    run_root: Path = Path("/run") / ROOT_NAME
    storage_root: Path = Path("/var/tmp") / ROOT_NAME

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Layout:
        scope = environment.get("RANGE_SCOPE", "main")
        if not _SCOPE.fullmatch(scope):
            raise RangeError(f"RANGE_SCOPE is `{scope}`: use 1 to 8 lower-case letters and digits.")
        home = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/root")) / ".cache")
        cache = Path(environment.get("RANGE_CACHE") or home / "baremetal-llm" / "range")
        return cls(scope=scope, cache=cache.absolute())

    # --- shared by all scopes
    @property
    def lock(self) -> Path:
        return self.run_root / "lock"

    @property
    def before(self) -> Path:
        """How the outer machine was before the first host of any scope."""
        return self.run_root / "before.json"

    # --- this scope
    @property
    def state(self) -> Path:
        return self.run_root / "scopes" / self.scope

    @property
    def network(self) -> Path:
        return self.state / "network.json"

    @property
    def key(self) -> Path:
        return self.state / "id_ed25519"

    @property
    def hosts(self) -> Path:
        return self.state / "hosts"

    @property
    def storage(self) -> Path:
        return self.storage_root / self.scope

    @property
    def snapshots(self) -> Path:
        return self.storage / "snapshots"

    @property
    def bridge(self) -> str:
        return f"bmllm-{self.scope}"  # a link name has at most 15 characters

    @property
    def tag(self) -> str:
        return f"{ROOT_NAME}:{self.scope}"

    # --- one host
    def host_state(self, name: str) -> Path:
        return self.hosts / name

    def host_lock(self, name: str) -> Path:
        return self.run_root / "locks" / f"{self.scope}.{name}"

    def host_storage(self, name: str) -> Path:
        return self.storage / "hosts" / name

    def machine(self, name: str) -> str:
        """systemd-nspawn names the outer end of the veth after this: `vb-bmllm-…`."""
        return f"bmllm-{self.scope}-{name}"
