# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model as one or more GGUF files, on this host or on a hub.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError
from ansible_collections.baremetal.llm.plugins.module_utils._gguf import Header, SkippedArray, Tensor, Value, read_header
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_shards import shard_suffix, shards
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_source import LocalFile, MissingFileError, NotGgufError, Source
from ansible_collections.baremetal.llm.plugins.module_utils._gguf_types import FILE_TYPES

_MOST_FILES = (1 << 16) - 1  # split.count is a uint16
_MOST_MISSING = 5  # that are looked for and named

# What a file is that is no model, by the two keys that may tell it. Only LoRA adapters and importance matrices have a type of their own
# today; a projector of llama.cpp has the architecture clip, whatever it is for.
_KINDS = {"adapter": "adapter", "mmproj": "mmproj", "imatrix": "imatrix"}
_KINDS_BY_ARCHITECTURE = {"clip": "mmproj", "controlvector": "adapter"}


class Place(Protocol):
    """Where files are looked for by their names."""

    def label(self, name: str) -> str:
        """The beginning of a sentence about the file, which names the option that it comes from."""

    def open(self, name: str) -> AbstractContextManager[Source]:
        """:class:`MissingFileError` where there is no such file, :class:`UserError` where it can't be read."""


class LocalFiles:
    """Files of this host; ``option`` is where their names come from."""

    def __init__(self, option: str = "path") -> None:
        self._option = option

    def label(self, name: str) -> str:
        return f"{self._option}: {name}"

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Source]:
        try:
            with LocalFile(name) as file:
                yield file
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError(f"{self.label(name)} is not there; correct the path, or put the file on the host.", path=name) from None
        except OSError as error:
            raise UserError(f"{self.label(name)} can't be read: {error.strerror}.", path=name) from None


@dataclass(frozen=True)
class File:
    path: str
    size: int


@dataclass(frozen=True)
class Model:
    header: Header
    """Of the first file, with the tensors of all."""
    files: tuple[File, ...]

    @property
    def kind(self) -> str:
        """model, mmproj, vocabulary, adapter or imatrix"""
        told = self.header.metadata.get("general.type")
        kind = _KINDS.get(str(told)) or _KINDS_BY_ARCHITECTURE.get(str(self.header.architecture))
        if kind is None and not self.header.tensors and any(key.startswith("tokenizer.") for key in self.header.metadata):
            return "vocabulary"
        return kind or "model"

    @property
    def file_type(self) -> str | None:
        number = self.header.metadata.get("general.file_type")
        return FILE_TYPES.get(number) if isinstance(number, int) else None

    def as_dict(self) -> dict[str, object]:
        """What the module returns. Not under the name path, which Ansible adds the size, owner and mode of a file to."""
        tensors, paths = self.header.tensors, [file.path for file in self.files]
        types: Counter[str] = Counter()
        for tensor in tensors:
            types[tensor.type] += tensor.bytes
        return {
            "files": [dataclasses.asdict(file) for file in self.files],
            "size": sum(file.size for file in self.files),
            "split": {"count": len(paths), "no": 0, "files": paths} if len(paths) > 1 else None,
            "kind": self.kind,
            "architecture": self.header.architecture,
            "file_type": self.file_type,
            "parameters": sum(math.prod(tensor.shape) for tensor in tensors),
            "tensor_bytes": self.header.tensor_bytes,
            "tensor_types": dict(types.most_common()),
            "tensors": {tensor.name: tensor.bytes for tensor in tensors},
            "metadata": {key: _shown(value) for key, value in self.header.metadata.items()},
            "version": self.header.version,
            "byte_order": self.header.byte_order,
        }


def read_model(place: Place, name: str) -> Model:
    """The model that begins with this file. Further files are found as llama.cpp finds them: by the name, when a key says how many."""
    header, file = _read(place, name)
    count, number = (_split_number(place, name, header.metadata, key) for key in ("split.count", "split.no"))
    if count <= 1:
        return Model(header, (file,))
    suffix = shard_suffix(number + 1, count)
    prefix = name.removesuffix(suffix)
    if prefix in ("", name):
        raise UserError(f"{place.label(name)} is file {number + 1} of {count}, so its name has to end in {suffix}; give it its name back.")
    names = shards(prefix, count)
    if number != 0:
        raise UserError(f"{place.label(name)} is file {number + 1} of {count}, and a model is loaded by its first; give {names[0]}.")
    return _with_the_others(place, header, file, names[1:])


def _with_the_others(place: Place, header: Header, first: File, names: list[str]) -> Model:
    count, files, missing = len(names) + 1, [first], []
    tensors = {tensor.name: tensor for tensor in header.tensors}
    for number, name in enumerate(names, start=1):
        try:
            further, file = _read(place, name)
        except MissingFileError:
            missing.append(name)
            if len(missing) == _MOST_MISSING:
                break
            continue
        if further.metadata.get("split.no") != number:
            raise UserError(f"{place.label(name)} is not file {number + 1} of {count}, as its name says; download the model again.")
        _add(place, name, tensors, further.tensors)
        files.append(file)
    if missing:
        others = "and others " if len(missing) == _MOST_MISSING else ""
        raise UserError(
            f"{place.label(first.path)} is the first of {count} files, but there is no {', '.join(missing)} {others}"
            "beside it; download the whole model."
        )
    expected = header.metadata.get("split.tensors.count")
    if expected != len(tensors):
        raise UserError(
            f"{place.label(first.path)} and the {count - 1} files beside it hold {len(tensors)} tensors instead of {expected}, "
            "so they are not of one model; download it again."
        )
    return Model(dataclasses.replace(header, tensors=tuple(tensors.values())), tuple(files))


def _add(place: Place, name: str, tensors: dict[str, Tensor], further: tuple[Tensor, ...]) -> None:
    for tensor in further:
        if tensor.name in tensors:
            raise UserError(f"{place.label(name)} holds the tensor {tensor.name}, and so does a file before; download the model again.")
        tensors[tensor.name] = tensor


def _read(place: Place, name: str) -> tuple[Header, File]:
    try:
        with place.open(name) as source:
            return read_header(source), File(name, source.file_size)
    except NotGgufError as reason:
        raise UserError(f"{place.label(name)} can't be read as a GGUF file: it {reason}; download it again, or give another.") from None


def _split_number(place: Place, name: str, metadata: Mapping[str, Value], key: str) -> int:
    value = metadata.get(key, 0)
    if not isinstance(value, int) or not 0 <= value <= _MOST_FILES:
        raise UserError(f"{place.label(name)} has {value!r} as its {key}, so it is damaged; download it again.")
    return value


def _shown(value: Value) -> object:
    """As JSON can carry it, which has no infinity."""
    if isinstance(value, SkippedArray):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_shown(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
