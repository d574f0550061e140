# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_root import missing_pieces, toolkit_version

NVCC = """\
#!/bin/sh
cat <<'END'
nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Wed_Aug_20_01:58:59_PM_PDT_2025
Cuda compilation tools, release 13.0, V13.0.88
Build cuda_13.0.r13.0/compiler.36424714_0
END
"""
PIECES = (
    *(
        "bin/nvcc",
        "nvvm/bin/cicc",
        "include/crt/host_config.h",
        "include/cuda_runtime.h",
        "include/cublas_v2.h",
        "include/cccl/cub/cub.cuh",
    ),
    *("lib64/libcudart.so", "lib64/libcublas.so", "lib64/stubs/libcuda.so"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for piece in PIECES:
        (tmp_path / piece).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / piece).write_text(NVCC if piece == "bin/nvcc" else "")
    (tmp_path / "bin" / "nvcc").chmod(0o755)
    return tmp_path


def test_version_as_nvidia_counts_toolkits(root: Path) -> None:
    assert toolkit_version(root) == "13.0.88"
    (root / "version.json").write_text('{"cuda": {"name": "CUDA SDK", "version": "13.0.3"}}')
    assert toolkit_version(root) == "13.0.3"
    (root / "version.json").write_text("{")
    assert toolkit_version(root) == "13.0.88"


def test_no_toolkit(root: Path) -> None:
    (root / "version.json").write_text('{"cuda": {"name": "CUDA SDK", "version": "13.0.3"}}')
    (root / "bin" / "nvcc").unlink()
    assert toolkit_version(root) is None and toolkit_version(root / "nowhere") is None


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_is_missed(root: Path, piece: str) -> None:
    assert missing_pieces(root) == []
    (root / piece).unlink()
    assert missing_pieces(root) == [piece.replace("cccl/", "")]


def test_place_of_cub_before_13(root: Path) -> None:
    (root / "include" / "cccl" / "cub").rename(root / "include" / "cub")
    assert missing_pieces(root) == []
