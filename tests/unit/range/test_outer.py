# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the range reads from the outer machine's configuration."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.baremetal.llm.tests.range.rangelib import base, outer
from ansible_collections.baremetal.llm.tests.range.rangelib.outer import Source

MIRROR = "http://mirror.example.com/debian"
SECURITY = "http://mirror.example.com/debian-security"


def test_deb822_sources() -> None:
    text = f"""
# a comment
Types: deb deb-src
URIs: {MIRROR}
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {SECURITY}
Suites: bookworm-security
Components: main
 non-free
Enabled: yes

Types: deb
URIs: http://off.example.com/
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://sources.example.com/
Suites: bookworm
Components: main
"""
    assert outer.parse_deb822(text) == [
        Source(MIRROR, "bookworm", "main contrib"),
        Source(MIRROR, "bookworm-updates", "main contrib"),
        Source(SECURITY, "bookworm-security", "main non-free"),
    ]


def test_one_line_sources() -> None:
    text = (
        f"# deb {MIRROR} sid main\ndeb [arch=amd64 signed-by=/k.gpg] {MIRROR} bookworm main contrib # why\ndeb-src {MIRROR} bookworm main\n"
    )
    assert outer.parse_one_line(text) == [Source(MIRROR, "bookworm", "main contrib")]


@pytest.mark.parametrize("named", ["bookworm", "stable"])
def test_sources_of_another_release_keep_the_mirror(named: str) -> None:
    sources = [
        Source(SECURITY, f"{named}-security", "main"),
        Source(MIRROR, named, "main contrib"),
        Source(MIRROR, f"{named}-updates", "main"),
        Source("https://vendor.example.com/apt", "nodistro", "main"),
        Source("https://vendor.example.com/cloud", "cloud-sdk-bookworm", "main"),
    ]
    assert outer.debian_sources(sources, "bookworm", "trixie") == [
        Source(MIRROR, "trixie", "main"),
        Source(SECURITY, "trixie-security", "main"),
        Source(MIRROR, "trixie-updates", "main"),
    ]


def test_sources_written_are_read_back_the_same() -> None:
    sources = [Source(MIRROR, "trixie", "main"), Source(SECURITY, "trixie-security", "main")]
    assert outer.parse_deb822(base.deb822(sources)) == sources


def test_only_options_about_reaching_the_mirror_are_carried() -> None:
    dump = """Acquire "";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy "http://proxy.example.com:3128/";
Acquire::https::Proxy "";
Acquire::Languages "none";
DPkg::Post-Invoke:: "rm -f /x";
"""
    assert outer.carried_apt_options(dump) == (
        'Acquire::Check-Valid-Until "false";\nAcquire::http::Proxy "http://proxy.example.com:3128/";\n'
    )


def test_os_release() -> None:
    assert outer.os_release('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nEMPTY=\n') == {
        "ID": "debian",
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
    }


def test_pip_options_that_mean_something_inside() -> None:
    listed = """:env:.cert='/opt/company.pem'
:env:.default-timeout='180'
:env:.find-links='/opt/wheels'
:env:.index-url='https://index.example.com/simple'
global.extra-index-url='file:///opt/pypi/simple https://more.example.com/simple'
global.index-url='https://overridden.example.com/simple'
install.user='true'
"""
    assert outer.pip_conf(listed) == (
        "[global]\n"
        "cert = /etc/ssl/certs/ca-certificates.crt\n"
        "extra-index-url = https://more.example.com/simple\n"
        "index-url = https://index.example.com/simple\n"
        "timeout = 180\n"
    )


def test_pip_always_trusts_what_the_system_trusts() -> None:
    assert outer.pip_conf("") == "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"


@pytest.mark.parametrize(
    ("text", "upstream", "expected"),
    [
        ("nameserver 192.0.2.53\n", "nameserver 192.0.2.1\n", "nameserver 192.0.2.53\n"),
        ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
        ("nameserver 127.0.0.1\n", None, "nameserver 127.0.0.1\n"),
    ],
)
def test_resolv_conf(text: str, upstream: str | None, expected: str) -> None:
    assert outer.resolv_conf(text, upstream) == expected


def test_hosts_file_carries_names_but_not_the_outer_loopback() -> None:
    text = "127.0.0.1 localhost\n127.0.1.1 laptop\n::1 ip6-localhost\n# note\n192.0.2.7 mirror.example.com\n"
    assert outer.hosts_file(text, "web", "10.0.0.10") == (
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.0.0.10 web\n192.0.2.7 mirror.example.com\n"
    )


def test_proxies() -> None:
    assert outer.proxy_environment({"https_proxy": "http://p:1", "NO_PROXY": "a,b", "PATH": "/bin", "http_proxy": ""}) == (
        'https_proxy="http://p:1"\nNO_PROXY="a,b"\n'
    )


def test_certificates_are_known_by_content() -> None:
    def pem(content: bytes, width: int) -> str:
        text = base64.b64encode(content).decode()
        lines = "\n".join(text[i : i + width] for i in range(0, len(text), width))
        return f"# a comment\n-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"

    one, other = b"1" * 100, b"2" * 100
    assert outer.certificates(pem(one, 64)).keys() == outer.certificates(pem(one, 76)).keys()
    assert len(outer.certificates(pem(one, 64) + pem(other, 64))) == 2
