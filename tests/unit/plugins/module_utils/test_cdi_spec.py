# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CDI specifications in both of their forms, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.baremetal.llm.plugins.module_utils._cdi_spec import CdiUnreadableError, device_paths, parse_spec

WRITTEN = (Path(__file__).parents[1] / "fixtures/docker/nvidia_cdi.txt").read_text("utf-8")
UUIDS = ("GPU-b4109f2f-acfc-5ddb-a583-803ae341142b", "GPU-be30a874-0a4f-5592-b6f0-6cfeb29372f5")


@pytest.mark.parametrize(
    "text", [WRITTEN, json.dumps(yaml.safe_load(WRITTEN)), yaml.safe_dump(yaml.safe_load(WRITTEN))], ids=["Go", "JSON", "PyYAML"]
)
def test_what_nvidia_ctk_writes(text: str) -> None:
    spec = parse_spec("/var/run/cdi/nvidia.yaml", text)
    assert spec.names == [f"nvidia.com/gpu={name}" for name in ("0", "1", *UUIDS, "all")]
    assert spec.driver_version == "580.126.09"
    assert spec.devices[UUIDS[1]] == ("/dev/nvidia1",)
    assert spec.devices["all"] == ("/dev/nvidia0", "/dev/nvidia1")
    assert spec.shared[:4] == (
        "/dev/nvidiactl",
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.580.126.09",
    )
    assert spec.paths[-2:] == ["/dev/nvidia0", "/dev/nvidia1"]


@pytest.mark.parametrize(
    ("text", "names", "version", "paths"),
    [
        ("kind: a/b\ndevices: []\n", [], None, []),
        ("kind: a/b\ndevices:\n- name: x # the only one\n", ["a/b=x"], None, []),
        ("kind: 'a/b'\ndevices:\n-\n  name: \"0\"\n  containerEdits:\n    deviceNodes:\n    - {path: /dev/x}\n", ["a/b=0"], None, []),
        (
            "kind: a/b\ndevices:\n  - name: x\n    containerEdits:\n      deviceNodes:\n        - path: /c\n          hostPath: /h\n",
            ["a/b=x"],
            None,
            ["/h"],
        ),
        ("kind: a/b\ncontainerEdits:\n  hooks:\n    - args: \n      - --host-driver-version=610.43.02\n", [], "610.43.02", []),
        (
            "kind: a/b\ncontainerEdits:\n  mounts:\n    - hostPath: /usr/lib64/libnvidia-ml.so.595.45\n",
            [],
            "595.45",
            ["/usr/lib64/libnvidia-ml.so.595.45"],
        ),
    ],
)
def test_other_ways_to_write_one(text: str, names: list[str], version: str | None, paths: list[str]) -> None:
    spec = parse_spec("x.yaml", text)
    assert (spec.names, spec.driver_version, spec.paths) == (names, version, paths)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no kind"),
        ("- a\n- b\n", "no kind"),
        ("{", "Expecting"),
        ('{"devices": []}', "no kind"),
        ("kind: &x a/b\n", "not read"),
        ("kind: |\n  a/b\n", "not read"),
        ("kind: a/b\n    devices:\n", "not read"),
        ("kind a/b\n", "not read"),
        ("<html>\n", "not read"),
    ],
)
def test_what_is_none_or_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(CdiUnreadableError, match=says):
        parse_spec("x.yaml", text)


def test_a_device_brings_what_all_bring_and_its_own() -> None:
    first = parse_spec("/etc/cdi/nvidia.yaml", WRITTEN.replace("580.126.09", "580.95.05"))
    second = parse_spec("/var/run/cdi/nvidia.yaml", WRITTEN)
    brought = device_paths([first, second], f"nvidia.com/gpu={UUIDS[0]}")
    assert brought[-1] == "/dev/nvidia0" and "/dev/nvidia1" not in brought
    assert "/usr/lib/x86_64-linux-gnu/libcuda.so.580.126.09" in brought
    assert device_paths([second], "nvidia.com/gpu=2") == []
