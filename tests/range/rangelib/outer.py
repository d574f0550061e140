# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the outer machine's own configuration says about package mirrors, certificates, name servers and proxies.

The range names no server: a host inside reaches what the outer machine reaches, in the same way.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
import shutil
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import Unsupported
from .process import run

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
APT = Path("/etc/apt")
_POCKETS = ("", "-updates", "-security")
_CARRIED_APT_OPTIONS = re.compile(r"Acquire::(Check-Valid-Until|Check-Date|https?::Proxy\S*|https?::Pipeline-Depth|Retries)$")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
_CARRIED_PIP_OPTIONS = (
    "cert",
    "default-timeout",
    "extra-index-url",
    "find-links",
    "index-url",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


# --- apt


@dataclass(frozen=True)
class Source:
    uri: str
    suite: str
    components: str


def parse_one_line(text: str) -> list[Source]:
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.+?)\s*(?:#.*)?$", line.strip())
        if match:
            found.append(Source(*match.groups()))
    return found


def parse_deb822(text: str) -> list[Source]:
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t":
                fields[last] += " " + line.strip()
            else:
                last, _colon, value = line.partition(":")
                last = last.strip().lower()
                fields[last] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
            found += [
                Source(uri, suite, fields.get("components", "main"))
                for uri in fields.get("uris", "").split()
                for suite in fields.get("suites", "").split()
            ]
    return found


def debian_sources(sources: Iterable[Source], outer_codename: str, codename: str) -> list[Source]:
    """The outer machine's own sources for Debian, with the codename of the distribution to install."""
    wanted = {outer_codename + pocket: codename + pocket for pocket in _POCKETS}
    wanted.update({name.replace(outer_codename, "stable", 1): value for name, value in wanted.items()})
    chosen = {Source(s.uri, wanted[s.suite], "main"): None for s in sources if s.suite in wanted}
    return sorted(chosen, key=lambda s: s.suite)  # the archive itself first


def read_apt_sources(apt: Path = APT) -> list[Source]:
    found = parse_one_line((apt / "sources.list").read_text()) if (apt / "sources.list").exists() else []
    for path in sorted((apt / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            found += parse_one_line(path.read_text())
        elif path.suffix == ".sources":
            found += parse_deb822(path.read_text())
    return found


def os_release(text: str) -> dict[str, str]:
    return {key: "".join(shlex.split(value)) for key, _eq, value in (line.partition("=") for line in text.splitlines()) if key and value}


def mirrors(codename: str) -> list[Source]:
    release = os_release(Path("/etc/os-release").read_text())
    sources: list[Source] = []
    if release.get("ID") == "debian":
        sources = debian_sources(read_apt_sources(), release.get("VERSION_CODENAME", "stable"), codename)
    if not sources or sources[0].suite != codename:
        system = release.get("PRETTY_NAME", "unknown system")
        raise Unsupported(f"this machine ({system}) has no Debian mirror in /etc/apt to install {codename} from")
    return sources


def carried_apt_options(apt_config_dump: str) -> str:
    kept = [line for line in apt_config_dump.splitlines() if _CARRIED_APT_OPTIONS.match(line.partition(" ")[0])]
    return "".join(f"{line}\n" for line in kept if not line.endswith('"";'))


def apt_options() -> str:
    return carried_apt_options(run(["apt-config", "dump"]).stdout)


# --- certificates


def certificates(pem: str) -> dict[str, str]:
    """SHA-256 of the certificate → its PEM."""
    return {hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest(): block + "\n" for block in _PEM.findall(pem)}


def trusted_certificates(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the outer machine trusts, a company's own authorities included."""
    paths = [CA_BUNDLE, environment.get("SSL_CERT_FILE", ""), environment.get("PIP_CERT", "")]
    found: dict[str, str] = {}
    for path in dict.fromkeys(p for p in paths if p and Path(p).is_file()):
        found.update(certificates(Path(path).read_text(errors="replace")))
    return found


# --- pip


def pip_conf(pip_config_list: str) -> str:
    """The pip.conf for a host, from `pip config list` outside: paths of the outer machine mean nothing inside."""
    options: dict[str, str] = {}
    for line in pip_config_list.splitlines():
        key, _eq, value = line.partition("=")
        section, _dot, name = key.rpartition(".")
        if section in ("global", ":env:") and name in _CARRIED_PIP_OPTIONS and not (name in options and section == "global"):
            words = [CA_BUNDLE] if name == "cert" else str(ast.literal_eval(value)).split()
            reachable = [word for word in words if name == "cert" or not word.startswith(("/", "file:", "~", "."))]
            if reachable:
                options[name.removeprefix("default-")] = " ".join(reachable)
    # Debian's pip is asked for nothing but this: a missing bundle is the one thing that stops it behind a company proxy.
    options.setdefault("cert", CA_BUNDLE)
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in sorted(options.items()))


def read_pip_conf() -> str:
    pip = shutil.which("pip3") or shutil.which("pip")
    return pip_conf(run([pip, "config", "list"], check=False).stdout if pip else "")


# --- names and proxies


def resolv_conf(text: str, upstream: str | None) -> str:
    """A stub resolver on the loopback is not there inside: use the servers that it asks."""
    servers = [words[1] for words in map(str.split, text.splitlines()) if len(words) > 1 and words[0] == "nameserver"]
    if upstream is not None and all(server.startswith(("127.", "::1")) for server in servers):
        return upstream
    return text


def read_resolv_conf() -> str:
    upstream = Path("/run/systemd/resolve/resolv.conf")
    return resolv_conf(Path("/etc/resolv.conf").read_text(), upstream.read_text() if upstream.exists() else None)


def hosts_file(outer_hosts: str, name: str, address: str) -> str:
    """Names that the outer machine resolves by file, loopback ones left out, and the host's own."""
    loopback = ("#", "127.", "::1", "fe00:", "ff0")
    carried = [line for line in outer_hosts.splitlines() if line.strip() and not line.lstrip().startswith(loopback)]
    return "\n".join(["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{address} {name}", *carried]) + "\n"


def proxy_environment(environment: Mapping[str, str] = os.environ) -> str:
    return "".join(
        f'{variant}="{environment[variant]}"\n' for name in _PROXY_VARIABLES for variant in (name, name.upper()) if environment.get(variant)
    )
