# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._driver_archive import UpgradeArchive
from ansible_collections.baremetal.llm.plugins.module_utils._driver_record import Record
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_root import programs, put

RECORD = Record(
    "580.95.05", "open", {"libcuda1": "580.95.05-1"}, ("libcuda1",), "590.48.01", "6.1.0-40-amd64", "b", "2026-11-20T16:40:28+00:00"
)


def test_the_record(tmp_path: Path) -> None:
    archive = UpgradeArchive(tmp_path, "amd64")
    assert archive.record() is None
    archive.write_record(RECORD)
    assert archive.record() == RECORD
    assert RECORD.towards("610.43.02").version == "580.95.05"
    put(tmp_path, "var/lib/baremetal-llm/driver-upgrade/libcuda1_580.95.05-1_amd64.deb")
    archive.drop()
    assert archive.record() is None and os.listdir(tmp_path / "var/lib/baremetal-llm") == []
    archive.drop()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "580.95.05"}'])
def test_a_damaged_record_is_not_obeyed(text: str, tmp_path: Path) -> None:
    put(tmp_path, "var/lib/baremetal-llm/driver-upgrade.json", text)
    with pytest.raises(UserError, match=r"driver-upgrade\.json is not the record"):
        UpgradeArchive(tmp_path, "amd64").record()


def test_package_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get='[ "$2" = libcuda1=580.95.05-1 ] && echo deb >libcuda1_580.95.05-1_amd64.deb')
    put(tmp_path, "var/cache/apt/archives/nvidia-smi_1%3a580.95.05-1_amd64.deb", "cached")
    archive = UpgradeArchive(tmp_path, "amd64")
    packages = {"libcuda1": "580.95.05-1", "nvidia-smi": "1:580.95.05-1", "nvidia-modprobe": "580.95.05-1"}
    assert archive.keep(packages) == ["nvidia-modprobe=580.95.05-1"]
    kept = tmp_path / "var/lib/baremetal-llm/driver-upgrade"
    assert sorted(os.listdir(kept)) == ["libcuda1_580.95.05-1_amd64.deb", "nvidia-smi_1%3a580.95.05-1_amd64.deb"]
    assert archive.arguments_to_install(packages) == [
        str(kept / "libcuda1_580.95.05-1_amd64.deb"),
        "nvidia-modprobe=580.95.05-1",
        str(kept / "nvidia-smi_1%3a580.95.05-1_amd64.deb"),
    ]


def test_files_of_a_package_for_two_architectures_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get="exit 100")
    for architecture in ("arm64", "i386", "amd64"):  # whichever the directory happens to list first
        put(tmp_path, f"var/cache/apt/archives/libcuda1_580.95.05-1_{architecture}.deb", architecture)
    put(tmp_path, "var/cache/apt/archives/firmware-nvidia-gsp_580.95.05-1_all.deb")
    archive = UpgradeArchive(tmp_path, "amd64")
    packages = dict.fromkeys(["firmware-nvidia-gsp", "libcuda1", "libcuda1:i386"], "580.95.05-1")
    assert archive.keep(packages) == []
    kept = [Path(file) for file in archive.arguments_to_install(packages)]
    assert [file.name.rpartition("_")[2] for file in kept] == ["all.deb", "amd64.deb", "i386.deb"]
    assert [file.read_text("utf-8") for file in kept] == ["", "amd64", "i386"]
    assert archive.arguments_to_install({"firmware-nvidia-gsp:i386": "580.95.05-1"}) == ["firmware-nvidia-gsp:i386=580.95.05-1"]


def test_package_files_are_fetched_at_once_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = 'echo "$@" >>"$SEEN"; shift; for a; do echo deb >"${a%%=*}_${a#*=}_amd64.deb"; done'
    programs(tmp_path, monkeypatch, apt_get=fetch)
    seen = tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    archive, packages = UpgradeArchive(tmp_path, "amd64"), {"libcuda1": "580.95.05-1", "nvidia-modprobe": "580.95.05-1"}
    assert archive.missing(packages) == ["libcuda1=580.95.05-1", "nvidia-modprobe=580.95.05-1"]
    assert archive.keep(packages) == archive.keep(packages) == archive.missing(packages) == []
    assert seen.read_text("utf-8") == "download libcuda1=580.95.05-1 nvidia-modprobe=580.95.05-1\n"
    assert archive.missing({"libcuda1:i386": "580.95.05-1"}) == ["libcuda1:i386=580.95.05-1"]
