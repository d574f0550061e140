# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Docker of a few files: what it says is what the real one said, and Compose's own program checks what it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import DIGEST_LABEL, image_of, stated_digest
from ansible_collections.baremetal.llm.plugins.module_utils._docker import Docker
from ansible_collections.baremetal.llm.tests.unit.plugins.compose_programs import RESERVATIONS, program
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_llama_server import RECORDED

_PROGRAM = """#!/bin/sh
cd {root} || exit 1
echo "$*" >>asked
shown() {{ cat "$1/$2.json" 2>/dev/null || {{ echo '[]'; echo "Error response from daemon: No such $1: $2" >&2; exit 1; }}; }}
[ ! -e down ] || {{ [ "$1" = compose ] || {{ cat down >&2; exit 1; }}; }}
name=$(echo "$3" | tr / _)
case "$1 $2" in
"version --format") echo 26.1.5+dfsg1 ;;
"compose version") [ -e compose ] || {{ echo 'unknown flag: --short' >&2; exit 125; }}; cat compose ;;
"compose --project-name") [ "$4" = down ] && {{ rm -f "container/$3.json"; exit 0; }}; shift; exec {compose} "$@" ;;
"image inspect") shown image "$name" ;;
"container inspect") shown container "$name" ;;
"pull --quiet") [ -e registry/$name.json ] || {{ echo "manifest unknown" >&2; exit 1; }}; cp "registry/$name.json" image/ ;;
"ps --filter") cat publishing 2>/dev/null ;;
"ps --all") ls container ;;
"network ls") ;;
"run --rm") cat {help} ;;
"update --restart="*) sed -i "s/\\"Name\\": \\"[a-z-]*\\"/\\"Name\\": \\"${{2#--restart=}}\\"/" "container/$name.json" ;;
"start "*) sed -i 's/"Status": "[a-z]*"/"Status": "running"/' "container/$2.json" ;;
"stop "*) sed -i 's/"Status": "[a-z]*"/"Status": "exited"/' "container/$2.json" ;;
*) echo "unknown: $*" >&2; exit 64 ;;
esac
"""
CANNOT_CONNECT = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"


class FakeDocker:
    def __init__(self, root: Path, compose: str = RESERVATIONS) -> None:
        self.root, self.proc = root, root / "proc"
        for directory in ("container", "image", "registry", "proc"):
            (root / directory).mkdir(parents=True)
        self.program = root / "docker"
        self.program.write_text(_PROGRAM.format(root=root, compose=program(compose), help=RECORDED / "llama_server" / "help.txt"), "utf-8")
        self.program.chmod(0o755)
        (root / "compose").write_text(f"{compose}-4\n", "utf-8")

    def docker(self) -> Docker:
        return Docker(str(self.program), self.proc)

    def asked(self) -> list[str]:
        try:
            return (self.root / "asked").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []

    def unreachable(self) -> None:
        (self.root / "down").write_text(CANNOT_CONNECT, "utf-8")

    def image(self, name: str, identity: str = "sha256:1", entrypoint: list[str] | None = None, where: str = "image") -> None:
        shown = [{"Id": identity, "Config": {"Entrypoint": entrypoint}}]
        (self.root / where / f"{name.replace('/', '_')}.json").write_text(json.dumps(shown), "utf-8")

    def make(self, name: str, file: Path, key: Path, *, status: str = "running", policy: str = "unless-stopped") -> None:
        """As Compose makes a container of a file, and starts it."""
        text = file.read_text("utf-8")
        image = json.loads((self.root / "image" / f"{image_of(text).replace('/', '_')}.json").read_text("utf-8"))[0]["Id"]
        secrets = self.proc / "7" / "root" / "run" / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        (secrets / "api-key").unlink(missing_ok=True)
        if key.exists():
            (secrets / "api-key").write_bytes(key.read_bytes())
        shown: list[dict[str, Any]] = [
            {
                "State": {"Status": status, "Pid": 7 if status == "running" else 0},
                "Image": image,
                "Config": {"Labels": {DIGEST_LABEL: stated_digest(text) or "edited"}},
                "HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}},
            }
        ]
        (self.root / "container" / f"{name}.json").write_text(json.dumps(shown), "utf-8")

    def policy(self, name: str) -> str:
        found = json.loads((self.root / "container" / f"{name}.json").read_text("utf-8"))
        return str(found[0]["HostConfig"]["RestartPolicy"]["Name"])
