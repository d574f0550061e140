# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _service_files
from ansible_collections.baremetal.llm.plugins.module_utils._service_files import Change, Content, FileDiff, ServiceFiles

UNIT = "[Service]\nExecStart=/bin/true\n"
CONTENT = Content(UNIT, b"sk-1\n")


@pytest.fixture
def files(tmp_path: Path) -> ServiceFiles:
    (tmp_path / "units").mkdir()
    return ServiceFiles(tmp_path / "units" / "inference-chat.service", tmp_path / "etc" / "inference" / "chat", tmp_path / "state" / "chat")


def outdated(files: ServiceFiles, content: Content) -> list[Path]:
    return list(files.change_to(content).outdated)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_written_files_are_as_they_should_be(files: ServiceFiles) -> None:
    assert outdated(files, CONTENT) == [files.key, files.definition]
    files.write(CONTENT)
    assert files.live() == CONTENT
    assert outdated(files, CONTENT) == []
    assert (mode(files.definition), mode(files.key), mode(files.config), mode(files.config.parent)) == (0o644, 0o600, 0o700, 0o755)


def test_only_what_differs_is_written(files: ServiceFiles) -> None:
    files.write(CONTENT)
    before = files.definition.stat().st_ino
    files.write(Content(UNIT, b"sk-2\n"))
    assert files.definition.stat().st_ino == before
    assert files.live().key == b"sk-2\n"


def test_a_service_without_a_key_has_no_key_file(files: ServiceFiles) -> None:
    files.write(CONTENT)
    assert outdated(files, Content(UNIT)) == [files.key]
    files.write(Content(UNIT))
    assert files.live() == Content(UNIT)
    assert not files.key.exists()


@pytest.mark.parametrize("wrong", [0o644, 0o400])
def test_a_wrong_mode_is_put_right(files: ServiceFiles, wrong: int) -> None:
    files.write(CONTENT)
    files.key.chmod(wrong)
    assert outdated(files, CONTENT) == [files.key]
    files.write(CONTENT)
    assert mode(files.key) == 0o600


def test_a_link_in_place_of_a_file_is_replaced(files: ServiceFiles, tmp_path: Path) -> None:
    files.write(CONTENT)
    elsewhere = tmp_path / "elsewhere"
    files.definition.rename(elsewhere)
    files.definition.symlink_to(elsewhere)
    assert outdated(files, CONTENT) == [files.definition]
    files.write(Content("new", b"sk-1\n"))
    assert elsewhere.read_text() == UNIT and not files.definition.is_symlink()


def test_the_key_is_there_before_the_unit_that_names_it(files: ServiceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, data: bytes, mode: int) -> None:
        if path == files.definition:
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
    assert files.accepted().definition is None


def test_everything_goes_and_nothing_else(files: ServiceFiles) -> None:
    files.write(CONTENT)
    files.accept(CONTENT)
    (files.state / "cache").mkdir(parents=True)
    link = files.definition.parent / "link"
    link.symlink_to(files.definition)
    neighbours = [files.definition.parent / "inference-chat-2.service", files.state.parent / "chat-2"]
    for path in neighbours:
        path.touch()
    assert files.everything() == [files.definition, files.config, files.state]
    files.remove([link])
    assert files.everything() == [] and not link.is_symlink()
    assert all(path.exists() for path in neighbours)
    files.remove()


def test_the_shared_directories_go_with_the_last_service_unless_something_is_kept_there(files: ServiceFiles) -> None:
    model = files.state.parent / "hub" / "somebody's.gguf"
    model.parent.mkdir(parents=True)
    model.touch()
    files.config.mkdir(parents=True)
    files.remove()
    assert model.exists() and not files.config.parent.exists()
    model.unlink()
    model.parent.rmdir()
    files.remove()
    assert not files.state.parent.exists()


def test_a_link_in_place_of_the_state_is_removed_and_not_followed(files: ServiceFiles, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    files.state.parent.mkdir()
    files.state.symlink_to(kept)
    files.remove()
    assert kept.is_dir() and not os.path.lexists(files.state)


# -- what is told --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "unit", "key"),
    [
        (CONTENT, CONTENT, None, None),
        (Content(), CONTENT, ("", UNIT), ("", "api-key: changed\n")),
        (CONTENT, Content(), (UNIT, ""), ("api-key: set\n", "")),
        (CONTENT, Content(UNIT, b"sk-2\n"), None, ("api-key: set\n", "api-key: changed\n")),
        (CONTENT, Content("other", b"sk-1\n"), (UNIT, "other"), None),
    ],
)
def test_a_diff_holds_the_definition_and_never_the_key(
    files: ServiceFiles, before: Content, after: Content, unit: tuple[str, str] | None, key: tuple[str, str] | None
) -> None:
    expected = [FileDiff(str(path), *texts) for path, texts in ((files.definition, unit), (files.key, key)) if texts]
    assert list(files.diffs(Change(before, after))) == expected


@pytest.mark.parametrize(("content", "held"), [(Content(), []), (Content(UNIT), ["definition"]), (CONTENT, ["definition", "key"])])
def test_the_files_of_a_content(files: ServiceFiles, content: Content, held: list[str]) -> None:
    assert files.holding(content) == [getattr(files, name) for name in held]
