# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, Model, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_types import FILE_TYPES
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_models import MODELS, write
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_packer import (
    F16,
    F32,
    FLOAT32,
    INT32,
    STRING,
    UINT16,
    UINT32,
    Packer,
)
from gguf import LlamaFileType

PACK = Packer()
NORM = PACK.tensor("norm", (8,), F32, 0)
TOKENS = PACK.array_pair("tokenizer.ggml.tokens", STRING, ["a"])


def model(path: Path, *pairs: bytes, tensors: tuple[bytes, ...] = (NORM,), data: int = 32) -> Model:
    path.write_bytes(PACK.file(*pairs, tensors=tensors, data=data))
    return read_model(LocalFiles(), str(path))


def text(key: str, value: str) -> bytes:
    return PACK.pair(key, STRING, value)


@pytest.mark.parametrize(
    ("pairs", "tensors", "kind"),
    [
        ([text("general.architecture", "llama"), TOKENS], True, "model"),
        ([text("general.architecture", "llama"), text("general.type", "model"), TOKENS], True, "model"),
        ([text("general.architecture", "llama"), TOKENS], False, "vocabulary"),
        ([text("general.architecture", "llama")], False, "model"),
        ([text("general.architecture", "clip"), text("general.type", "mmproj")], True, "mmproj"),
        ([text("general.architecture", "clip")], True, "mmproj"),
        ([text("general.architecture", "clip"), text("general.type", "model")], True, "mmproj"),
        ([text("general.architecture", "llama"), text("general.type", "adapter")], True, "adapter"),
        ([text("general.architecture", "controlvector")], True, "adapter"),
        ([text("general.type", "imatrix")], True, "imatrix"),
        ([text("general.type", "something new")], True, "model"),
        ([PACK.pair("general.type", UINT32, 1), PACK.pair("general.architecture", UINT32, 1)], True, "model"),
        ([], True, "model"),
    ],
)
def test_what_it_is(tmp_path: Path, pairs: list[bytes], tensors: bool, kind: str) -> None:
    assert model(tmp_path / "m.gguf", *pairs, tensors=(NORM,) if tensors else ()).kind == kind


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        (PACK.pair("general.file_type", UINT32, 15), "Q4_K_M"),
        (PACK.pair("general.file_type", UINT32, 0), "F32"),
        (PACK.pair("general.file_type", UINT32, 5), None),
        (PACK.pair("general.file_type", STRING, "Q4_K_M"), None),
        (TOKENS, None),
    ],
)
def test_how_it_is_quantised(tmp_path: Path, pair: bytes, name: str | None) -> None:
    assert model(tmp_path / "m.gguf", pair).file_type == name


def test_the_file_types_are_those_of_the_gguf_package() -> None:
    theirs = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in LlamaFileType if kind.name != "GUESSED"}
    assert {number: name for number, name in FILE_TYPES.items() if number in theirs} == theirs


def test_all_that_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    tensors = (PACK.tensor("a", (32, 2), F16, 0), PACK.tensor("b", (8,), F32, 128), PACK.tensor("c", (8, 2), F32, 160))
    pairs = [text("general.architecture", "llama"), PACK.pair("general.file_type", UINT32, 1), PACK.array_pair("l.heads", INT32, [4, 8])]
    pairs += [PACK.array_pair("l.long", FLOAT32, [0.0] * 1025), PACK.array_pair("l.odd", FLOAT32, [float("nan"), float("-inf"), 0.5])]
    shown = model(path, *pairs, tensors=tensors, data=224).as_dict()
    size = path.stat().st_size
    assert json.loads(json.dumps(shown, allow_nan=False)) == {
        "files": [{"path": str(path), "size": size}],
        "size": size,
        "split": None,
        "kind": "model",
        "architecture": "llama",
        "file_type": "F16",
        "parameters": 88,
        "tensor_bytes": 224,
        "tensor_types": {"F16": 128, "F32": 96},
        "tensors": {"a": 128, "b": 32, "c": 64},
        "metadata": {
            "general.architecture": "llama",
            "general.file_type": 1,
            "l.heads": [4, 8],
            "l.long": {"type": "float32", "length": 1025},
            "l.odd": [None, None, 0.5],
        },
        "version": 3,
        "byte_order": "little",
    }


