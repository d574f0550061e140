#!/usr/bin/python3 -IS
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nvidia-smi of a simulated GPU host: answers as recorded, from the driver that is loaded, the library that is installed, and the cards.

A GPU is lost where a line of /run/range-gpus/lost is its PCI address. What uses GPUs comes from the lines of /run/range-gpus/compute-apps,
`UUID, PID, MIB`, and from the running programs that /etc/range-gpus/gpus.json names: each holds memory on the GPUs in its
CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
import typing as t

VERSION = "@VERSION@"
CUDA = "@CUDA@"
CARDS = "/etc/range-gpus/gpus.json"
LOST = "/run/range-gpus/lost"
COMPUTE_APPS = "/run/range-gpus/compute-apps"
PROC = "/proc/driver/nvidia"

Card = dict[str, t.Any]
Rows = list[dict[str, str]]


class App(t.NamedTuple):
    uuid: str
    pid: str
    mib: str


GPU_FIELDS: dict[str, t.Callable[[Card], str]] = {
    "index": lambda card: str(card["index"]),
    "uuid": lambda card: str(card["uuid"]),
    "pci.bus_id": lambda card: bus_id(card),
    "compute_cap": lambda card: str(card["compute_capability"]),
    "memory.total": lambda card: f"{card['memory_mib']} MiB",
    "memory.used": lambda card: f"{used(card)} MiB",
    "memory.free": lambda card: f"{card['memory_mib'] - used(card)} MiB",
    "driver_version": lambda _card: loaded() or "",
    "mig.mode.current": lambda _card: "[N/A]",
    "name": lambda card: str(card["name"]),
    "count": lambda _card: str(len(working())),
    "persistence_mode": lambda _card: "Enabled",
    "temperature.gpu": lambda _card: "38",
    "utilization.gpu": lambda _card: "0 %",
}
GPU_FIELDS["gpu_uuid"] = GPU_FIELDS["uuid"]
GPU_FIELDS["gpu_bus_id"] = GPU_FIELDS["pci.bus_id"]
GPU_FIELDS["gpu_name"] = GPU_FIELDS["name"]

APP_FIELDS: dict[str, t.Callable[[App, Card], str]] = {
    "gpu_uuid": lambda app, _card: app.uuid,
    "gpu_bus_id": lambda _app, card: bus_id(card),
    "gpu_name": lambda _app, card: str(card["name"]),
    "pid": lambda app, _card: app.pid,
    "process_name": lambda app, _card: link(f"/proc/{app.pid}/exe") or "[Not Found]",
    "used_gpu_memory": lambda app, _card: f"{app.mib} MiB",
}
APP_FIELDS["used_memory"] = APP_FIELDS["used_gpu_memory"]
_UNITS = {"MiB": "MiB", "%": "%"}


def fail(text: str, status: int) -> t.NoReturn:
    print(text)
    sys.exit(status)


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def bus_id(card: Card) -> str:
    return f"0000{card['address'].upper()}"


# --- the driver


def loaded() -> str | None:
    match = re.search(r"(\d+\.\d+(?:\.\d+)?)  ", read(f"{PROC}/version"))
    return match[1] if match else None


def library() -> str | None:
    for path in glob.glob("/usr/lib/*-linux-gnu/libnvidia-ml.so.1"):
        return os.path.basename(os.path.realpath(path)).partition(".so.")[2]
    return None


def short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def initialise() -> None:
    """As the first call of NVML does: nothing works unless the library finds a driver of its own version."""
    installed = library()
    if installed is None:
        fail("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", 12)
    if loaded() is None:
        fail(
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
            "Make sure that the latest NVIDIA driver is installed and running.\n",
            9,
        )
    if loaded() != installed:
        fail(f"Failed to initialize NVML: Driver/library version mismatch\nNVML library version: {short(installed)}", 18)


# --- the cards


def hardware() -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(read(CARDS))
    return found


def working() -> list[Card]:
    """The cards that the driver could start, as it counts them."""
    started = []
    for card in hardware()["cards"]:
        if card["uuid"] in read(f"{PROC}/gpus/{card['address']}/information"):
            started.append(card)
    return [{**card, "index": index} for index, card in enumerate(started)]


def lost() -> set[str]:
    return set(read(LOST).split())


def chosen(selection: str | None) -> list[Card]:
    found = working()
    if selection is not None:
        wanted = selection.split(",")
        found = [card for card in found if not {str(card["index"]), card["uuid"], bus_id(card), card["address"]}.isdisjoint(wanted)]
    if not found:
        fail("No devices were found", 6)
    return found


def healthy(cards: list[Card]) -> list[Card]:
    return [card for card in cards if card["address"] not in lost()]


def end(cards: list[Card]) -> t.NoReturn:
    """After the good GPUs come the complaints about the lost ones."""
    missing = [card for card in cards if card["address"] in lost()]
    for card in missing:
        print(f"Unable to determine the device handle for GPU{card['address'].upper()}: Unknown Error")
    sys.exit(15 if missing else 0)


# --- what uses them


