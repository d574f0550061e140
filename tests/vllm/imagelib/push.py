# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host of the range, and needs no Docker: puts a root file system, a tar on standard input, into a registry as an image.

    python3 push.py REGISTRY/NAME:TAG INSTRUCTION…

where the instructions are those of a Dockerfile that `docker import --change` takes. Prints the digest of the image.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import platform
import sys
import tempfile
import typing as t

_CONFIG, _LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def config(instructions: list[str]) -> dict[str, t.Any]:
    """What a container of the image runs."""
    found: dict[str, t.Any] = {}
    for kind, _space, value in (instruction.partition(" ") for instruction in instructions):
        match kind:
            case "ENTRYPOINT":
                found["Entrypoint"] = json.loads(value)
            case "EXPOSE":
                found.setdefault("ExposedPorts", {})[f"{value}/tcp"] = {}
            case "WORKDIR":
                found["WorkingDir"] = value
            case "ENV":
                found.setdefault("Env", []).append(value)
            case "LABEL":
                name, _equals, said = value.partition("=")
                found.setdefault("Labels", {})[name] = said
            case _:
                sys.exit(f"{kind}: an instruction that is not known here")
    return found


class Registry:
    def __init__(self, address: str, repository: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=120)
        self._path = f"/v2/{repository}"

    def ask(self, method: str, path: str, body: t.Any = None, **headers: str) -> http.client.HTTPResponse:
        self._connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = self._connection.getresponse()
        said = reply.read()
        if reply.status >= 400 and reply.status != 404:
            sys.exit(f"{method} {path}: {reply.status} {said.decode(errors='replace')}")
        return reply

    def blob(self, kind: str, content: t.IO[bytes]) -> dict[str, t.Any]:
        """Have it there; how a manifest speaks of it."""
        content.seek(0)
        sums = hashlib.sha256()
        while chunk := content.read(2**20):
            sums.update(chunk)
        digest, size = sums.hexdigest(), content.tell()
        content.seek(0)
        if self.ask("HEAD", f"{self._path}/blobs/sha256:{digest}").status == 404:
            place = self.ask("POST", f"{self._path}/blobs/uploads/", Content_Length="0").headers["Location"]
            place = place.partition("/v2/")[2]
            self.ask(
                "PUT", f"/v2/{place}&digest=sha256:{digest}", content, Content_Length=str(size), Content_Type="application/octet-stream"
            )
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def main() -> None:
    image, *instructions = sys.argv[1:]
    address, _slash, rest = image.partition("/")
    repository, _colon, tag = rest.partition(":")
    registry = Registry(address, repository)
    with tempfile.TemporaryFile() as layer:
        while chunk := sys.stdin.buffer.read(2**20):
            layer.write(chunk)
        layers = [registry.blob(_LAYER, layer)]
    machine = platform.machine()
    described = {
        "architecture": _MACHINES.get(machine, machine),
        "os": "linux",
        "config": config(instructions),
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    }
    kept = registry.blob(_CONFIG, io.BytesIO(json.dumps(described).encode()))
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": kept, "layers": layers}).encode()
    registry.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, Content_Type=_MANIFEST)
    print(f"sha256:{hashlib.sha256(manifest).hexdigest()}")


main()
