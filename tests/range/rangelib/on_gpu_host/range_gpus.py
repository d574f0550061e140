#!/usr/bin/python3 -IS
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware of a simulated GPU host: cards on the PCI bus, and a kernel that loads NVIDIA's module.

Run by range-gpus.service and modprobe. What is plugged in is in /etc/range-gpus/gpus.json. What is loaded is in /run alone, so it is gone
after a boot, like a kernel module.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

CARDS = Path("/etc/range-gpus/gpus.json")
RUN = Path("/run/range-gpus")
BUS = RUN / "bus"
PROC = RUN / "proc"
MODULES = RUN / "module"
LOADED = PROC / "nvidia"

Card = dict[str, t.Any]

_BANNERS = {
    "open": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U22-I3-B17-02-5)  "
    "Tue Sep 23 09:55:41 UTC 2025",
    "proprietary": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Mon Dec  8 11:22:45 UTC 2025",
}
_COMPILER = "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04.2)"
_PARAMETERS = "ModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 438\n"
_UNKNOWN_UUID = "GPU-????????-????-????-????-????????????"
_MAJOR, _CONTROL = 195, 255


def run(*argv: str) -> str:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def cards() -> list[Card]:
    found: list[Card] = json.loads(CARDS.read_text())["cards"]
    return found


# --- the bus


def plug() -> None:
    for directory in (BUS, PROC, MODULES):
        directory.mkdir(parents=True, exist_ok=True)
    for card in cards():
        subsystem = card["subdevice"]
        function(card["address"], card["device"], subsystem, "0x030000" if card["display"] else "0x030200")
        if card["display"]:
            function(card["address"].replace(".0", ".1"), "22e8", subsystem, "0x040300")
    if not Path("/sys/module").is_dir():
        run("mount", "-o", "remount,rw", "/sys")
        Path("/sys/module").mkdir()
        run("mount", "-o", "remount,ro", "/sys")
    for source, target in ((BUS, "/sys/bus/pci/devices"), (PROC, "/proc/driver"), (MODULES, "/sys/module")):
        run("mount", "--bind", str(source), target)


def function(address: str, device: str, subsystem: str, class_: str) -> None:
    values = {
        "vendor": "0x10de",
        "device": f"0x{device}",
        "class": class_,
        "subsystem_vendor": "0x10de",
        "subsystem_device": f"0x{subsystem}",
    }
    for name, value in values.items():
        write(BUS / address / name, f"{value}\n")


def unplug() -> None:
    for target in ("/proc/devices", "/sys/module", "/proc/driver", "/sys/bus/pci/devices"):
        while subprocess.run(["umount", target], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            pass
    for node in Path("/dev").glob("nvidia*"):
        node.unlink()
    shutil.rmtree(RUN, ignore_errors=True)


# --- the kernel


def modinfo(field: str) -> str:
    asked = subprocess.run(["modinfo", "-F", field, "nvidia"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return asked.stdout.strip()


def load() -> None:
    if LOADED.exists():
        return
    version = modinfo("version")
    if not version:
        sys.exit(f"modprobe: FATAL: Module nvidia not found in directory /lib/modules/{os.uname().release}")
    if modinfo("vermagic").split()[0] != os.uname().release:
        sys.exit("modprobe: ERROR: could not insert 'nvidia': Exec format error")
    flavour = "proprietary" if modinfo("license") == "NVIDIA" else "open"
    taken = [card for card in cards() if is_taken(card, version, flavour)]
    if not taken:
        print("NVRM: None of the NVIDIA devices were initialized.", file=sys.stderr)
        sys.exit("modprobe: ERROR: could not insert 'nvidia': No such device")
    nodes(len(taken))
    for card in taken:
        driver = BUS / card["address"] / "driver"
        driver.unlink(missing_ok=True)
        driver.symlink_to("../../../../bus/pci/drivers/nvidia")
    write(MODULES / "nvidia/version", f"{version}\n")
    describe(taken, version, flavour)


def is_taken(card: Card, version: str, flavour: str) -> bool:
    """The open modules leave a GPU without a GSP alone, newer branches those that they no longer know."""
    if flavour == "open" and "open" not in card["flavours"]:
        print(
            f"NVRM: The NVIDIA GPU {card['address']} (PCI ID: 10de:{card['device']}) is not supported by open nvidia.ko because it does "
            "not include the required GPU System Processor (GSP).",
            file=sys.stderr,
        )
        return False
    return card["last_branch"] is None or int(version.partition(".")[0]) <= card["last_branch"]


def describe(taken: list[Card], version: str, flavour: str) -> None:
    """/proc/driver/nvidia, all at once. The proprietary modules take a Blackwell GPU and cannot start it: its UUID stays unknown."""
    partial = PROC / "nvidia.partial"
    write(partial / "version", f"{_BANNERS[flavour].format(version)}\n{_COMPILER}\n")
    write(partial / "params", _PARAMETERS)
    for minor, card in enumerate(taken):
        starts = flavour in card["flavours"]
        if not starts:
            print(f"NVRM: GPU {card['address']}: requires use of the NVIDIA open kernel modules.", file=sys.stderr)
        values = {
            "Model": card["name"],
            "IRQ": str(64 + minor),
            "GPU UUID": card["uuid"] if starts else _UNKNOWN_UUID,
            "Video BIOS": "??.??.??.??.??",
            "Bus Type": "PCIe",
            "DMA Size": "47 bits",
            "DMA Mask": "0x7fffffffffff",
            "Bus Location": card["address"],
            "Device Minor": str(minor),
            "GPU Firmware": version if flavour == "open" else "N/A",
            "GPU Excluded": "No",
        }
        write(partial / "gpus" / card["address"] / "information", "".join(f"{name}: \t {value}\n" for name, value in values.items()))
    partial.rename(LOADED)


def nodes(count: int) -> None:
    """Device nodes with nothing behind them: opening one that is allowed is ENXIO, one that is forbidden EPERM."""
    devices = Path("/proc/devices").read_text()
    used = {int(words[0]) for words in map(str.split, devices.splitlines()) if words and words[0].isdecimal()}
    major = _MAJOR if _MAJOR not in used else free(used)
    uvm = free(used | {major})
    for name, number in {
        **{f"nvidia{minor}": (major, minor) for minor in range(count)},
        "nvidiactl": (major, _CONTROL),
        "nvidia-uvm": (uvm, 0),
        "nvidia-uvm-tools": (uvm, 1),
    }.items():
        node = Path("/dev", name)
        node.unlink(missing_ok=True)
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(*number))
        node.chmod(0o666)
    listed = f"Character devices:\n{major} nvidia\n{major} nvidiactl\n{uvm} nvidia-uvm\n"
    write(RUN / "devices", devices.replace("Character devices:\n", listed, 1))
    run("mount", "--bind", str(RUN / "devices"), "/proc/devices")


def free(used: t.Collection[int]) -> int:
    return next(number for number in range(511, 384, -1) if number not in used)


if __name__ == "__main__":
    {"plug": plug, "unplug": unplug, "load": load}[sys.argv[1]]()
