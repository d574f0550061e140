# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Range hosts with simulated GPUs, to deploy to and to break."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.baremetal.llm.tests.range.rangelib import gpu_packages

from .deployment import RANGE, Deployment

# What apt is told in the tests: as an operator would, and without a question.
APT_INSTALL = ("DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "--no-install-recommends", "--allow-downgrades", "install")
BOOT_SECONDS = 60


class Card(t.NamedTuple):
    """A GPU that is plugged in."""

    index: int
    address: str
    uuid: str
    name: str


def range_command(*arguments: str) -> str:
    done = subprocess.run([RANGE, *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclasses.dataclass(frozen=True)
class GpuHost(Deployment):
    """A range host with simulated GPUs."""

    def plug(
        self, *models: str, driver: str | None = None, modules: str = gpu_packages.OPEN, programs: t.Mapping[str, int] | None = None
    ) -> list[Card]:
        """Give the host these GPUs, and a driver (`none`: none), and leave it as after a boot with them."""
        options = [f"--driver={driver}"] if driver else []
        options += [f"--program={name}={mib}" for name, mib in (programs or {}).items()]
        listing = range_command("gpus", self.name, *models, f"--modules={modules}", *options)
        rows = (line.split(maxsplit=3) for line in listing.splitlines())
        return [Card(int(index), address, uuid, name) for index, address, uuid, name in rows]

    def install_driver(self, version: str, modules: str = gpu_packages.OPEN) -> None:
        """Install exactly this version with apt, as an upgrade does: what is loaded stays so until a boot."""
        asked, others = gpu_packages.needed(version, modules)
        wanted = [f"{name}={gpu_packages.debian_version(version)}" for name in (*asked, *others)]
        self.run(*APT_INSTALL, *wanted)

    def lose(self, *indexes: int) -> None:
        range_command("lose", self.name, *map(str, indexes))

    def boot_id(self) -> str:
        return self.run("cat", "/proc/sys/kernel/random/boot_id", check=False).strip()

    def reboot(self) -> None:
        before = self.boot_id()
        self.run("systemctl", "reboot", check=False)
        deadline = time.monotonic() + BOOT_SECONDS
        while len(now := self.boot_id()) != len(before) or now == before:
            assert time.monotonic() < deadline, f"{self.name} did not come back: {now}"
            time.sleep(0.2)
        self.run("systemctl", "is-system-running", "--wait", check=False)

    def cut_power(self) -> None:
        """Everything on the host ends at once; `power_on` boots its disk again."""
        range_command("cut", self.name)

    def power_on(self) -> None:
        range_command("up", self.name)
        self.run("systemctl", "is-system-running", "--wait", check=False)


@contextlib.contextmanager
def gpu_host(
    name: str,
    *gpus: str,
    driver: str | None = None,
    modules: str = gpu_packages.OPEN,
    programs: t.Mapping[str, int] | None = None,
    snapshot: str | None = None,
    distribution: str | None = None,
    binds: t.Sequence[str] = (),
    docker: bool = False,
    alias: str = "quickstart",
    **options: t.Any,
) -> t.Iterator[GpuHost]:
    """A host of its own with these GPUs (see `range gpus --help`), called ``alias`` in the inventory; the rest as for `Deployment`.

    With ``docker``, Docker works on it once it is installed (see docker_hosts.py for one that has it).
    """
    origin = [f"--from={snapshot}"] if snapshot else []
    origin += [f"--distribution={distribution}"] if distribution else []
    origin += [f"--bind={bind}" for bind in binds]
    origin += ["--docker"] if docker else []
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as directory:
        try:
            range_command("up", name, *origin)
            (pathlib.Path(directory) / "range.yml").write_text(range_command("inventory", f"{alias}={name}"), encoding="utf-8")
            address = next(host["address"] for host in json.loads(range_command("list", "--json")) if host["name"] == name)
            host = GpuHost(name, address, pathlib.Path(directory), **options)
            host.plug(*gpus, driver=driver, modules=modules, programs=programs)
            yield host
        finally:
            range_command("down", name)
