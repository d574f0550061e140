# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets vLLM's own code be imported where torch, transformers and all else that it brings along is not installed.

The argument parser is made from dataclasses, which lie in the same files as code that computes. What that code imports and what is not
there becomes a stub: a module of which every attribute is a class that can be called, inherited from, indexed and used in a type.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
import types
import typing
from collections.abc import Sequence

_PARTS = ("vllm._C", "vllm._moe_C", "vllm.vllm_flash_attn", "vllm.third_party", "vllm.ir", "vllm.env_override")


class _Anything(type):
    """The class of the stubs."""

    def __getattr__(cls, name: str) -> typing.Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(cls, name, _stub(name, cls.__module__))
        return cls.__dict__[name]

    def __call__(cls, *arguments: typing.Any, **keywords: typing.Any) -> typing.Any:
        if len(arguments) == 1 and not keywords and callable(arguments[0]):
            return arguments[0]  # used as a decorator
        return super().__call__(*arguments, **keywords)

    def __getitem__(cls, item: object) -> typing.Any:
        return cls

    def __or__(cls, other: typing.Any) -> typing.Any:
        return typing.Union[cls, other]  # noqa: UP007 - the operator is this method

    def __ror__(cls, other: typing.Any) -> typing.Any:
        return typing.Union[other, cls]  # noqa: UP007

    def __iter__(cls) -> typing.Iterator[object]:
        return iter(())

    def __str__(cls) -> str:
        return "stub"


class _Stub(metaclass=_Anything):
    def __init__(self, *arguments: object, **keywords: object) -> None:
        pass

    def __init_subclass__(cls, **keywords: object) -> None:
        pass

    @classmethod
    def __get_pydantic_core_schema__(cls, *arguments: object) -> object:
        from pydantic_core import core_schema

        return core_schema.any_schema()

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(type(self), name)

    def __call__(self, *arguments: typing.Any, **keywords: typing.Any) -> typing.Any:
        return type(self)(*arguments, **keywords)

    def __enter__(self) -> typing.Any:
        return self

    def __exit__(self, *arguments: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Stub)

    def __hash__(self) -> int:
        return 0


def _stub(name: str, module: str) -> type:
    return _Anything(name, (_Stub,), {"__module__": module})


class _Module(types.ModuleType):
    __version__ = "999.0.0"

    def __getattr__(self, name: str) -> typing.Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, _stub(name, self.__name__))
        return self.__dict__[name]


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if self.wanted(name) else None

    def wanted(self, name: str) -> bool:
        """Parts of vLLM that only compute."""
        return any(name == part or name.startswith(f"{part}.") for part in _PARTS)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Missing(_Finder):
    """Comes last, so that it is asked only for what nobody else finds."""

    def __init__(self) -> None:
        self.packages: set[str] = set()

    def wanted(self, name: str) -> bool:
        package = name.partition(".")[0]
        if name == package and name != "vllm" and name not in sys.stdlib_module_names:
            self.packages.add(package)
        return package in self.packages


def _version(package: str) -> str:
    try:
        return _installed(package)
    except importlib.metadata.PackageNotFoundError:
        return _Module.__version__


_installed = importlib.metadata.version


def install() -> None:
    importlib.metadata.version = _version
    sys.meta_path.insert(0, _Finder())
    sys.meta_path.append(_Missing())