def shards(directory: Path, count: int = 3) -> list[Path]:
    """Of one tensor each, and the last of two."""
    paths = []
    for number in range(count):
        paths.append(directory / f"m-{number + 1:05d}-of-{count:05d}.gguf")
        paths[-1].write_bytes(shard(number, count, ["t", "last"] if number == count - 1 else ["t"]))
    return paths


def shard(number: int, count: int, names: list[str], *, total: int | None = None) -> bytes:
    pairs = [PACK.pair("split.no", UINT16, number), PACK.pair("split.count", UINT16, count)]
    pairs.append(PACK.pair("split.tensors.count", INT32, count + 1 if total is None else total))
    tensors = tuple(PACK.tensor(f"{name}.{number}", (8,), F32, 32 * index) for index, name in enumerate(names))
    return PACK.file(*pairs, tensors=tensors, data=32 * len(names))


def test_a_split_model_is_one_model(tmp_path: Path) -> None:
    paths = [str(path) for path in shards(tmp_path)]
    shown = read_model(LocalFiles(), paths[0]).as_dict()
    sizes = [os.path.getsize(path) for path in paths]
    assert shown["split"] == {"count": 3, "no": 0, "files": paths}
    assert shown["files"] == [{"path": path, "size": size} for path, size in zip(paths, sizes, strict=True)]
    assert shown["tensors"] == {"t.0": 32, "t.1": 32, "t.2": 32, "last.2": 32}
    assert (shown["size"], shown["tensor_bytes"], shown["parameters"]) == (sum(sizes), 128, 32)


