# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import Package
from ansible_collections.baremetal.llm.plugins.module_utils._driver_catalogue import Kernel
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._driver_state import Seen, State
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_driver import Flavour


def test_the_state_of_the_packages() -> None:
    seen = Seen(
        Kernel("6.1.0-40-amd64"),
        packages=(
            Package("libcuda1", "590.48.01-1", "installed", held=True, intact=True),
            Package("nvidia-driver-cuda", "590.48.01-1", "unpacked", held=False, intact=False),
            Package("nvidia-container-toolkit", "1.18.0-1", "unpacked", held=True, intact=False),
        ),
        record=Record("580.95.05", "open", {}, (), "590.48.01", "k", "b", "t"),
    )
    state = seen.state
    assert state.versions == {"libcuda1": "590.48.01-1", "nvidia-driver-cuda": "590.48.01-1"}
    assert (state.broken, state.held, state.upgraded_from) == (("nvidia-driver-cuda",), ("libcuda1",), "580.95.05")
    assert (state.version, state.mixed, state.usable, seen.unfinished) == ("590.48.01", False, False, True)


@pytest.mark.parametrize(
    ("versions", "more", "flavour", "usable"),
    [
        ({"libcuda1": "580.95.05-1", "nvidia-kernel-open-dkms": "580.95.05-1"}, {}, Flavour.OPEN, True),
        ({"libcuda1": "580.95.05-1", "nvidia-kernel-dkms": "580.95.05-1"}, {}, Flavour.PROPRIETARY, True),
        ({"libcuda1": "580.95.05-1", "nvidia-kernel-dkms": "580.95.05-1", "nvidia-kernel-open-dkms": "580.95.05-1"}, {}, None, True),
        ({"libcuda1": "580.95.05-1"}, {}, None, False),
        ({}, {}, None, False),
        ({"libcuda1": "580.95.05-1", "nvidia-kernel-dkms": "580.95.05-1"}, {"broken": ("libcuda1",)}, Flavour.PROPRIETARY, False),
        ({"libcuda1": "590.48.01-1", "nvidia-kernel-dkms": "580.95.05-1"}, {}, Flavour.PROPRIETARY, True),
        ({"libcuda1": "590.48.01-1", "nvidia-kernel-dkms": "580.95.05-1"}, {"upgraded_from": "580.95.05"}, Flavour.PROPRIETARY, False),
        ({"libcuda1": "580.95.05-1", "nvidia-kernel-dkms": "580.95.05-1"}, {"upgraded_from": "580.95.05"}, Flavour.PROPRIETARY, True),
    ],
)
def test_what_is_usable(versions: dict[str, str], more: dict[str, Any], flavour: Flavour | None, usable: bool) -> None:
    state = State(versions, **more)
    assert (state.flavour, state.usable) == (flavour, usable)
