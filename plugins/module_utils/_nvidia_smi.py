# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nvidia-smi says: its answers to a query, its ways to fail, and what stands for "no answer" in them.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.baremetal.llm.plugins.module_utils._command import TIMED_OUT
from ansible_collections.baremetal.llm.plugins.module_utils._pci_gpus import find_address

# One query for all. Not `cuda_version`, which is no field and makes the whole query fail.
FIELDS = ("index", "uuid", "pci.bus_id", "compute_cap", "memory.total", "driver_version", "mig.mode.current", "name")
LIST = ("-L",)
APPS = ("--query-compute-apps=gpu_uuid,pid,used_gpu_memory", "--format=csv,noheader,nounits")
VERSION = ("--version",)


class Trouble(enum.Enum):
    """Why nvidia-smi has no answer, or none for one GPU."""

    MISMATCH = enum.auto()
    NOT_LOADED = enum.auto()
    NO_DEVICES = enum.auto()
    LOST = enum.auto()
    NEEDS_RESET = enum.auto()
    NO_PERMISSION = enum.auto()
    HANGS = enum.auto()
    OTHER = enum.auto()


# nvidia-smi's own words, in the order in which they are looked for: a handle may be missing because the GPU has to be reset.
_WORDS = (
    ("driver/library version mismatch", Trouble.MISMATCH),
    ("couldn't communicate with the nvidia driver", Trouble.NOT_LOADED),
    ("driver not loaded", Trouble.NOT_LOADED),
    ("no devices were found", Trouble.NO_DEVICES),
    ("gpu requires reset", Trouble.NEEDS_RESET),
    ("insufficient permissions", Trouble.NO_PERMISSION),
    ("gpu is lost", Trouble.LOST),
    ("fallen off the bus", Trouble.LOST),
    ("unable to determine the device handle", Trouble.LOST),
)
# Its exit status is that of the NVML call that failed.
_STATUS = {
    4: Trouble.NO_PERMISSION,
    6: Trouble.NO_DEVICES,
    9: Trouble.NOT_LOADED,
    15: Trouble.LOST,
    16: Trouble.NEEDS_RESET,
    18: Trouble.MISMATCH,
    TIMED_OUT: Trouble.HANGS,
}
_NO_ANSWER = re.compile(r"\[.*\]|N/A|ERR!|Unknown Error|Not Supported|")
_ROW_TROUBLE = {"[gpu is lost]": Trouble.LOST, "[gpu requires reset]": Trouble.NEEDS_RESET}
_INVALID_FIELD = re.compile(r'Field "([^"]+)" is not a valid field to query')
_LIBRARY = re.compile(r"NVML library version:\s*([\d.]+)")
_GPU_LINE = re.compile(r"GPU \d+: (.*) \(UUID: (GPU-[^)]+)\)")
_MIG_LINE = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")


