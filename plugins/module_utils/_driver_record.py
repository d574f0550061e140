# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a driver upgrade: what there was before, kept until the upgrade is accepted or taken back.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


@dataclass(frozen=True)
class Record:
    version: str
    kernel_module: str
    packages: Mapping[str, str]
    """Every package of the driver that was there, and its version."""
    automatic: tuple[str, ...]
    """Those of them that apt had marked as installed for others."""
    target: str
    """The version that was being installed."""
    kernel: str
    boot_id: str
    time: str

    def towards(self, target: str) -> Record:
        """Where to is changed; where from never is, so that going back leads to what was last accepted."""
        return replace(self, target=target)

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "automatic": list(self.automatic)}

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, path: str) -> Record:
        try:
            data = json.loads(text)
            return cls(**{**data, "automatic": tuple(data["automatic"])})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is not the record of a driver upgrade ({error}); move it away if nothing is to be taken back"
            ) from error
