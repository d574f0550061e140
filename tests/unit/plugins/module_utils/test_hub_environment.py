# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the hub's client gets onto the host; that it works is shown in tests/integration."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _hub_environment
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._hub_environment import HubEnvironment, requirements
from ansible_collections.baremetal.llm.plugins.module_utils._hub_process import HubClient
from ansible_collections.baremetal.llm.plugins.module_utils._hub_requirements import VERSION, WHEELS
from ansible_collections.baremetal.llm.plugins.module_utils._toolchain import PythonPip


class Progress:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, name: str, **_more: object) -> None:
        self.steps.append(name)

    def beat(self) -> None:
        pass


class FakeTools:
    """venv and pip: what they were asked, and what they do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        self.said, self.rc, self.raises = "", 0, None
        monkeypatch.setattr(_hub_environment, "follow", self)
        monkeypatch.setattr(PythonPip, "find", lambda _self: "pip")

    def __call__(self, argv: list[str], *, on_line: Any, **_more: Any) -> int:
        self.calls.append(argv)
        if "venv" in argv:
            place = Path(argv[-1])
            (place / "bin").mkdir(parents=True)
            (place / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
            (place / "bin" / "python").symlink_to(sys.executable)
            return 0
        if self.raises:
            raise self.raises
        for line in self.said.splitlines():
            on_line(line)
        return self.rc if "pip" in argv else 0


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    return FakeTools(monkeypatch)


def environment(directory: Path, python: str = "") -> HubEnvironment:
    return HubEnvironment(directory, HubClient(python, "http://hub", None, 30, directory / "scratch"))


def test_every_requirement_is_pinned_by_version_and_hash() -> None:
    lines = requirements(WHEELS).splitlines()
    assert len(lines) == len(WHEELS) and WHEELS["huggingface-hub"][0] == VERSION
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+( --hash=sha256:[0-9a-f]{64})+", line), line
    # Without it the client can only download plainly, which can be resumed, watched and proven.
    assert "hf-xet" not in WHEELS


def test_it_is_installed_once_and_replaces_what_was_before(tools: FakeTools, tmp_path: Path) -> None:
    for old in ("0.1-py3.9-00000000", ".new-of-a-killed-run"):
        (tmp_path / "client" / old).mkdir(parents=True)
    here, progress = environment(tmp_path / "client"), Progress()
    assert here.ready() is None
    client = here.provide(progress)  # type: ignore[arg-type]
    assert client.python == str(here.place / "bin" / "python") and here.ready() == client
    assert progress.steps == ["install the hub's client"]
    assert sorted(path.name for path in (tmp_path / "client").iterdir()) == [".lock", here.place.name]
    assert "--require-hashes" in tools.calls[1] and "--no-deps" in tools.calls[1] and tools.calls[2][1:3] == ["-I", "-c"]
    assert here.provide(progress) == client and len(tools.calls) == 3  # type: ignore[arg-type]


def test_an_interpreter_that_is_given_is_taken(tools: FakeTools, tmp_path: Path) -> None:
    here = environment(tmp_path / "client", "/usr/bin/python3")
    client = here.provide(Progress())  # type: ignore[arg-type]
    assert client.python == "/usr/bin/python3" and here.ready() == client and not tools.calls


MISMATCH = f"""\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.
    tqdm==4.70.1 from https://me:secret@index.example/tqdm.whl:
        Expected sha256 {"a" * 64}
             Got        {"b" * 64}
"""


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (MISMATCH, r"gave another file for tqdm==4\.70\.1 .* \(sha256 b{64}, not a{64}\), so nothing was installed"),
        (
            "Retrying after connection broken by NewConnectionError",
            r"can't be reached, so the hub's client can't be installed; check the network",
        ),
        ("ERROR: No matching distribution found for anyio==4.16.0", r"has no anyio==4\.16\.0, of which the hub's client is made; complete"),
        ("OSError: [Errno 28] No space left on device", r"client_directory: no space was left on the file system of .*client"),
        ("odd\nhttps://me:secret@index.example is odd\n", r"can't be installed: https://\*\*\*@index\.example is odd"),
    ],
)
def test_what_pip_says(tools: FakeTools, tmp_path: Path, said: str, message: str) -> None:
    tools.said, tools.rc = said, 1
    here = environment(tmp_path / "client")
    with pytest.raises(UserError, match=message) as failed:
        here.provide(Progress())  # type: ignore[arg-type]
    assert failed.value.details["rc"] == 1 and "secret" not in str(failed.value.details) + failed.value.msg
    assert here.ready() is None and [path.name for path in (tmp_path / "client").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            r"by the user with the id \d+: Permission denied; run this with become: true, or give another",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), r"below .*client: Disk quota exceeded; free some space, or give another"),
    ],
)
def test_a_directory_that_does_not_do(tools: FakeTools, tmp_path: Path, error: OSError, message: str) -> None:
    tools.raises = error
    with pytest.raises(UserError, match=rf"client_directory: the hub's client can't be installed .*{message}"):
        environment(tmp_path / "client").provide(Progress())  # type: ignore[arg-type]


def test_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PythonPip, "find", lambda _self: None)
    with pytest.raises(
        UserError, match=r"missing: pip for Python 3; install it first .*apt-get install python3-pip\), or give an interpreter"
    ):
        environment(tmp_path / "client").provide(Progress())  # type: ignore[arg-type]
    assert not (tmp_path / "client").exists()


def test_another_python_takes_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment(tmp_path).place
    monkeypatch.setattr(_hub_environment, "sys", SimpleNamespace(version_info=SimpleNamespace(major=3, minor=99)))
    assert environment(tmp_path).place.name == before.name.replace(f"py3.{sys.version_info.minor}", "py3.99") != before.name
