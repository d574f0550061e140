# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _toolkit_install, _wheel_download
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_install import (
    Outcome,
    _no_space,
    ensure_absent,
    ensure_present,
    make_plan,
)
from ansible_collections.baremetal.llm.plugins.module_utils._toolkit_store import ToolkitStore
from ansible_collections.baremetal.llm.plugins.module_utils._wheel_download import pip_error, wheels_of
from ansible_collections.baremetal.llm.tests.unit.plugins.miniature_toolkit import VERSION, make_wheels


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToolkitStore:
    monkeypatch.setattr(_wheel_download, "WHEELS", make_wheels(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return ToolkitStore(tmp_path / "cuda")


@pytest.fixture
def installed(store: ToolkitStore) -> ToolkitStore:
    assert present(store).changed
    return store


def present(store: ToolkitStore, *, check_mode: bool = False) -> Outcome:
    return ensure_present(store, VERSION, check_mode=check_mode)


def no_pip(store: ToolkitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


def test_check_install_again(store: ToolkitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = present(store, check_mode=True)
    assert predicted.changed and predicted.reasons == (f"{store.root(VERSION)} is not there",)
    assert not store.prefix.exists()
    assert present(store) == predicted

    root = store.root(VERSION)
    assert sorted(os.listdir(store.prefix)) == [".baremetal-llm", VERSION]
    assert sorted(os.listdir(store.prefix / ".baremetal-llm")) == ["install.log", "lock"]
    assert sorted(os.listdir(root / "lib64")) == ["libcudart.so", "libcudart.so.13", "libcudart_static.a", "stubs"]
    assert (root / "lib64" / "libcudart.so").read_text() == "shared"
    assert (root / "bin" / "nvcc").stat().st_mode & 0o777 == 0o755
    assert (root / "include" / "cuda.h").stat().st_mtime == 1756835120  # the wheel's, on every host
    functions = subprocess.run(["nm", "-D", root / "lib64" / "stubs" / "libcuda.so"], check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r" T (\w+)", functions)) == {"cuInit", "cuMemAlloc", "cuMemAlloc_v2"}

    monkeypatch.delenv("PIP_FIND_LINKS")
    no_pip(store, monkeypatch)
    again = present(store)
    assert not again.changed and again.reasons == () and again.packages == again.packages_before == predicted.packages


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        ("lib/libcudart.so.13", lambda path: path.unlink()),
        ("lib/libcudart.so", lambda path: path.unlink()),
        ("bin/nvcc", lambda path: os.truncate(path, 7)),
        ("version.json", lambda path: path.unlink()),
        (".baremetal-llm.json", lambda path: path.write_text("{")),
    ],
)
def test_a_damaged_toolkit_is_made_anew(installed: ToolkitStore, path: str, damage: object) -> None:
    assert callable(damage)
    damage(installed.root(VERSION) / path)
    outcome = present(installed)
    assert outcome.changed and "is damaged" in outcome.reasons[0]
    assert installed.damaged(VERSION) == []


def test_one_of_other_packages_is_made_anew(installed: ToolkitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_toolkit_install, "LAYOUT", 0)
    assert "made of other packages" in present(installed).reasons[0]
    assert not present(installed).changed


def test_absent_removes_what_it_made_and_nothing_else(installed: ToolkitStore) -> None:
    (installed.prefix / "12.8.1").mkdir()
    assert ensure_absent(installed, VERSION, check_mode=True).changed
    assert installed.is_there(VERSION)
    assert ensure_absent(installed, VERSION, check_mode=False).packages_before
    assert not installed.is_there(VERSION) and not ensure_absent(installed, VERSION, check_mode=False).changed
    with pytest.raises(UserError, match=r"12\.8\.1 was not made by cuda_toolkit"):
        ensure_absent(installed, "12.8.1", check_mode=False)
    assert (installed.prefix / "12.8.1").is_dir()


def test_the_last_one_takes_the_prefix_with_it(installed: ToolkitStore) -> None:
    ensure_absent(installed, VERSION, check_mode=False)
    assert not installed.prefix.exists()


def test_absent_without_a_version_is_all_that_it_made(installed: ToolkitStore) -> None:
    shutil.copytree(installed.root(VERSION), installed.root("13.9.1"))
    (installed.prefix / "12.8.1").mkdir()
    assert ensure_absent(installed, None, check_mode=True).changed and len(os.listdir(installed.prefix)) == 4
    assert ensure_absent(installed, None, check_mode=False).changed
    assert os.listdir(installed.prefix) == ["12.8.1"] and not ensure_absent(installed, None, check_mode=False).changed


def test_a_removal_that_was_cut_short_is_finished(installed: ToolkitStore) -> None:
    installed.work.mkdir()
    os.rename(installed.root(VERSION), installed.work / f"old-{VERSION}")
    assert ensure_absent(installed, VERSION, check_mode=True).changed
    assert ensure_absent(installed, VERSION, check_mode=False).changed
    assert not installed.prefix.exists() and not ensure_absent(installed, VERSION, check_mode=False).changed


@pytest.mark.parametrize("version", ["../../etc", "13.0.3/..", "", ".baremetal-llm"])
def test_absent_takes_versions_only(store: ToolkitStore, version: str) -> None:
    with pytest.raises(UserError, match=r"is not a version; write it like 13\.0\.3"):
        ensure_absent(store, version, check_mode=False)


# --- before anything is changed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["12.8.1", "13.0", "latest"])
def test_unknown_version_names_those_that_are_known(version: str) -> None:
    with pytest.raises(UserError, match=rf"version: '{re.escape(version)}' .* 13\.0\.3, .*cuda_toolkit_source: apt"):
        wheels_of(version, "x86_64")


def test_unsupported_machine() -> None:
    with pytest.raises(UserError, match=r"no CUDA 13\.0\.3 .* for riscv64, only for x86_64 and aarch64"):
        wheels_of("13.0.3", "riscv64")


def test_the_machine_decides_about_the_files() -> None:
    assert {wheel.sha256 for wheel in wheels_of("13.0.3", "x86_64")}.isdisjoint(wheel.sha256 for wheel in wheels_of("13.0.3", "aarch64"))


@pytest.mark.parametrize("prefix", ["cuda", "/cuda", "/opt/../cuda"])
def test_prefix_that_is_no_place_for_it(prefix: str) -> None:
    with pytest.raises(UserError, match=r"prefix: .* is refused"):
        make_plan(ToolkitStore(prefix), "13.0.3")


def test_a_directory_of_somebody_else_is_left_alone(store: ToolkitStore) -> None:
    (store.root(VERSION) / "bin").mkdir(parents=True)
    with pytest.raises(UserError, match=r"was not made by cuda_toolkit.*cuda_toolkit_source: existing"):
        present(store)


def test_prefix_in_a_file(store: ToolkitStore) -> None:
    store.prefix.write_text("")
    with pytest.raises(UserError, match="is not a directory"):
        present(store)


def test_not_enough_space(store: ToolkitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=2, f_frsize=1 << 20))
    for check_mode in (True, False):
        with pytest.raises(UserError, match=r"needs 3 MiB of free disk space, 2 MiB are available"):
            present(store, check_mode=check_mode)
    assert not store.prefix.exists()