@dataclass(frozen=True)
class Row:
    """One GPU as nvidia-smi sees it; what it could not tell is None."""

    index: int | None = None
    uuid: str | None = None
    address: str | None = None
    name: str | None = None
    compute_capability: str | None = None
    memory_mib: int | None = None
    driver_version: str | None = None
    mig: bool = False
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a query: rows, or the trouble with it. ``address`` is the GPU in trouble where nvidia-smi names it."""

    rows: tuple[Row, ...] = ()
    trouble: Trouble | None = None
    address: str | None = None
    library_version: str | None = None
    said: str = ""


class MigDevice(NamedTuple):
    uuid: str
    profile: str


class App(NamedTuple):
    """A process that computes on a GPU. Of a MIG device, nvidia-smi names the GPU that it is a part of, or the device itself."""

    gpu: str
    pid: int
    memory_mib: int | None
    """None where nvidia-smi may not tell, or cannot."""


@dataclass(frozen=True)
class Apps:
    """Which processes compute on GPUs, and why nvidia-smi cannot tell it of all GPUs: one that is lost spoils no other."""

    found: tuple[App, ...] = ()
    failure: str = ""


class Versions(NamedTuple):
    """``nvidia-smi --version``: of the tools that are installed, and of the driver that runs."""

    tools: str | None = None
    driver: str | None = None


def query(fields: Sequence[str] = FIELDS) -> tuple[str, ...]:
    return f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"


def invalid_field(output: str) -> str | None:
    """The field that this nvidia-smi does not know; one such field spoils the whole query. 470 lacks `compute_cap`."""
    match = _INVALID_FIELD.search(output)
    return match[1] if match else None


def parse_answer(rc: int, stdout: str, stderr: str = "", fields: Sequence[str] = FIELDS) -> Answer:
    rows = parse_rows(stdout, fields)
    if rc == 0 and rows:
        return Answer(rows=rows)
    output = "\n".join(filter(None, (stdout.strip(), stderr.strip())))
    library = _LIBRARY.search(output)
    first_line = output.partition("\n")[0].strip() or "nothing"
    return Answer(
        rows=rows,
        trouble=_trouble(rc, output),
        address=_named_gpu(output, fields),
        library_version=library[1] if library else None,
        said=f"{first_line} (rc {rc})",
    )


def _trouble(rc: int, output: str) -> Trouble:
    lowered = output.lower()
    for words, trouble in _WORDS:
        if words in lowered:
            return trouble
    return _STATUS.get(rc, Trouble.OTHER)


def _named_gpu(output: str, fields: Sequence[str]) -> str | None:
    return find_address("\n".join(line for line in output.splitlines() if _split(line, fields) is None))


def _split(line: str, fields: Sequence[str]) -> dict[str, str] | None:
    values = [value.strip() for value in line.split(",")]
    return dict(zip(fields, values, strict=True)) if len(values) == len(fields) and len(fields) > 1 else None


def parse_rows(stdout: str, fields: Sequence[str] = FIELDS) -> tuple[Row, ...]:
    """The rows of a csv answer, with or without units; lines of another shape are messages."""
    return tuple(_row(values) for line in stdout.splitlines() if (values := _split(line, fields)))


def _row(values: dict[str, str]) -> Row:
    trouble = next((_ROW_TROUBLE[value.lower()] for value in values.values() if value.lower() in _ROW_TROUBLE), None)
    answered = {field: value for field, value in values.items() if not _NO_ANSWER.fullmatch(value)}
    index = answered.get("index", "")
    memory = re.match(r"\d+", answered.get("memory.total", ""))
    return Row(
        index=int(index) if index.isdecimal() else None,
        uuid=answered.get("uuid"),
        address=find_address(answered.get("pci.bus_id", "")),
        name=answered.get("name"),
        compute_capability=answered.get("compute_cap"),
        memory_mib=int(memory[0]) if memory else None,
        driver_version=answered.get("driver_version"),
        mig=answered.get("mig.mode.current") == "Enabled",
        trouble=trouble,
    )


def parse_mig(listing: str) -> dict[str, list[MigDevice]]:
    """The MIG devices of each GPU, by the GPU's UUID, from ``nvidia-smi -L``: nothing else shows them."""
    found: dict[str, list[MigDevice]] = {}
    devices: list[MigDevice] = []
    for line in listing.splitlines():
        if gpu := _GPU_LINE.match(line):
            devices = found.setdefault(gpu[2], [])
        elif mig := _MIG_LINE.match(line):
            devices.append(MigDevice(uuid=mig[2], profile=mig[1]))
    return found


def parse_names(listing: str) -> dict[str, str]:
    """The names of GPUs by their UUIDs, from ``nvidia-smi -L``."""
    return {gpu[2]: gpu[1] for line in listing.splitlines() if (gpu := _GPU_LINE.match(line))}


def parse_apps(rc: int, stdout: str, stderr: str = "") -> Apps:
    """From the answer to :data:`APPS`, which has no line where nothing computes."""
    found, rest = [], []
    for line in stdout.splitlines():
        row = [value.strip() for value in line.split(",")]
        if len(row) == 3 and row[1].isdecimal():
            found.append(App(row[0], int(row[1]), int(row[2]) if row[2].isdecimal() else None))
        elif line.strip():
            rest.append(line.strip())
    said = [*rest, *stderr.strip().splitlines(), "it says nothing"][0]
    return Apps(tuple(found), f"{said} (rc {rc})" if rc != 0 else "")


def parse_versions(output: str) -> Versions:
    """From the output of ``nvidia-smi --version``; from driver 610 on, the one that runs is called KMD."""
    lines = (line.partition(":") for line in output.splitlines())
    values = {name.strip().lower(): value.strip() for name, _colon, value in lines}
    running = (values.get(name, "") for name in ("kmd version", "driver version"))
    return Versions(
        tools=_version(values.get("nvidia-smi version", "")),
        driver=next((version for value in running if (version := _version(value))), None),
    )


def _version(value: str) -> str | None:
    return value if re.fullmatch(r"\d+(\.\d+)+", value) else None
