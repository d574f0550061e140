# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a lock file, as the lock that it is."""

from __future__ import annotations

import functools

import yaml
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.baremetal.llm.plugins.module_utils._deploy_lock import WRITE_ANEW, DeployLock, parse
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


@functools.lru_cache(maxsize=4)  # the same file is looked at again for each variable that has to do with it
def read_lock(text: str, name: str) -> DeployLock:
    try:
        raw = yaml_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{name}: line {line} is not YAML ({error.problem}), as after a merge that left its marks; {WRITE_ANEW}") from None
    except yaml.YAMLError:
        raise UserError(f"{name}: it holds characters that YAML does not have; {WRITE_ANEW}") from None
    return parse(raw, name)
