# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.llm.plugins.module_utils import _release_fit
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


def release_problems(releases: t.Any, driver_version: t.Any, stays: str | None = None) -> list[dict[str, str]]:
    try:
        return [problem.as_dict() for problem in _release_fit.release_problems(releases, str(driver_version), stays)]
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError("release_problems: the input has to be the releases that llama_build returned") from error
    except UserError as error:
        raise AnsibleFilterError(f"release_problems: {error.msg}") from error


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"release_problems": release_problems}
