# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CDI specifications: which devices there are for containers, and what each of them brings.

They are JSON, or YAML as Go's library writes it, in blocks. Not every host has a YAML reader for Python, so this reads as much as that.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NVIDIA_GPU = "nvidia.com/gpu"
DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
"""In which engines look for them. A device of a later directory hides that of an earlier one."""
SPEC = "/var/run/cdi/nvidia.yaml"
"""Where NVIDIA's own units write that of the GPUs."""

_SUFFIXES = (".json", ".yaml")

_DRIVER_LIBRARY = re.compile(r"/lib(?:cuda|nvidia-ml)\.so\.(\d+\.\d+(?:\.\d+)?)$")
_DRIVER_ARGUMENT = re.compile(r"--host-driver-version=(\d+\.\d+(?:\.\d+)?)$")
_KEY = re.compile(r"""(?P<key>"[^"]*"|'[^']*'|[^\s"'\[\]{}#&*!|>%@`-][^:#]*?)\s*:(?:\s+(?P<value>\S.*))?$""")


class CdiUnreadableError(Exception):
    """This is no CDI specification, or it is written in a way that is not read here."""


@dataclass(frozen=True)
class CdiSpec:
    path: str
    kind: str
    devices: Mapping[str, tuple[str, ...]]
    """By name, the device nodes and files of the host that each brings."""
    shared: tuple[str, ...] = ()
    """What every device brings: the device nodes and files of the driver."""
    driver_version: str | None = None

    @property
    def names(self) -> list[str]:
        """As containers ask for them."""
        return [f"{self.kind}={name}" for name in self.devices]

    @property
    def paths(self) -> list[str]:
        """Everything that has to be on the host."""
        return list(dict.fromkeys([*self.shared, *(path for paths in self.devices.values() for path in paths)]))


def parse_spec(path: str, text: str) -> CdiSpec:
    try:
        data = json.loads(text) if text.lstrip().startswith("{") else _block(text)
    except ValueError as error:
        raise CdiUnreadableError(str(error)) from error
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise CdiUnreadableError("it has no kind")
    edits = data.get("containerEdits")
    devices = {str(device["name"]): _paths(device.get("containerEdits")) for device in _dicts(data.get("devices")) if "name" in device}
    return CdiSpec(path, data["kind"], devices, _paths(edits), _driver_version(edits))


def read_specs(directories: Iterable[str], root: Path = Path("/")) -> tuple[list[CdiSpec], dict[str, str]]:
    """The specifications that engines read, in their order, and why others cannot be read, by path; ``root`` stands for /."""
    specs, unreadable = [], {}
    for directory in directories:
        for file in sorted((root / directory.lstrip("/")).glob("*")):
            if file.suffix not in _SUFFIXES or file.is_dir():
                continue
            path = f"{directory}/{file.name}"
            try:
                specs.append(parse_spec(path, file.read_text(encoding="utf-8", errors="replace")))
            except (OSError, CdiUnreadableError) as error:
                unreadable[path] = str(error)
    return specs, unreadable


def generate(path: str = SPEC) -> str:
    """The command by which a specification of the GPUs is written."""
    return f"nvidia-ctk cdi generate --output={path}"


def device_paths(specs: Iterable[CdiSpec], name: str) -> list[str]:
    """What a device brings into a container, such as `nvidia.com/gpu=0`; nothing where no specification has it."""
    kind, _equals, device = name.partition("=")
    having = [spec for spec in specs if spec.kind == kind and device in spec.devices]
    return [*having[-1].shared, *having[-1].devices[device]] if having else []


def _paths(edits: Any) -> tuple[str, ...]:
    if not isinstance(edits, dict):
        return ()
    nodes = [node.get("hostPath") or node.get("path") for node in _dicts(edits.get("deviceNodes"))]
    return tuple(str(path) for path in [*nodes, *(mount.get("hostPath") for mount in _dicts(edits.get("mounts")))] if path)


def _driver_version(edits: Any) -> str | None:
    if not isinstance(edits, dict):
        return None
    arguments = [str(word) for hook in _dicts(edits.get("hooks")) for word in hook.get("args") or ()]
    files = [str(mount.get("hostPath", "")) for mount in _dicts(edits.get("mounts"))]
    found = [
        match[1]
        for pattern, texts in ((_DRIVER_LIBRARY, files), (_DRIVER_ARGUMENT, arguments))
        for match in map(pattern.search, texts)
        if match
    ]
    return found[0] if found else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# -- blocks of YAML --------------------------------------------------------------------------------------------------------


class _Lines:
    def __init__(self, text: str) -> None:
        stripped = [line.rstrip() for line in text.splitlines()]
        kept = [line for line in stripped if line.strip() and not line.lstrip().startswith("#") and line != "---"]
        self._lines = [(len(line) - len(line.lstrip(" ")), line.strip()) for line in kept]
        self._lines.reverse()

    def peek(self) -> tuple[int, str] | None:
        return self._lines[-1] if self._lines else None

    def take(self) -> tuple[int, str]:
        return self._lines.pop()

    def put(self, indent: int, text: str) -> None:
        self._lines.append((indent, text))


def _block(text: str) -> Any:
    lines = _Lines(text)
    first = lines.peek()
    value = _value(lines, first[0]) if first else None
    if rest := lines.peek():
        raise CdiUnreadableError(f"`{rest[1]}` is not read here")
    return value


def _value(lines: _Lines, indent: int) -> Any:
    first = lines.peek()
    if first is not None and _is_item(first[1]):
        return _sequence(lines, indent)
    return _mapping(lines, indent)


def _sequence(lines: _Lines, indent: int) -> list[Any]:
    items: list[Any] = []
    while (line := lines.peek()) and line[0] == indent and _is_item(line[1]):
        _indent, text = lines.take()
        inner = text[1:].lstrip()
        if not inner:
            items.append(_below(lines, indent))
        elif _KEY.match(inner):
            deeper = indent + len(text) - len(inner)
            lines.put(deeper, inner)
            items.append(_mapping(lines, deeper))
        else:
            items.append(_scalar(inner))
    return items


def _mapping(lines: _Lines, indent: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while (line := lines.peek()) and line[0] == indent:
        match = _KEY.match(line[1])
        if not match:
            raise CdiUnreadableError(f"`{line[1]}` is not read here")
        lines.take()
        key = str(_scalar(match["key"]))
        found[key] = _scalar(match["value"]) if match["value"] else _below(lines, indent)
    return found


def _below(lines: _Lines, indent: int) -> Any:
    """What belongs to a key or a dash: deeper lines, or a list that stands as deep as its key."""
    line = lines.peek()
    if line is None or line[0] < indent:
        return None
    if line[0] > indent:
        return _value(lines, line[0])
    return _sequence(lines, indent) if _is_item(line[1]) else None


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _scalar(text: str) -> Any:
    """Text: nothing that is asked of a specification is a number. Lists and mappings in one line stay text, and so tell nothing."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text[0] in "|>&*!%@`":
        raise CdiUnreadableError(f"`{text}` is not read here")
    return text.partition(" #")[0].rstrip()
