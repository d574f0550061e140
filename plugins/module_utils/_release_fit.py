# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of a host's releases a driver would no longer run.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import find, parse_toolkit_version
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import parse_version, show_driver
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning


def release_problems(releases: Iterable[Mapping[str, object]], driver: str, stays: str | None) -> Iterator[Problem]:
    """Of releases as llama_build tells them; ``stays`` is the key of the one that serves on the new driver, too."""
    version = parse_version(driver, "driver_version", "580.126.09")
    for release in releases:
        toolkit = find(parse_toolkit_version(str(release["toolkit"]))) if release["backend"] == "cuda" and release["toolkit"] else None
        if toolkit is None or version >= toolkit.min_driver:
            continue
        key, least = str(release["build_key"]), show_driver(toolkit.min_driver)
        what = (
            f"release {key} was built with CUDA {release['toolkit']}, and what that builds runs on driver {least} or newer, not on {driver}"
        )
        if key == stays:
            yield error("release_unfit", what, f"Choose driver {least} or newer, or an older cuda_toolkit_version that fits both")
        else:
            used = f" ({release['used_by']} uses it now)" if release["used_by"] else ""
            yield warning("release_left_behind", f"{what}{used}", "On that driver it cannot be gone back to")