def test_prefix_that_the_user_may_not_write_to(store: ToolkitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(UserError, match=r"can't be written to by the user with the id \d+; run this with become: true"):
        present(store)


def test_without_pip_or_compiler_check_mode_still_predicts(store: ToolkitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pip(store, monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "missing: a C compiler, pip for Python 3" in present(store, check_mode=True).warnings[0]
    with pytest.raises(UserError, match=r"apt-get install gcc python3-pip"):
        present(store)
    assert not store.prefix.exists()


# --- while it is at it --------------------------------------------------------------------------------------------------


def failure(store: ToolkitStore) -> UserError:
    with pytest.raises(UserError) as failed:
        present(store)
    assert not store.is_there(VERSION) and not store.work.exists()
    assert failed.value.msg in Path(str(failed.value.details["log"])).read_text("utf-8")
    return failed.value


def test_a_file_with_another_checksum_is_refused(store: ToolkitStore) -> None:
    (wheel,) = (store.prefix.parent / "wheels").glob("nvidia_cuda_nvcc*")
    wheel.write_bytes(wheel.read_bytes() + b"x")
    assert re.search(r"another file for nvidia-cuda-nvcc==13\.9\.42 .* \(sha256 [0-9a-f]{64}, not [0-9a-f]{64}\)", failure(store).msg)


def test_a_package_that_the_index_lacks(store: ToolkitStore) -> None:
    (wheel,) = (store.prefix.parent / "wheels").glob("nvidia_cuda_runtime*")
    wheel.unlink()
    assert "has no nvidia-cuda-runtime==13.9.42, of which CUDA 13.9.7 is made; complete the mirror" in failure(store).msg


def test_a_compiler_that_compiles_nothing(store: ToolkitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cc", "gcc", "clang"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'ld: cannot find crti.o'\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert failure(store).msg == "the C compiler of this host can't make a library: ld: cannot find crti.o"


# Recorded from pip 23.0.1, with other addresses.
UNREACHABLE = """\
WARNING: Retrying (Retry(total=1, connect=None, read=None, redirect=None, status=None)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7fb>: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/nvidia-cublas/
ERROR: Could not find a version that satisfies the requirement nvidia-cublas==13.1.1.3 (from versions: none)
ERROR: No matching distribution found for nvidia-cublas==13.1.1.3
"""
NO_SPACE = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (UNREACHABLE, "can't be reached, so CUDA 13.9.7 can't be fetched; check the network"),
        (NO_SPACE, "no space was left on the file system of"),
        ("ERROR: odd\nhttps://me:secret@example.org/x is odd\n\n", "pip can't fetch CUDA 13.9.7: https://***@example.org/x is odd"),
        ("", "it said nothing"),
    ],
)
def test_what_pip_says(store: ToolkitStore, output: str, message: str) -> None:
    error = pip_error(f"CUDA {VERSION}", _no_space(store, make_plan(store, VERSION)), Completed(("pip",), 1, output, ""))
    assert message in error.msg and "secret" not in str(error.details)
