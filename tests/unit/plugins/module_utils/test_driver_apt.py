# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The texts were recorded on Debian 12, with apt 2.6.1."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._driver_apt import (
    Change,
    Package,
    hindrance,
    parse_download_bytes,
    parse_madison,
    parse_packages,
    parse_simulation,
    reason,
    transaction_diff,
)

MADISON = """\
nvidia-driver-cuda | 590.48.01-1 | file:/srv/repo ./ Packages
nvidia-driver-cuda | 580.126.09-1 | file:/srv/repo ./ Packages
nvidia-driver-cuda | 580.126.09-1 | http://deb.example.org/debian bookworm/contrib amd64 Packages
  libcuda1 | 590.48.01-1 | file:/srv/repo ./ Packages
linux-headers-6.18.44-fc-v669 |          1 | file:/srv/range-gpus/apt ./ Packages
     hello |     2.10-3 | http://deb.example.org/debian bookworm/main Sources
"""

UPGRADE = """\
NOTE: This is only a simulation!
      apt-get needs root privileges for real execution.
Reading package lists...
The following packages will be REMOVED:
  nvidia-kernel-open-dkms
Remv nvidia-kernel-open-dkms [580.126.09-1]
Inst nvidia-driver-cuda [590.48.01-1] (580.126.09-1 NVIDIA:local [amd64]) []
Inst libcuda1 [590.48.01-1] (580.126.09-1 NVIDIA:local [amd64])
Inst nvidia-kernel-dkms (580.126.09-1 localhost [amd64]) []
Inst libcuda1:i386 (580.126.09-1 NVIDIA:local [i386])
Conf nvidia-driver-cuda (580.126.09-1 NVIDIA:local [amd64])
Conf nvidia-kernel-dkms (580.126.09-1 localhost [amd64])
"""

UNMET = """\
Reading package lists...
Some packages could not be installed. This may mean that you have
requested an impossible situation or if you are using the unstable
distribution that some required packages have not yet been created
or been moved out of Incoming.
The following information may help to resolve the situation:

The following packages have unmet dependencies:
 nvidia-driver-cuda : Depends: libcuda1 (= 580.126.09-1) but 590.48.01-1 is to be installed
                      Depends: libnvidia-ml1 (= 580.126.09-1) but 590.48.01-1 is to be installed
E: Unable to correct problems, you have held broken packages.
"""


def test_madison() -> None:
    assert parse_madison(MADISON) == {
        "nvidia-driver-cuda": ["590.48.01-1", "580.126.09-1"],
        "libcuda1": ["590.48.01-1"],
        "linux-headers-6.18.44-fc-v669": ["1"],
    }
    assert parse_madison("") == {}


def test_packages() -> None:
    text = (
        "libcuda1\tamd64\t590.48.01-1\thold\tok\tinstalled\n"
        "libcuda1\ti386\t590.48.01-1\tinstall\tok\tinstalled\n"
        "nvidia-driver-cuda\tamd64\t610.43.02-1\tinstall\tok\tunpacked\n"
        "nvidia-modprobe\tamd64\t610.43.02-1\tinstall\treinstreq\thalf-installed\n"
        "nvidia-open\tall\t590.48.01-1\tdeinstall\tok\tconfig-files\n"
        "nvidia-kernel-common\tall\t20220217+3~deb12u1\tinstall\tok\tinstalled\n"
        "foo\t\t\tunknown\tok\tnot-installed\n"
    )
    assert parse_packages(text, "amd64") == [
        Package("libcuda1", "590.48.01-1", "installed", held=True, intact=True),
        Package("libcuda1:i386", "590.48.01-1", "installed", held=False, intact=True),
        Package("nvidia-driver-cuda", "610.43.02-1", "unpacked", held=False, intact=False),
        Package("nvidia-modprobe", "610.43.02-1", "half-installed", held=False, intact=False),
        Package("nvidia-kernel-common", "20220217+3~deb12u1", "installed", held=False, intact=True),
    ]


