# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._debian_packages import installed, missing

# Recorded on Debian 12; cmake was removed without its configuration.
OUTPUT = """\
installed\tca-certificates\t20230311+deb12u1\t
config-files\tcmake\t3.25.1-1\t
installed\tgcc\t4:12.2.0-3\tc-compiler, gcc-x86-64-linux-gnu (= 4:12.2.0-3)
installed\tlibssl-dev\t3.0.17-1~deb12u2\t
half-installed\tninja-build\t1.11.1-2~deb12u1\t
"""


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (["ca-certificates", "gcc"], []),
        (["cmake", "gcc", "ninja-build", "g++"], ["cmake", "ninja-build", "g++"]),
        (["c-compiler", "gcc-x86-64-linux-gnu", "libssl-dev=3.0.17-1~deb12u2", "gcc:amd64"], []),
        (["cmake=3.25.1-1"], ["cmake=3.25.1-1"]),
        ([], []),
    ],
)
def test_missing(names: list[str], absent: list[str]) -> None:
    assert missing(names, OUTPUT) == absent


def test_installed() -> None:
    """As the hosts have them that are asked for Docker's and NVIDIA's packages."""
    assert {package.name: package.version for package in installed(OUTPUT)} == {
        "ca-certificates": "20230311+deb12u1",
        "gcc": "4:12.2.0-3",
        "libssl-dev": "3.0.17-1~deb12u2",
    }
