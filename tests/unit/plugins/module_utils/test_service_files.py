# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _service_files
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Content, ServiceFiles, runs
from ansible_collections.baremetal.llm.plugins.module_utils._systemd import UnitStatus
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import digest

UNIT = "[Service]\nExecStart=/bin/true\nEnvironment=INFERENCE_CONFIG_DIGEST=\n"
UNIT = UNIT.replace("DIGEST=", f"DIGEST={digest(UNIT)}")
CONTENT = Content(UNIT, b"sk-1\n")


@pytest.fixture
def files(tmp_path: Path) -> ServiceFiles:
    (tmp_path / "units").mkdir()
    return ServiceFiles("chat", tmp_path / "units", tmp_path / "etc" / "inference", tmp_path / "state")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_written_files_are_as_they_should_be(files: ServiceFiles) -> None:
    assert files.outdated(CONTENT) == [files.key, files.unit]
    files.write(CONTENT)
    assert files.live() == CONTENT
    assert files.outdated(CONTENT) == []
    assert (mode(files.unit), mode(files.key), mode(files.config), mode(files.config_directory)) == (0o644, 0o600, 0o700, 0o755)


def test_only_what_differs_is_written(files: ServiceFiles) -> None:
    files.write(CONTENT)
    before = files.unit.stat().st_ino
    files.write(Content(UNIT, b"sk-2\n"))
    assert files.unit.stat().st_ino == before
    assert files.live().key == b"sk-2\n"


def test_a_service_without_a_key_has_no_key_file(files: ServiceFiles) -> None:
    files.write(CONTENT)
    assert files.outdated(Content(UNIT)) == [files.key]
    files.write(Content(UNIT))
    assert files.live() == Content(UNIT)
    assert not files.key.exists()


@pytest.mark.parametrize("wrong", [0o644, 0o400])
def test_a_wrong_mode_is_put_right(files: ServiceFiles, wrong: int) -> None:
    files.write(CONTENT)
    files.key.chmod(wrong)
    assert files.outdated(CONTENT) == [files.key]
    files.write(CONTENT)
    assert mode(files.key) == 0o600


def test_a_link_in_place_of_a_file_is_replaced(files: ServiceFiles, tmp_path: Path) -> None:
    files.write(CONTENT)
    elsewhere = tmp_path / "elsewhere"
    files.unit.rename(elsewhere)
    files.unit.symlink_to(elsewhere)
    assert files.outdated(CONTENT) == [files.unit]
    files.write(Content("new", b"sk-1\n"))
    assert elsewhere.read_text() == UNIT and not files.unit.is_symlink()


def test_the_key_is_there_before_the_unit_that_names_it(files: ServiceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, data: bytes, mode: int) -> None:
        if path == files.unit:
            raise KeyboardInterrupt
        path.write_bytes(data)
        path.chmod(mode)

    monkeypatch.setattr(_service_files, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write(CONTENT)
    assert files.live() == Content(None, b"sk-1\n")


def test_what_was_accepted_stays_when_the_live_files_change(files: ServiceFiles) -> None:
    assert files.accepted() == Content()
    files.write(CONTENT)
    files.accept(CONTENT)
    files.write(Content("other", b"sk-2\n"))
    assert files.accepted() == CONTENT
    assert {mode(path) for path in files.config.iterdir() if path.is_dir()} == {0o700}
    files.accept(Content("other"))
    assert files.accepted() == Content("other")


def test_accepting_half_is_accepting_nothing(files: ServiceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(CONTENT)
    files.accept(CONTENT)

    def killed(path: Path, data: bytes, mode: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_service_files, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        files.accept(Content("other", b"sk-2\n"))
    assert files.accepted().unit is None


def test_everything_goes_and_nothing_else(files: ServiceFiles) -> None:
    files.write(CONTENT)
    files.accept(CONTENT)
    (files.state / "cache").mkdir(parents=True)
    wants = files.unit_directory / "multi-user.target.wants"
    wants.mkdir()
    (wants / files.unit.name).symlink_to(files.unit)
    neighbours = [files.unit_directory / "inference-chat-2.service", files.state_directory / "chat-2", wants / "other.service"]
    for path in neighbours:
        path.touch()
    assert files.everything() == [wants / files.unit.name, files.unit, files.config, files.state]
    files.remove()
    assert files.everything() == []
    assert all(path.exists() for path in neighbours)
    files.remove()


def test_the_shared_directories_go_with_the_last_service_unless_something_is_kept_there(files: ServiceFiles) -> None:
    model = files.state_directory / "hub" / "somebody's.gguf"
    model.parent.mkdir(parents=True)
    model.touch()
    files.config.mkdir(parents=True)
    files.remove()
    assert model.exists() and not files.config_directory.exists()
    model.unlink()
    model.parent.rmdir()
    files.remove()
    assert not files.state_directory.exists()


def test_a_link_in_place_of_the_state_is_removed_and_not_followed(files: ServiceFiles, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    files.state_directory.mkdir()
    files.state.symlink_to(kept)
    files.remove()
    assert kept.is_dir() and not os.path.lexists(files.state)


def test_the_other_services_are_found(files: ServiceFiles) -> None:
    for name in ("inference-chat.service", "inference-embed.service", "nginx.service"):
        (files.unit_directory / name).touch()
    assert files.other_units() == [files.unit_directory / "inference-embed.service"]


# -- what runs ---------------------------------------------------------------------------------------------------------

STARTED = {"INFERENCE_CONFIG_DIGEST": digest(UNIT)}
RUNNING = UnitStatus(active=True, main_pid=7, environment=STARTED, credentials={"api-key": b"sk-1\n"})


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (CONTENT, RUNNING, True),
        (Content(UNIT), UnitStatus(active=True, main_pid=7, environment=STARTED, credentials={}), True),
        (Content(UNIT, b"sk-2\n"), RUNNING, False),
        (Content(UNIT), RUNNING, False),
        (Content(UNIT.replace("/bin/true", "/bin/false"), b"sk-1\n"), RUNNING, False),
        (Content(), RUNNING, False),
        (CONTENT, UnitStatus(), False),
        (Content("[Service]\n"), UnitStatus(active=True, main_pid=7, environment={}, credentials={}), False),
        (CONTENT, UnitStatus(active=False, environment=STARTED, credentials={"api-key": b"sk-1\n"}), False),
        (CONTENT, UnitStatus(active=True, main_pid=7, environment=None, credentials={"api-key": b"sk-1\n"}), False),
    ],
)
def test_a_process_runs_with_what_it_was_started_with(content: Content, status: UnitStatus, expected: bool) -> None:
    assert runs(content, status) is expected
