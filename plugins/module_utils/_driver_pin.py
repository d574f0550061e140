# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that keep a driver at its version, and nouveau away from its GPUs.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re

from ansible_collections.baremetal.llm.plugins.module_utils._debian_packages import pin
from ansible_collections.baremetal.llm.plugins.module_utils._driver_packages import GLOBS

PIN = "/etc/apt/preferences.d/baremetal-llm-nvidia-driver"
# Sorted behind 50unattended-upgrades, whose list it adds to.
BLACKLIST = "/etc/apt/apt.conf.d/60baremetal-llm-nvidia-driver"
NOUVEAU = "/etc/modprobe.d/baremetal-llm-nouveau.conf"
FILES = (PIN, BLACKLIST, NOUVEAU)


def texts(version: str) -> dict[str, str]:
    """What each of the files has to say."""
    return {PIN: pin_text(version), BLACKLIST: blacklist_text(), NOUVEAU: nouveau_text()}


def pin_text(version: str) -> str:
    why = f"NVIDIA's driver stays at {version}. Written by baremetal.llm.nvidia_driver, which also changes it."
    return pin(GLOBS, f"{version}*", why)


def pinned_version(text: str) -> str | None:
    match = re.search(r"^Pin: version (\S+)\*$", text, re.MULTILINE)
    return match[1] if match else None


def blacklist_text() -> str:
    """apt.conf adds the entries of several files to one list: of regular expressions that match from the start of a name."""
    entries = "".join(f'    "{glob.rstrip("*")}";\n' for glob in GLOBS)
    return (
        "// A driver that is upgraded while it runs leaves no program a GPU until the next boot. Written by baremetal.llm.nvidia_driver.\n"
        f"Unattended-Upgrade::Package-Blacklist {{\n{entries}}};\n"
    )


def nouveau_text() -> str:
    return (
        "# nouveau would hold the GPUs before NVIDIA's driver can. Written by baremetal.llm.nvidia_driver.\n"
        "blacklist nouveau\n"
        "options nouveau modeset=0\n"
    )
