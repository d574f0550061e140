from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils import _received_file
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import sha256_of
from ansible_collections.baremetal.llm.plugins.module_utils._received_file import (
    Version,
    check_room,
    install,
    prepare,
    staged_path,
    version_of,
)


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """The place of a file that has been sent."""
    dest = tmp_path / "models" / "model.gguf"
    prepare(dest)
    staged_path(dest).write_bytes(b"weights")
    return dest


def test_a_received_file_takes_the_time_of_its_source(dest: Path) -> None:
    install(dest, 1_700_000_000, sha256_of(staged_path(dest)))
    assert dest.read_bytes() == b"weights"
    assert version_of(dest) == Version(7, 1_700_000_000)
    assert os.stat(dest).st_mode & 0o777 == 0o644
    assert os.listdir(dest.parent) == ["model.gguf"]


def test_a_damaged_file_does_not_replace_the_old_one(dest: Path) -> None:
    dest.write_bytes(b"old")
    with pytest.raises(UserError, match="arrived damaged"):
        install(dest, 0, "0" * 64)
    assert dest.read_bytes() == b"old" and os.listdir(dest.parent) == ["model.gguf"]


def test_nothing_is_no_version(tmp_path: Path) -> None:
    assert version_of(tmp_path / "missing") is None
    assert version_of(tmp_path / "missing" / "below") is None


def test_a_file_that_does_not_fit_is_refused_before_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs_result((4096, 4096, 1000, 10, 10, 0, 0, 0, 0, 255))
    monkeypatch.setattr(_received_file.os, "statvfs", lambda path: full)
    check_room(tmp_path / "new" / "model.gguf", 10 * 4096)
    with pytest.raises(UserError, match=r"needs 2 MiB .* 0 MiB are available"):
        check_room(tmp_path / "new" / "model.gguf", 1 << 20)
