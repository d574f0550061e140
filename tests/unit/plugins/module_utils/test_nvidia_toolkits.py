# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_toolkits import parse_nvcc_root, parse_nvcc_version, parse_version_json

NVCC_VERSION = """\
nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Wed_Aug_20_01:58:59_PM_PDT_2025
Cuda compilation tools, release 13.0, V13.0.88
Build cuda_13.0.r13.0/compiler.36424714_0
"""
NVCC_DRYRUN = """\
#$ _NVVM_BRANCH_=nvvm
#$ _HERE_=/usr/local/cuda-13.0/bin
#$ TOP=/usr/local/cuda-13.0/bin/..
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}, "nvcc": {"version": "12.4.131"}}', "12.4.1"),
        ('{"cuda": {"version": 12}}', None),
        ('{"cuda": "12.4.1"}', None),
        ("{}", None),
        ("[]", None),
        ("", None),
    ],
)
def test_version_json(text: str, version: str | None) -> None:
    assert parse_version_json(text) == version


@pytest.mark.parametrize(("output", "version"), [(NVCC_VERSION, "13.0"), ("", None)])
def test_nvcc_version(output: str, version: str | None) -> None:
    assert parse_nvcc_version(output) == version


@pytest.mark.parametrize(("output", "root"), [(NVCC_DRYRUN, "/usr/local/cuda-13.0"), ("nvcc fatal   : ?", None)])
def test_nvcc_root(output: str, root: str | None) -> None:
    assert parse_nvcc_root(output) == root
