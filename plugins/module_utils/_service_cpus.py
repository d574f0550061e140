# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host has the CPUs that a service may use.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service


def cpu_problems(service: Service, there: int | None) -> Iterator[Problem]:
    """``there`` are the CPUs of the host; None where nobody has told."""
    # daemon/daemon_unix.go: "range of CPUs is from …"
    cpus = service.resources.cpus
    if service.manager == "compose" and cpus is not None and there is not None and cpus > there:
        message = f"resources.cpus: {cpus:g} is more than the {there} CPUs of this host, which Docker refuses"
        yield error("cpus_exceed_host", message, f"Use at most {there}, or leave it out for all of them")