def test_simulation() -> None:
    changes = parse_simulation(UPGRADE)
    assert changes == [
        Change("nvidia-kernel-open-dkms", "580.126.09-1", None),
        Change("nvidia-driver-cuda", "590.48.01-1", "580.126.09-1"),
        Change("libcuda1", "590.48.01-1", "580.126.09-1"),
        Change("nvidia-kernel-dkms", None, "580.126.09-1"),
        Change("libcuda1:i386", None, "580.126.09-1"),
    ]
    assert [str(change) for change in changes[:4]] == [
        "remove nvidia-kernel-open-dkms 580.126.09-1",
        "nvidia-driver-cuda 590.48.01-1 -> 580.126.09-1",
        "libcuda1 590.48.01-1 -> 580.126.09-1",
        "install nvidia-kernel-dkms 580.126.09-1",
    ]
    before, after = transaction_diff(changes)
    assert "nvidia-kernel-open-dkms 580.126.09-1\n" in before and "nvidia-kernel-open-dkms" not in after
    assert "nvidia-kernel-dkms 580.126.09-1\n" in after and "libcuda1 590.48.01-1\n" in before


def test_a_package_that_goes_and_comes_is_a_change_of_its_version() -> None:
    text = "Remv libcuda1 [590.48.01-1]\nInst libcuda1 (580.126.09-1 NVIDIA:local [amd64])\n"
    assert parse_simulation(text) == [Change("libcuda1", "590.48.01-1", "580.126.09-1")]


def test_download_size() -> None:
    text = (
        "Need to get 53.1 kB of archives.\n"
        "'http://deb.example.org/debian/pool/main/h/hello/hello_2.10-3_amd64.deb' hello_2.10-3_amd64.deb 53080 MD5Sum:d04c2e9639dee67a\n"
        "'http://deb.example.org/debian/pool/main/h/hi/hi_1_all.deb' hi_1_all.deb 20 \n"
        "'file:/srv/mirror/./ho_1_all.deb' ho_1_all.deb 4000 SHA256:d04c2e9639dee67a\n"
    )
    assert parse_download_bytes(text) == 53100
    assert parse_download_bytes("") == 0


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (
            UNMET,
            (
                "nvidia-driver-cuda : Depends: libcuda1 (= 580.126.09-1) but 590.48.01-1 is to be installed; "
                "Depends: libnvidia-ml1 (= 580.126.09-1) but 590.48.01-1 is to be installed"
            ),
        ),
        ("E: Version '999' for 'nvidia-driver-cuda' was not found\n", "Version '999' for 'nvidia-driver-cuda' was not found"),
        ("something else\n\n", "something else"),
        ("", "it said nothing"),
    ],
)
def test_reason(output: str, why: str) -> None:
    assert reason(output) == why


UNREACHABLE = """\
W: Download is performed unsandboxed as root as file '/var/cache/apt/archives/partial/sed_4.9-1_amd64.deb' couldn't be accessed by user '_apt'.
E: Failed to fetch http://deb.example.org/debian/pool/main/h/hostname/hostname_3.23%2bnmu1_amd64.deb  Could not connect to 192.0.2.1:80 (192.0.2.1). - connect (111: Connection refused)
E: Failed to fetch http://deb.example.org/debian/pool/main/s/sed/sed_4.9-1%2bdeb12u1_amd64.deb  Unable to connect to 192.0.2.1:80:
E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?
"""
LOCKED = """\
E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)
N: Be aware that removing the lock file is not a solution and may break your system.
E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?
"""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            UNREACHABLE,
            ("hostname_3.23%2bnmu1_amd64.deb and 1 more (Could not connect to 192.0.2.1:80", "or a mirror", "nvidia_driver_manage"),
        ),
        (
            UNREACHABLE.splitlines()[2],
            ("cannot fetch http://deb.example.org/debian/pool/main/s/sed/sed_4.9-1%2bdeb12u1_amd64.deb (Unable to",),
        ),
        (LOCKED, ("process 4711 (unattended-upgr) holds /var/lib/dpkg/lock-frontend;", "raise nvidia_driver_lock_timeout")),
        ("E: Could not get lock /var/lib/dpkg/lock\n", ("another program holds /var/lib/dpkg/lock;",)),
    ],
)
def test_what_an_operator_can_put_right(output: str, words: tuple[str, ...]) -> None:
    said = hindrance(output)
    assert said and [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("output", ["", "E: Sub-process /usr/bin/dpkg returned an error code (1)\n", UNMET])
def test_what_only_apt_can_say(output: str) -> None:
    assert hindrance(output) is None
