# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the `gguf` package writes, and reads again, is what we read."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._gguf import Header, SkippedArray, Value, read_header
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_model import LocalFiles, Model, read_model
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import LocalFile
from ansible_collections.baremetal.llm.tests.unit.plugins.gguf_models import MODELS, write
from ansible_collections.baremetal.llm.tools import tiny_gguf
from gguf import GGUFReader, ReaderField


def theirs(field: ReaderField) -> Value:
    """The value as we have it: the package has lists, of any length."""
    value = field.contents()
    if not isinstance(value, list):
        return value
    return tuple(value) if len(value) <= 1024 else SkippedArray(field.types[1].name.lower(), len(value))


def compare(header: Header, path: Path) -> None:
    reader = GGUFReader(path)
    assert dict(header.metadata) == {key: theirs(field) for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert [(tensor.name, tensor.shape, tensor.type, tensor.bytes) for tensor in header.tensors] == [
        (tensor.name, tuple(tensor.shape), tensor.tensor_type.name, tensor.n_bytes) for tensor in reader.tensors
    ]
    assert header.byte_order == reader.endianess.name.lower()
    assert header.version == reader.fields["GGUF.version"].contents()


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_each_architecture_in_each_byte_order(tmp_path: Path, name: str, big_endian: bool) -> None:
    (path,) = write(tmp_path / "model.gguf", MODELS[name], big_endian=big_endian)
    with LocalFile(path) as file:
        compare(read_header(file), path)


@pytest.mark.parametrize("name", ["llama", "qwen3moe"])
def test_each_file_of_a_split_model(tmp_path: Path, name: str) -> None:
    whole = read_model(LocalFiles(), str(write(tmp_path / "whole.gguf", MODELS[name])[0]))
    paths = write(tmp_path / "split.gguf", MODELS[name], tensors_per_file=3)
    assert len(paths) > 3
    for path in paths:
        with LocalFile(path) as file:
            compare(read_header(file), path)
    split = read_model(LocalFiles(), str(paths[0]))
    assert split.header.tensors == whole.header.tensors
    assert [file.path for file in split.files] == [str(path) for path in paths]
    assert rest_of(split) == rest_of(whole)


def rest_of(model: Model) -> dict[str, object]:
    """All but what a split model has of its own."""
    shown = model.as_dict()
    metadata = shown["metadata"]
    assert isinstance(metadata, dict)
    shown["metadata"] = {key: value for key, value in metadata.items() if not key.startswith("split.")}
    return {key: value for key, value in shown.items() if key not in ("files", "size", "split")}


def test_a_model_with_real_data(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    tiny_gguf.main([str(path)])
    with LocalFile(path) as file:
        compare(read_header(file), path)
