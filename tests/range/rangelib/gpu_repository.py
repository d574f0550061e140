# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The apt repository of the simulated packages, built once and kept under a key of everything that decides its content."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path

from . import container_toolkit
from .gpu_packages import Package, everything
from .layout import Layout
from .lock import locked
from .process import run


def ensure(layout: Layout) -> Path:
    kernel = platform.release()
    wanted = [*everything(kernel), *container_toolkit.packages()]
    finished = layout.cache / f"gpu-packages-{key(wanted)}"
    if finished.is_dir():
        return finished
    with locked(layout.cache / "gpu-packages.lock"):
        if not finished.is_dir():
            for leftover in layout.cache.glob("gpu-packages-*.partial"):  # of a run that was killed
                shutil.rmtree(leftover)
            partial = finished.with_suffix(".partial")
            partial.mkdir(parents=True)
            _build(wanted, partial)
            os.sync()
            partial.rename(finished)
    return finished


def key(packages: Iterable[Package]) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for package in packages:
        digest.update(repr((package.control, sorted(package.files.items()), sorted(package.scripts.items()))).encode())
    return digest.hexdigest()[:12]


def _build(packages: Iterable[Package], directory: Path) -> None:
    tree = directory / "tree"
    stanzas = []
    for package in packages:
        _lay_out(package, tree)
        deb = directory / f"{package.name}_{package.version}.deb"
        run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(deb)])
        shutil.rmtree(tree)
        content = deb.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        stanzas.append(f"{package.control}Filename: ./{deb.name}\nSize: {len(content)}\nSHA256: {digest}\n")
    index = "\n".join(stanzas)
    (directory / "Packages").write_text(index)
    digest = hashlib.sha256(index.encode()).hexdigest()
    release = f"Origin: NVIDIA\nLabel: NVIDIA CUDA\nSHA256:\n {digest} {len(index.encode())} Packages\n"
    (directory / "Release").write_text(release)


def _lay_out(package: Package, tree: Path) -> None:
    control = tree / "DEBIAN"
    control.mkdir(parents=True, mode=0o755)
    (control / "control").write_text(package.control)
    for name, body in package.scripts.items():
        script = control / name
        script.write_text(f"#!/bin/sh\nset -e\n{body}\n")
        script.chmod(0o755)
    for name, file in package.files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.link:
            path.symlink_to(file.link)
        else:
            path.write_bytes(file.content)
            path.chmod(file.mode)
