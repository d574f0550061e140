# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._command import Completed
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._files import sha256_of
from ansible_collections.baremetal.llm.plugins.module_utils._source import (
    Identity,
    Source,
    SourceCache,
    _git_error,
    _pip_error,
    parse_source,
    refuse_unsafe,
    unpack_programs,
    unpack_tree,
)

DIGEST = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4


def test_defaults_of_a_package() -> None:
    source = parse_source({"kind": "pypi", "version": "0.3.36", "repo": None, "name": None})
    assert source == Source("pypi", version="0.3.36", name="llama-cpp-python", subdirectory="vendor/llama.cpp")
    assert source.label == "llama-cpp-python 0.3.36"


def test_checksum_is_normalised() -> None:
    source = parse_source({"kind": "archive", "url": "https://user:secret@example.org/x.tar.gz", "sha256": f"sha256:{DIGEST.upper()}"})
    assert source.sha256 == DIGEST
    assert source.label == "https://***@example.org/x.tar.gz"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kind": "git", "repo": "/r"}, "source.kind: git also needs source.version"),
        ({"kind": "archive", "sha256": DIGEST}, "source.kind: archive also needs source.url or path"),
        ({"kind": "archive", "url": "https://x/y"}, "source.kind: archive also needs source.sha256"),
        ({"kind": "archive", "url": "https://x/y", "path": "/y", "sha256": DIGEST}, "exclude each other"),
        ({"kind": "archive", "url": "ftp://x/y", "sha256": DIGEST}, "source.url: 'ftp://x/y' is not an http, https or file URL"),
        ({"kind": "archive", "path": "/x", "sha256": "abc"}, "source.sha256: 'abc' is not 64 hexadecimal digits"),
        ({"kind": "pypi", "version": ">=0.3"}, "source.version: '>=0.3' is not one exact version"),
        ({"kind": "pypi", "version": "0.3.36", "name": "--index-url=x"}, "source.name: '--index-url=x' is not the name"),
        ({"kind": "pypi", "version": "0.3.36", "repo": "/r"}, "source.kind: pypi has no use for source.repo"),
        ({"kind": "git", "repo": "/r", "version": "--upload-pack=x"}, "source.version: '--upload-pack=x' is not a branch"),
        ({"kind": "git", "repo": "/r", "version": "v1", "subdirectory": "a/../../b"}, "leaves the source tree"),
        ({"kind": "prebuilt", "url": "https://x/y"}, "source.kind: prebuilt also needs source.sha256"),
        ({"kind": "prebuilt", "sha256": DIGEST}, "source.kind: prebuilt also needs source.url or path"),
        ({"kind": "prebuilt", "path": "/x", "sha256": DIGEST, "subdirectory": "bin"}, "prebuilt has no use for source.subdirectory"),
    ],
)
def test_bad_source(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_source(params)
    assert message in caught.value.msg


def test_what_is_known_without_the_network(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path / "sources")
    package = parse_source({"kind": "pypi", "version": "1.0"})
    assert cache.known_identity(package) is None
    cache.remember(package, DIGEST)
    assert cache.known_identity(package) == Identity(DIGEST, "vendor/llama.cpp")
    assert cache.known_identity(parse_source({"kind": "pypi", "version": "1.1"})) is None
    assert cache.known_identity(parse_source({"kind": "git", "repo": "/r", "version": "main"})) is None
    assert cache.known_identity(parse_source({"kind": "git", "repo": "/r", "version": COMMIT})) == Identity(COMMIT, "")
    (tmp_path / "sources" / "pypi.json").write_text("{")
    assert cache.known_identity(package) is None


def test_archive_that_a_power_loss_cut_short_is_not_used(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path)
    source = Source("archive", path="/x")
    whole = tmp_path / "whole"
    whole.write_bytes(b"all of it")
    identity = Identity(sha256_of(whole), "")
    whole.rename(cache.archive(identity.digest))
    assert cache.has(source, identity)
    cache.archive(identity.digest).write_bytes(b"all")
    assert not cache.has(source, identity)


def test_prune_keeps_the_sources_of_kept_releases(tmp_path: Path) -> None:
    cache = SourceCache(tmp_path)
    for digest in ("a", "b"):
        cache.archive(digest).touch()
    cache.prune({"b"})
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


def pip_says(stdout: str) -> Completed:
    return Completed(("python3", "-m", "pip"), 1, stdout, "")


@pytest.mark.parametrize(
    ("stdout", "message"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement x==9 (from versions: 0.1, 0.2, 0.3.1, 0.3.2, 0.3.3, 0.3.4)",
            "there is no source distribution of llama-cpp-python 9; the newest are 0.2, 0.3.1, 0.3.2, 0.3.3, 0.3.4",
        ),
        (
            "WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError'\nERROR: … (from versions: none)",
            "can't be reached, so llama-cpp-python 9 can't be fetched",
        ),
        ("ERROR: Could not find a version that satisfies the requirement x==9 (from versions: none)", "has no package llama-cpp-python"),
        ("ERROR: something else", "pip can't fetch llama-cpp-python 9: ERROR: something else"),
        ("", "it said nothing"),
    ],
)
def test_what_pip_means(stdout: str, message: str) -> None:
    assert message in _pip_error(Source("pypi", version="9"), pip_says(stdout)).msg


