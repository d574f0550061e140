# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, paths, locks and records of the range."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.tests.range.rangelib import base, cgroup, doctor, host, lock, supervisor
from ansible_collections.baremetal.llm.tests.range.rangelib.errors import RangeError, Unsupported
from ansible_collections.baremetal.llm.tests.range.rangelib.layout import Layout, checked_name
from ansible_collections.baremetal.llm.tests.range.rangelib.record import Host


@pytest.fixture
def record(tmp_path: Path) -> Host:
    return Host(
        name="web",
        distribution="debian12",
        snapshot=None,
        lower=("/snapshots/a/upper", "/cache/base"),
        binds=("/src:/dst",),
        address="10.213.77.10",
        gateway="10.213.77.1",
        bridge="bmllm-main",
        machine="bmllm-main-web",
        cgroup=str(tmp_path / "cgroup"),
        storage="/disk",
        state=str(tmp_path / "web"),
    )


@pytest.mark.parametrize("name", ["a", "web", "web-1", "a" * 40])
def test_good_names(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "Web", "1web", "web-", "a_b", "../x", "a" * 41, "web\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(RangeError, match="cannot name a host"):
        checked_name(name)


def test_cache_directory() -> None:
    assert Layout.from_environment({"HOME": "/home/me"}).cache == Path("/home/me/.cache/baremetal-llm/range")
    assert Layout.from_environment({"HOME": "/home/me", "XDG_CACHE_HOME": "/c"}).cache == Path("/c/baremetal-llm/range")
    assert Layout.from_environment({"XDG_CACHE_HOME": "/c", "RANGE_CACHE": "/r"}).cache == Path("/r")


def test_scopes_share_no_name() -> None:
    one, other = (Layout.from_environment({"HOME": "/", "RANGE_SCOPE": scope}) for scope in ("main", "selftest"))
    for attribute in ("state", "storage", "bridge", "tag"):
        assert getattr(one, attribute) != getattr(other, attribute)
    assert len(other.bridge) <= 15
    with pytest.raises(RangeError, match="RANGE_SCOPE"):
        Layout.from_environment({"HOME": "/", "RANGE_SCOPE": "../x"})


def test_records_survive_writing(record: Host) -> None:
    record.save()
    assert Host.load(Path(record.state)) == record


def test_inventory(record: Host) -> None:
    text = host.inventory(Layout.from_environment({"HOME": "/"}), {"alias": record})
    assert "    alias:\n      ansible_host: 10.213.77.10\n" in text
    assert f"UserKnownHostsFile={record.known_hosts}" in text


def test_boot_command(record: Host) -> None:
    argv = supervisor.nspawn_argv(record, Path("/disk/root"))
    assert argv[0] == "systemd-nspawn"
    assert {"--boot", "--directory=/disk/root", "--network-bridge=bmllm-main", "--bind=/src:/dst"} <= set(argv)
    assert supervisor.overlay_options(record).startswith("lowerdir=/snapshots/a/upper:/cache/base,upperdir=/disk/upper,")


def test_docker_has_its_data_on_the_outer_disk_and_no_host_more_than_it_needs(record: Host) -> None:
    with_docker = dataclasses.replace(record, docker=True)
    argv = supervisor.nspawn_argv(with_docker, Path("/disk/root"))
    assert f"--bind={record.storage}/docker:/var/lib/docker" in argv
    assert "--system-call-filter=bpf @keyring" in argv
    assert "SYSTEMD_NSPAWN_API_VFS_WRITABLE" in supervisor.nspawn_environment(with_docker)
    plain = supervisor.nspawn_argv(record, Path("/disk/root"))
    assert "--system-call-filter=bpf" in plain and not any("docker" in word for word in plain)
    assert "SYSTEMD_NSPAWN_API_VFS_WRITABLE" not in supervisor.nspawn_environment(record)


@pytest.mark.parametrize(
    ("mountinfo", "expected"),
    [
        ("30 1 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 30 0:2 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n", "unified"),
        ("30 1 0:1 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n", "cgroup"),
    ],
)
def test_cgroup_mount_point(mountinfo: str, expected: str) -> None:
    found = cgroup.parse_mount_point(mountinfo)
    assert found is not None and found.name == expected


def test_cgroup_v1_only() -> None:
    assert cgroup.parse_mount_point("30 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n") is None


def test_any_change_of_the_recipe_makes_another_base() -> None:
    recipe = base.Recipe("debian12", "bookworm", "http://mirror.example.com/", ("python3",), (), (), (("etc/x", "1"),), ())
    changed = [
        dataclasses.replace(recipe, mirror="http://other.example.com/"),
        dataclasses.replace(recipe, packages=("python3", "sudo")),
        dataclasses.replace(recipe, files=(("etc/x", "2"),)),
        dataclasses.replace(recipe, certificates=(("00", "PEM"),)),
    ]
    assert len({other.directory for other in [recipe, *changed]}) == 5
    assert recipe.directory.startswith("debian12-")


def test_a_lock_keeps_others_out_and_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "directory" / "lock"
    with lock.locked(path):
        with lock.locked_if_free(path) as free:  # a lock belongs to an open file: a second opening stands for another process
            assert not free
        path.unlink()
        with lock.locked_if_free(path) as free:
            assert free
    with lock.locked_if_free(path) as free:
        assert free


def test_not_root_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unsupported, match=r"^The range cannot run here: it needs root .*docs/your-own-machine.md$") as caught:
        doctor.check(Layout.from_environment({"HOME": "/"}))
    assert caught.value.exit_code == 2
