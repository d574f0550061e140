# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base: a plain Debian server as an operator finds it, built once with debootstrap and kept under a key of its recipe."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from . import outer
from .errors import RangeError
from .layout import Layout
from .lock import locked
from .process import CONTAINED, run

DISTRIBUTIONS = {"debian12": "bookworm", "debian13": "trixie"}

# What the installer leaves on a server, as far as anything here can notice.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)
ENABLED_UNITS = ("systemd-networkd.service",)
MASKED_UNITS = (
    "apt-daily.timer",  # would take apt's lock at a moment of its own choosing, in the middle of a test
    "apt-daily-upgrade.timer",
    "systemd-networkd-wait-online.service",  # the address is static: there is nothing to wait for
    "dev-hugepages.mount",  # the outer kernel's, not the host's to mount
    "systemd-firstboot.service",  # asks at the console
)
_CERTIFICATES = Path("usr/local/share/ca-certificates/outer")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the base holds. Change any of it and another base is built."""

    distribution: str
    codename: str
    mirror: str
    packages: tuple[str, ...]
    enabled_units: tuple[str, ...]
    masked_units: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    certificates: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def directory(self) -> str:
        return f"{self.distribution}-{self.key}"


def deb822(sources: list[outer.Source]) -> str:
    return "\n".join(
        f"Types: deb\nURIs: {source.uri}\nSuites: {source.suite}\nComponents: {source.components}\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        for source in sources
    )


def recipe(distribution: str) -> Recipe:
    codename = DISTRIBUTIONS[distribution]
    sources = outer.mirrors(codename)
    files = {
        "etc/apt/sources.list.d/debian.sources": deb822(sources),
        "etc/apt/apt.conf.d/80range": 'Acquire::Languages "none";\n' + outer.apt_options(),
        "etc/ssh/sshd_config.d/range.conf": "UseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n",
        "etc/default/locale": "LANG=C.UTF-8\n",
    }
    return Recipe(
        distribution=distribution,
        codename=codename,
        mirror=sources[0].uri,
        packages=PACKAGES,
        enabled_units=ENABLED_UNITS,
        masked_units=MASKED_UNITS,
        files=tuple(sorted(files.items())),
        certificates=tuple(sorted(outer.trusted_certificates().items())),
    )


def ensure(layout: Layout, distribution: str) -> Path:
    """The cached base of a distribution; built first where there is none for today's recipe."""
    wanted = recipe(distribution)
    finished = layout.cache / wanted.directory
    if finished.is_dir():
        return finished
    with locked(layout.cache / f"{distribution}.lock"):
        if not finished.is_dir():
            for leftover in layout.cache.glob(f"{distribution}-*.partial"):  # of a run that was killed
                shutil.rmtree(leftover)
            partial = finished.with_suffix(".partial")
            print(f"range: building the {distribution} base, once (1 to 2 minutes); log: {partial.with_suffix('.log')}", file=sys.stderr)
            _build(wanted, partial)
            os.sync()  # what is named finished stays so through a power failure
            partial.rename(finished)
            partial.with_suffix(".log").unlink()
    return finished


def _contained(argv: list[str], log: Path) -> None:
    run_in = [*CONTAINED, "sh", "-c", 'exec >>"$0" 2>&1; exec "$@"', str(log), *argv]
    try:
        run(run_in)
    except RangeError as error:
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-8:])
        raise RangeError(f"Building the base failed at `{argv[0]}`. The end of {log}:\n  {tail}") from error


def _build(wanted: Recipe, root: Path) -> None:
    log = root.with_suffix(".log")
    log.write_text("")
    include = ",".join(wanted.packages)
    _contained(["debootstrap", "--variant=minbase", f"--include={include}", wanted.codename, str(root), wanted.mirror], log)

    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    for name, text in wanted.files:
        (root / name).write_text(text)

    # The outer machine's own authorities become local ones, so that they outlive updates of ca-certificates.
    known = outer.certificates((root / outer.CA_BUNDLE.lstrip("/")).read_text())
    (root / _CERTIFICATES).mkdir(parents=True)
    for digest, pem in wanted.certificates:
        if digest not in known:
            (root / _CERTIFICATES / f"{digest[:16]}.crt").write_text(pem)

    units = root / "etc/systemd/system"
    for unit in wanted.masked_units:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    chroot = ["chroot", str(root)]
    _contained([*chroot, "systemctl", "enable", *wanted.enabled_units], log)
    _contained([*chroot, "update-ca-certificates"], log)

    # Warm package lists: the first `apt-get update` of a host then only asks whether anything is new.
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.write_text(outer.read_resolv_conf())
    (root / "etc/hosts").write_text(Path("/etc/hosts").read_text())
    _contained([*chroot, "apt-get", "update"], log)
    _contained([*chroot, "apt-get", "clean"], log)

    # What is each host's own is not in the base.
    for path in [resolver, root / "etc/hosts", root / "etc/hostname", *(root / "etc/ssh").glob("ssh_host_*")]:
        path.unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")
    (root / "var/log/journal").mkdir(exist_ok=True)
