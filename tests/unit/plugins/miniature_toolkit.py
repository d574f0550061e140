# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels with the shape of NVIDIA's, of a CUDA that never was: small, but what pip, zipfile and a C compiler take for real."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from pathlib import Path

VERSION = "13.9.7"

_NVCC = "#!/bin/sh\necho 'Cuda compilation tools, release 13.9, V13.9.42'\n"
_HEADER = """\
#define cuMemAlloc                          cuMemAlloc_v2
CUresult CUDAAPI cuInit(unsigned int Flags);
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *dptr, size_t bytesize);
"""
_FILES = {
    "nvidia-cuda-nvcc": {"bin/nvcc": _NVCC, "bin/nvcc.profile": "\n", "lib/libnvvm.so.4": "not needed", ".metadata/x.txt": "nor this"},
    "nvidia-cuda-runtime": {"include/cuda.h": _HEADER, "lib/libcudart.so.13": "shared", "lib/libcudart_static.a": "static"},
}

Table = dict[str, dict[str, tuple[tuple[str, str, str, int], ...]]]


def make_wheels(directory: Path, *, ballast_mib: int = 0) -> Table:
    """The wheels, for pip's ``--find-links``, and the table that describes them. Ballast takes its time to be unpacked."""
    directory.mkdir(exist_ok=True)
    locks = []
    for package, files in _FILES.items():
        name, version = package.replace("-", "_"), "13.9.42"
        wheel = directory / f"{name}-{version}-py3-none-any.whl"
        contents = {f"nvidia/cu13/{place}": text.encode() for place, text in files.items()}
        contents[f"nvidia/cu13/include/{package}.bin"] = bytes(ballast_mib << 20)
        contents |= {
            f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
            f"{name}-{version}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = f"{name}-{version}.dist-info/RECORD"
        contents[record] = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in contents.items()).encode()
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in contents.items():
                member = zipfile.ZipInfo(path, (2025, 9, 2, 17, 45, 20))
                # As in NVIDIA's wheels: executable for the owner alone.
                member.external_attr = (0o100744 if path.endswith("bin/nvcc") else 0o100644) << 16
                archive.writestr(member, data, zipfile.ZIP_DEFLATED)
        locks.append((package, version, hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel.stat().st_size))
    return {VERSION: {os.uname().machine: tuple(locks)}}


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