def test_what_git_means() -> None:
    source = Source("git", repo="https://user:secret@example.org/x.git", version="v1")
    unreachable = _git_error(
        source, Completed(("git",), 128, "", "fatal: unable to access 'https://user:secret@example.org/x.git/': no route")
    )
    assert unreachable.msg.endswith("can't be read from this host: fatal: unable to access 'https://***@example.org/x.git/': no route")
    assert "secret" not in str(unreachable.details)
    unknown = _git_error(source, Completed(("git",), 128, "fatal: remote error: upload-pack: not our ref 0123", ""))
    assert "is no commit of https://***@example.org/x.git" in unknown.msg


# --- unpacking ----------------------------------------------------------------------------------------------------------


def make_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def test_unpack(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", file("top/vendor/llama.cpp/CMakeLists.txt"), link("top/vendor/llama.cpp/l", "CMakeLists.txt"))
    beats = []
    tree = unpack_tree(archive, Source("pypi", subdirectory="vendor/llama.cpp"), tmp_path / "into", lambda: beats.append(1))
    assert tree == tmp_path / "into" / "top" / "vendor" / "llama.cpp"
    assert (tree / "l").read_text() == "x" and len(beats) == 2


@pytest.mark.parametrize("directory", ["", "llama-b12000/", "build/bin/"])
def test_unpack_programs_at_any_depth(tmp_path: Path, directory: str) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", file(f"{directory}llama-server"), file(f"{directory}old/llama-server"), file("LICENSE"))
    source = Source("prebuilt", path="/a.tar.gz")
    assert unpack_programs(archive, source, tmp_path / "into", "llama-server", lambda: None) == tmp_path / "into" / directory
    with pytest.raises(UserError, match=r"source: /a.tar.gz holds no program llama-bench; give an archive of programs for Linux"):
        unpack_programs(archive, source, tmp_path / "again", "llama-bench", lambda: None)


def test_unpack_what_git_packs(tmp_path: Path) -> None:
    assert (
        unpack_tree(make_tar(tmp_path / "a.tar", file("CMakeLists.txt")), Source("git"), tmp_path / "into", lambda: None)
        == tmp_path / "into"
    )


@pytest.mark.parametrize("with_filter", [True, False], ids=["data filter", "older Python"])
@pytest.mark.parametrize(
    "member",
    [
        file("../evil"),
        link("top/l", "../../../evil"),
        link("top/l", "/etc/passwd"),
        link("top/h", "../evil", tarfile.LNKTYPE),
        link("top/dev", "", tarfile.CHRTYPE),
    ],
    ids=lambda member: member[0].name,
)
def test_entries_that_leave_the_directory(
    tmp_path: Path, member: tuple[tarfile.TarInfo, bytes], with_filter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    archive = make_tar(tmp_path / "a.tar.gz", file("top/CMakeLists.txt"), member)
    with pytest.raises(UserError, match="leads out of the directory"):
        unpack_tree(archive, Source("archive", path="/a.tar.gz"), tmp_path / "in" / "to", lambda: None)
    assert not (tmp_path / "evil").exists() and not (tmp_path / "in" / "evil").exists()


def test_harmless_entries_are_not_refused() -> None:
    for member in (file("a/b"), link("a/l", "b"), link("a/b/l", "../c"), link("a/h", "a/b", tarfile.LNKTYPE)):
        refuse_unsafe(member[0])


@pytest.mark.parametrize("content", [b"", b"this is no archive", b"\x1f\x8b\x08\x00 damaged"])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match="is not a tar archive, or is damaged"):
        unpack_tree(tmp_path / "a", Source("archive", path="/a"), tmp_path / "into", lambda: None)