def test_the_files_of_a_snapshot_are_links(tmp_path: Path) -> None:
    """In the cache of the hub, the names are in one directory and the files, under other names, in another."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for path in shards(tmp_path):
        path.rename(tmp_path / "blobs" / path.name[2:7])
        (tmp_path / "snapshot" / path.name).symlink_to(f"../blobs/{path.name[2:7]}")
    assert len(read_model(LocalFiles(), str(tmp_path / "snapshot" / "m-00001-of-00003.gguf")).files) == 3


def test_a_model_that_says_it_is_split_into_one(tmp_path: Path) -> None:
    assert model(tmp_path / "m.gguf", PACK.pair("split.count", UINT16, 1)).as_dict()["split"] is None


def broken(directory: Path, fault: str) -> Path:
    """What is asked for, after something has happened to the three files."""
    paths = shards(directory)
    first, second, third = paths
    if fault == "second missing":
        second.unlink()
    elif fault == "all others missing":
        second.unlink()
        third.unlink()
    elif fault == "first missing":
        first.unlink()
    elif fault == "second asked for":
        return second
    elif fault == "renamed":
        return first.rename(directory / "m.gguf")
    elif fault == "no name":
        return first.rename(directory / "m-00001-of-00004.gguf")
    elif fault == "swapped":
        second.write_bytes(third.read_bytes())
    elif fault == "no number":
        second.write_bytes(PACK.file(tensors=(PACK.tensor("t.1", (8,), F32, 0),), data=32))
    elif fault == "truncated":
        os.truncate(third, third.stat().st_size - 40)
    elif fault == "tensor twice":
        second.write_bytes(shard(1, 3, ["t"]).replace(b"t.1", b"t.0"))
    elif fault == "another model":
        second.write_bytes(shard(1, 3, ["t", "more"]))
    elif fault == "no total":
        first.write_bytes(shard(0, 3, ["t"]).replace(b"split.tensors.count", b"split.tensors.cOunt"))
    elif fault == "negative":
        first.write_bytes(PACK.file(PACK.pair("split.count", INT32, -1)))
    elif fault == "text":
        first.write_bytes(PACK.file(PACK.pair("split.count", STRING, "3")))
    elif fault == "many":
        first = first.rename(directory / "m-00001-of-65535.gguf")
        first.write_bytes(shard(0, 65535, ["t"]))
    return first


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            "second missing",
            "path: DIR/m-00001-of-00003.gguf is the first of 3 files, but there is no DIR/m-00002-of-00003.gguf beside it; download the whole",
        ),
        ("all others missing", "but there is no DIR/m-00002-of-00003.gguf, DIR/m-00003-of-00003.gguf beside it"),
        ("first missing", "path: DIR/m-00001-of-00003.gguf is not there; correct the path"),
        (
            "second asked for",
            "path: DIR/m-00002-of-00003.gguf is file 2 of 3, and a model is loaded by its first; give DIR/m-00001-of-00003.gguf",
        ),
        ("renamed", "path: DIR/m.gguf is file 1 of 3, so its name has to end in -00001-of-00003.gguf"),
        ("no name", "path: DIR/m-00001-of-00004.gguf is file 1 of 3, so its name has to end in -00001-of-00003.gguf"),
        ("swapped", "path: DIR/m-00002-of-00003.gguf is not file 2 of 3, as its name says"),
        ("no number", "path: DIR/m-00002-of-00003.gguf is not file 2 of 3, as its name says"),
        ("truncated", "path: DIR/m-00003-of-00003.gguf can't be read as a GGUF file: it is not whole: the last 40 of "),
        ("tensor twice", "path: DIR/m-00002-of-00003.gguf holds the tensor t.0, and so does a file before"),
        ("another model", "path: DIR/m-00001-of-00003.gguf and the 2 files beside it hold 5 tensors instead of 4"),
        ("no total", "hold 4 tensors instead of None"),
        ("negative", "path: DIR/m-00001-of-00003.gguf has -1 as its split.count"),
        ("text", "path: DIR/m-00001-of-00003.gguf has '3' as its split.count"),
        ("many", "DIR/m-00006-of-65535.gguf and others beside it"),
    ],
)
def test_a_split_model_that_is_not_whole(tmp_path: Path, fault: str, expected: str) -> None:
    path = broken(tmp_path, fault)
    with pytest.raises(UserError) as error:
        read_model(LocalFiles(), str(path))
    assert expected in error.value.msg.replace(str(tmp_path), "DIR")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none.gguf", "path: DIR/none.gguf is not there; correct the path, or put the file on the host."),
        ("file/none.gguf", "path: DIR/file/none.gguf is not there; correct the path, or put the file on the host."),
        ("loop", "path: DIR/loop can't be read: Too many levels of symbolic links."),
        ("directory", "path: DIR/directory can't be read as a GGUF file: it is not a regular file; download it again, or give another."),
        (
            "file",
            "path: DIR/file can't be read as a GGUF file: it starts with b'<htm' instead of b'GGUF'; download it again, or give another.",
        ),
        ("x" * 300, f"path: DIR/{'x' * 300} can't be read: File name too long."),
    ],
)
def test_what_can_not_be_read(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("<html>")
    with pytest.raises(UserError) as error:
        read_model(LocalFiles(), str(tmp_path / name))
    assert error.value.msg.replace(str(tmp_path), "DIR") == expected


@pytest.mark.parametrize(
    ("name", "kind"), [(name, {"mmproj": "mmproj", "adapter": "adapter", "vocabulary": "vocabulary"}.get(name, "model")) for name in MODELS]
)
def test_each_architecture(tmp_path: Path, name: str, kind: str) -> None:
    (path,) = write(tmp_path / "m.gguf", MODELS[name])
    read = read_model(LocalFiles(), str(path))
    assert (read.kind, read.header.architecture, read.file_type) == (kind, MODELS[name].architecture, "Q4_K_M")