def apps() -> list[App]:
    found = [App(*(word.strip() for word in line.split(","))) for line in read(COMPUTE_APPS).splitlines() if line.count(",") == 2]
    programs = hardware().get("programs", {})
    for directory in glob.glob("/proc/[0-9]*") if programs else ():
        mib = programs.get(read(f"{directory}/comm").strip())
        if mib:
            found += [App(uuid, os.path.basename(directory), str(mib)) for uuid in visible(read(f"{directory}/environ"))]
    return sorted(found, key=lambda app: int(app.pid))


def visible(environment: str) -> list[str]:
    """The GPUs that CUDA shows to a process: by number or UUID, up to the first that there is not; all where nothing is said."""
    cards = healthy(working())
    values = dict(line.partition("=")[::2] for line in environment.split("\0"))
    if "CUDA_VISIBLE_DEVICES" not in values:
        return [card["uuid"] for card in cards]
    found: list[str] = []
    for word in values["CUDA_VISIBLE_DEVICES"].split(","):
        match = [card["uuid"] for card in cards if word.strip() and (word == str(card["index"]) or card["uuid"].startswith(word))]
        if not match:
            break
        found.append(match[0])
    return found


def used(card: Card) -> int:
    return 1 + sum(int(app.mib) for app in apps() if app.uuid == card["uuid"])


# --- answers


def table(fields: list[str], rows: list[list[str]], style: str) -> None:
    options = style.split(",")
    units = {}
    for row in rows:
        for position, value in enumerate(row):
            number, _space, unit = value.partition(" ")
            if unit in _UNITS and number.isdecimal():
                units[position] = unit
    if "noheader" not in options:
        plain = "nounits" not in options
        print(", ".join(f"{field} [{units[position]}]" if plain and position in units else field for position, field in enumerate(fields)))
    for row in rows:
        bare = "nounits" in options
        print(", ".join(value.partition(" ")[0] if bare and position in units else value for position, value in enumerate(row)))


def checked(fields: list[str], known: t.Collection[str]) -> None:
    for field in fields:
        if field not in known:
            fail(f'Field "{field}" is not a valid field to query.\n', 2)


def query_gpu(fields: list[str], style: str, selection: str | None) -> t.NoReturn:
    checked(fields, GPU_FIELDS)
    initialise()
    cards = chosen(selection)
    table(fields, [[GPU_FIELDS[field](card) for field in fields] for card in healthy(cards)], style)
    end(cards)


def query_apps(fields: list[str], style: str, selection: str | None) -> t.NoReturn:
    checked(fields, APP_FIELDS)
    initialise()
    cards = chosen(selection)
    by_uuid = {card["uuid"]: card for card in healthy(cards)}
    rows = [[APP_FIELDS[field](app, by_uuid[app.uuid]) for field in fields] for app in apps() if app.uuid in by_uuid]
    table(fields, rows, style)
    end(cards)


def list_gpus(selection: str | None) -> t.NoReturn:
    initialise()
    cards = chosen(selection)
    for card in healthy(cards):
        print(f"GPU {card['index']}: {card['name']} (UUID: {card['uuid']})")
    end(cards)


def versions() -> t.NoReturn:
    if loaded() is not None:
        initialise()
    running = loaded() or "N/A"
    cuda = CUDA if loaded() else "N/A"
    print(f"NVIDIA-SMI version  : {VERSION}\nNVML version        : {short(VERSION)}")
    if int(VERSION.partition(".")[0]) < 610:
        print(f"DRIVER version      : {running}\nCUDA Version        : {cuda}")
    else:
        print(
            'DRIVER version      : Deprecated, see "KMD version" instead\nCUDA version        : Deprecated, see "CUDA UMD version" instead'
        )
        print(f"KMD version         : {running}\nCUDA UMD version    : {cuda}")
    sys.exit(0)


def summary(selection: str | None) -> t.NoReturn:
    initialise()
    cards = chosen(selection)
    print(f"| NVIDIA-SMI {VERSION}    Driver Version: {loaded()}    CUDA Version: {CUDA} |")
    for card in healthy(cards):
        print(f"| {card['index']}  {card['name']}  {bus_id(card)}  {used(card)}MiB / {card['memory_mib']}MiB |")
    end(cards)


def main(arguments: list[str]) -> t.NoReturn:
    asked: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("-i", "--id"):
            asked["id"] = value if equals else next(words, "")
        elif name in ("--query-gpu", "--query-compute-apps", "--format") and equals:
            asked[name] = value
        elif word in ("-L", "--list-gpus", "--version"):
            asked["-L" if word == "--list-gpus" else word] = ""
        else:
            fail("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n", 2)
    selection = asked.get("id")
    for name, query in (("--query-gpu", query_gpu), ("--query-compute-apps", query_apps)):
        if name in asked:
            if not asked.get("--format", "").startswith("csv"):
                fail("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n", 2)
            query([field.strip() for field in asked[name].split(",")], asked["--format"], selection)
    if "--version" in asked:
        versions()
    if "-L" in asked:
        list_gpus(selection)
    summary(selection)


if __name__ == "__main__":
    main(sys.argv[1:])
