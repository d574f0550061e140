# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image of a container: on the host, or fetched before anything is changed.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning


def fetch(docker: Docker, where: str, name: str, *, pull: bool, predict: bool) -> Iterator[Problem]:
    """Bring the image if it is not there; ``where`` is the setting that names it, and ``predict`` where nothing may be changed."""
    if docker.image(name) is not None:
        return
    missing = f"{where}: {name} is not on this host"
    if predict:
        remedy = "Nothing to do if it can be fetched" if pull else "Bring it there with docker load"
        yield warning("image_missing", missing, remedy)
    elif pull:
        docker.pull(name, where)
    else:
        yield error("image_missing", f"{missing}, and must not be fetched", "Bring it there with docker load")
