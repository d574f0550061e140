# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._host import Host
from ansible_collections.baremetal.llm.tests.unit.plugins.fake_root import put


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    put(tmp_path, "etc/a-directory/file")
    assert (host.text("/etc/none"), host.text("etc/a-directory/file/none"), host.read("etc/none"), host.names("none")) == (
        None,
        None,
        "",
        [],
    )


def test_what_cannot_be_read_is_only_nothing_where_nothing_depends_on_it(tmp_path: Path) -> None:
    put(tmp_path, "etc/a-directory/file")
    host = Host(tmp_path)
    assert host.read("etc/a-directory") == ""
    with pytest.raises(IsADirectoryError):
        host.text("etc/a-directory")


def test_text_that_is_no_utf_8_can_be_written_again(tmp_path: Path) -> None:
    put(tmp_path, "etc/file", b"caf\xe9\n")
    host = Host(tmp_path)
    host.write("/etc/file", host.read("/etc/file"))
    assert host.text("etc/file") == "caf\ufffd\n"


@pytest.mark.parametrize(("before", "asked", "after"), [(None, None, 0o644), (0o600, None, 0o600), (0o600, 0o755, 0o755)])
def test_the_mode_of_a_file(tmp_path: Path, before: int | None, asked: int | None, after: int) -> None:
    host = Host(tmp_path)
    if before is not None:
        put(tmp_path, "etc/file").chmod(before)
    host.write("/etc/file", "new\n", asked)
    assert host.place("etc/file").stat().st_mode & 0o777 == after


def test_os_release(tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", "# of a test\nID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME='Debian 13'\n")
    assert Host(tmp_path).os_release() == {"ID": "debian", "VERSION_ID": "13", "PRETTY_NAME": "Debian 13"}


def test_programs_are_those_of_the_path(tmp_path: Path) -> None:
    class Told(Host):
        environment = {"SAYS": "so"}

    put(tmp_path, "bin/program", '#!/bin/sh\necho "$1 $SAYS"\n').chmod(0o755)
    asked = Told(tmp_path, path=f"{tmp_path}/bin:/bin").run("program", "it")
    assert asked is not None and asked.stdout == "it so\n"
    assert Told(tmp_path, path=str(tmp_path)).run("program") is None
