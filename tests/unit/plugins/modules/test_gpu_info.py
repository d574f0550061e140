# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.modules import gpu_info


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_nvidia_smi_says_is_returned_in_check_mode_too(
    check_mode: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\necho '0, GPU-1, 00000000:17:00.0, 12.0, 32607, 580.126.09, [N/A], NVIDIA GeForce RTX 5090'\n", encoding="utf-8"
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with patch_module_args({"_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
        gpu_info.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {"changed", "gpus", "driver", "cuda_toolkits", "container_runtime", "problems"} <= set(result)
    assert result["changed"] is False
    shown = next(gpu for gpu in result["gpus"] if gpu["uuid"] == "GPU-1")
    assert {name: shown[name] for name in ("index", "name", "pci_bus_id", "compute_capability", "memory_mib", "mig_devices")} == {
        "index": 0,
        "name": "NVIDIA GeForce RTX 5090",
        "pci_bus_id": "0000:17:00.0",
        "compute_capability": "12.0",
        "memory_mib": 32607,
        "mig_devices": [],
    }
