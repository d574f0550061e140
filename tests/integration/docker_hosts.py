# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Range hosts with a Docker that really runs, and images for it that need no registry."""

from __future__ import annotations

import contextlib
import fcntl
import json
import pathlib
import shlex
import tempfile
import typing as t

from ansible_collections.baremetal.llm.tests.range.rangelib.host import has_snapshot
from ansible_collections.baremetal.llm.tests.range.rangelib.layout import Layout

from .gpu_hosts import APT_INSTALL, GpuHost, gpu_host, range_command

DISTRIBUTION = "debian13"
PACKAGES = ("docker.io", "docker-cli", "docker-compose")
SNAPSHOT = "docker"
IMAGE = "range/shell:latest"
PROGRAMS = ("dash", "cat", "env", "grep", "id", "ls", "sleep", "stat", "touch")

# The host's own programs, and the libraries that these and whatever is executable in the trees are linked with.
_IMPORT = """\
set -e
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/usr/bin" "$root/etc" "$root/tmp"
chmod 1777 "$root/tmp"
for program in {programs}; do cp -L "$(command -v "$program")" "$root/bin/"; done
ln -s dash "$root/bin/sh"
for path in {trees}; do cp --archive --parents "$path" "$root"; done
find "$root" -type f '(' -name '*.so*' -o -perm /111 ')' -exec ldd '{{}}' + 2>/dev/null |
  sed -n 's,^.*[[:space:]]\\(/[^ ]*\\) (.*,\\1,p' | sort -u |
  while read -r library; do [ -e "$root$library" ] || {{ mkdir -p "$root$(dirname "$library")"; cp -L "$library" "$root$library"; }}; done
tar -C "$root" -c . | docker import {changes} - {image}
"""


class DockerHost(GpuHost):
    """A GPU host on which Docker runs."""

    def docker(self, *argv: str, check: bool = True) -> str:
        return self.run("docker", *map(shlex.quote, argv), check=check)

    def inspect(self, name: str) -> dict[str, t.Any]:
        """What Docker knows of a container."""
        found: list[dict[str, t.Any]] = json.loads(self.docker("inspect", name))
        return found[0]

    def import_image(
        self,
        image: str = IMAGE,
        programs: t.Sequence[str] = PROGRAMS,
        trees: t.Sequence[str] = (),
        changes: t.Sequence[str] = (),
    ) -> str:
        """Make an image of programs and directories of the host, at the same paths, and return its id.

        Programs are by name and land in /bin, where `sh` is dash; ``changes`` are instructions of a Dockerfile, such as `ENTRYPOINT […]`.
        """
        script = _IMPORT.format(
            programs=shlex.join(programs),
            trees=shlex.join(trees),
            changes=shlex.join(word for change in changes for word in ("--change", change)),
            image=shlex.quote(image),
        )
        return self.run("sh", "-c", shlex.quote(script)).strip()


def _snapshot() -> str:
    """A host with Docker installed and the image imported, kept from one run to the next; the first to need it makes it."""
    with pathlib.Path(tempfile.gettempdir(), "baremetal-llm-docker-snapshot.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not has_snapshot(Layout.from_environment(), SNAPSHOT):
            range_command("forget", SNAPSHOT)  # one whose base is gone
            _make("docker-snapshot")
    return SNAPSHOT


def _make(name: str) -> None:
    with gpu_host(name, driver="none", distribution=DISTRIBUTION, docker=True) as host:
        host.run("apt-get", "-qq", "update")
        host.run(*APT_INSTALL, *PACKAGES)
        host.run("apt-get", "clean")
        DockerHost(host.name, host.address, host.directory).import_image()
        range_command("save", name, SNAPSHOT)


@contextlib.contextmanager
def docker_host(name: str, *gpus: str, driver: str | None = None, **options: t.Any) -> t.Iterator[DockerHost]:
    """A Debian 13 host of its own with Debian's Docker and the image :data:`IMAGE`; the rest as for :func:`gpu_host`."""
    with gpu_host(name, *gpus, driver=driver, snapshot=_snapshot(), **options) as host:
        yield DockerHost(host.name, host.address, host.directory, host.inventories, host.patience)
