# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's header as data: what a plan reads of it, with the errors that an operator can put right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._errors import UserError


@dataclass(frozen=True)
class ModelHeader:
    """The header of a GGUF, of all its shards together."""

    where: str
    """The parameter that it came in, for messages."""
    architecture: str | None
    metadata: Mapping[str, Any]
    tensors: Mapping[str, int]
    """Bytes by name."""
    path: str | None = None
    """Of its first file."""

    @property
    def tensor_bytes(self) -> int:
        return sum(self.tensors.values())

    def value(self, key: str) -> Any:
        """The value of a key of the architecture."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def number(self, key: str, default: int | None = None) -> int | None:
        value = self.value(key)
        return default if value is None else self._whole(key, value)

    def numbers(self, key: str, count: int) -> list[int] | None:
        """One number for each layer: those that the header lists, or its one number for all of them."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, (list, tuple)):
            if len(value) < count:
                raise self.damaged(f"{self.architecture}.{key} lists {len(value)} values for {count} layers")
            return [self._whole(key, item) for item in value[:count]]
        return [self._whole(key, value)] * count

    def length(self, key: str) -> int | None:
        """How many elements an array has, which may be too long to be listed."""
        value = self.metadata.get(key)
        if isinstance(value, Mapping):
            value = value.get("length")
            return value if isinstance(value, int) else None
        return len(value) if isinstance(value, (list, tuple)) else None

    def damaged(self, what: str) -> UserError:
        return UserError(f"{self.where}: {what}. Fetch the file again; if it stays so, its converter has written a broken header.")

    def not_a(self, what: str, remedy: str) -> UserError:
        return UserError(f"{self.where} is not {what} {self.architecture or 'missing'}. {remedy}.")

    def _whole(self, key: str, value: object) -> int:
        if isinstance(value, Mapping):
            raise self.damaged(f"{self.architecture}.{key} was left out of the header that was read, being too long")
        if not isinstance(value, (bool, int)) or not 0 <= value < 2**40:
            raise self.damaged(f"{self.architecture}.{key} is {value!r}, which is no size")
        return int(value)


def header(given: object, where: str) -> ModelHeader:
    """What gguf_info returns, as a typed value."""
    if not isinstance(given, Mapping):
        raise UserError(f"{where} is {_kind(given)}. Give what gguf_info returns for the file.")
    tensors = given.get("tensors")
    if not isinstance(tensors, Mapping) or not tensors:
        raise UserError(f"{where} names no tensors, so its size in memory can't be told. Give the whole result of gguf_info.")
    sizes: dict[str, int] = {}
    for name, size in tensors.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise UserError(f"{where}.tensors.{name} is {size!r}, which is no number of bytes. Give the whole result of gguf_info.")
        sizes[str(name)] = size
    metadata = given.get("metadata")
    if not isinstance(metadata, Mapping):
        raise UserError(f"{where} has no metadata. Give the whole result of gguf_info.")
    architecture = given.get("architecture") or metadata.get("general.architecture")
    return ModelHeader(where, str(architecture) if architecture else None, metadata, sizes, _path(given.get("files")))


def _path(files: object) -> str | None:
    first = files[0] if isinstance(files, (list, tuple)) and files else None
    return str(first["path"]) if isinstance(first, Mapping) and first.get("path") else None


def _kind(value: object) -> str:
    return "empty" if value in (None, "") else f"{type(value).__name__} {str(value)[:60]!r}"
