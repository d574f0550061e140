#!/usr/bin/python3 -IS
# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nvidia-ctk of a simulated GPU host: writes CDI specifications for the driver that is loaded and the GPUs that it runs."""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

VERSION = "@VERSION@"
PROC = Path("/proc/driver/nvidia")
SPEC_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
DAEMON_JSON = "/etc/docker/daemon.json"
OUTPUT_VARIABLE = "NVIDIA_CTK_CDI_OUTPUT_FILE_PATH"
HOOK = "/usr/bin/nvidia-cdi-hook"
_READ_ONLY = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
_UNIX = ["ro", "nosuid", "nodev", "rbind", "rprivate", "noexec"]
# No YAML reader is on every host, and the names are all that is asked for.
_KIND = re.compile(r"^kind: (\S+)$", re.MULTILINE)
_DEVICE = re.compile(r"^ {4}- name: \"?([^\"\n]+)\"?$", re.MULTILINE)

Spec = dict[str, t.Any]


def log(level: str, message: str) -> None:
    print(f'time="2026-01-01T00:00:00Z" level={level} msg="{message}"', file=sys.stderr)


def fail(message: str) -> t.NoReturn:
    log("error", message)
    sys.exit(1)


# --- what is there


def driver_version() -> str:
    """As NVML says it: not at all while another version is loaded than that of the libraries."""
    asked = subprocess.run(
        ["/usr/bin/nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    if "version mismatch" in asked.stdout:
        fail("failed to generate CDI spec: failed to create device CDI specs: failed to initialize NVML: ERROR_LIB_RM_VERSION_MISMATCH")
    if asked.returncode:
        fail("failed to generate CDI spec: failed to create device CDI specs: failed to initialize NVML: ERROR_DRIVER_NOT_LOADED")
    return asked.stdout.splitlines()[0]


def gpus() -> list[tuple[str, str]]:
    """The minor number and the UUID of each."""
    found = []
    for path in sorted(PROC.glob("gpus/*/information")):
        values = dict(re.findall(r"^([^:]+):\s+(.*)$", path.read_text(), re.MULTILINE))
        if "?" not in values["GPU UUID"]:
            found.append((values["Device Minor"], values["GPU UUID"]))
    return found


def nodes(*paths: str) -> list[dict[str, str]]:
    return [{"path": path, "hostPath": path} if VERSION.startswith("1.17.") else {"path": path} for path in paths if os.path.exists(path)]


def mounts(version: str) -> list[Spec]:
    libraries = sorted(path for path in glob.glob(f"/usr/lib/*-linux-gnu/lib*.so.{version}"))
    found = [{"hostPath": path, "containerPath": path, "options": _READ_ONLY} for path in (*libraries, "/usr/bin/nvidia-smi")]
    socket = "/run/nvidia-persistenced/socket"
    if os.path.exists(socket):
        found.append({"hostPath": socket, "containerPath": socket, "options": _UNIX})
    return found


def hook(*arguments: str) -> Spec:
    return {
        "hookName": "createContainer",
        "path": HOOK,
        "args": ["nvidia-cdi-hook", *arguments],
        "env": ["NVIDIA_CTK_DEBUG=false"],
    }


def specification() -> Spec:
    version = driver_version()
    cards = gpus()
    names = [*((str(index), minor) for index, (minor, _uuid) in enumerate(cards)), *((uuid, minor) for minor, uuid in cards)]
    devices = [{"name": name, "containerEdits": {"deviceNodes": nodes(f"/dev/nvidia{minor}")}} for name, minor in names]
    devices.append({"name": "all", "containerEdits": {"deviceNodes": nodes(*(f"/dev/nvidia{minor}" for minor, _uuid in cards))}})
    directory = os.path.dirname(glob.glob(f"/usr/lib/*-linux-gnu/libcuda.so.{version}")[0])
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": sorted(devices, key=lambda device: str(device["name"])),
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void", f"NVIDIA_CTK_LIBCUDA_DIR={directory}"],
            "deviceNodes": nodes("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"),
            "hooks": [
                hook("create-symlinks", "--link", f"libcuda.so.1::{directory}/libcuda.so"),
                hook("enable-cuda-compat", f"--host-driver-version={version}"),
                hook("update-ldcache", "--folder", directory),
            ],
            "mounts": mounts(version),
        },
    }


# --- how it is written


def scalar(value: str) -> str:
    return f'"{value}"' if re.fullmatch(r"[\d.]+|true|false|null|yes|no", value) and value.count(".") < 2 else value


def yaml(value: t.Any, indent: int = 0) -> str:
    """Indented as Go's library does it: by four, counted from the list that a mapping stands in."""
    pad, below = " " * indent, (indent // 4 + 1) * 4
    if isinstance(value, dict):
        return "".join(
            f"{pad}{key}:\n{yaml(inner, below)}" if isinstance(inner, (dict, list)) else f"{pad}{key}: {scalar(inner)}\n"
            for key, inner in value.items()
        )
    return "".join(f"{pad}- {yaml(item, indent + 2).lstrip()}" if isinstance(item, dict) else f"{pad}- {scalar(item)}\n" for item in value)


def generate(options: dict[str, str]) -> None:
    output = options.get("output", "" if VERSION.startswith("1.17.") else os.environ.get(OUTPUT_VARIABLE, ""))
    style = options.get("format") or ("json" if output.endswith(".json") else "yaml")
    found = specification()
    text = json.dumps(found, separators=(",", ":")) if style == "json" else "---\n" + yaml(found)
    log("info", f"Generated CDI spec with version {found['cdiVersion']}")
    if not output:
        print(text, end="")
        return
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.chmod(0o644)
    partial.rename(path)


def list_devices() -> None:
    found: set[str] = set()
    for directory in SPEC_DIRECTORIES:
        for path in sorted(Path(directory).glob("*")):
            text = path.read_text()
            if path.suffix == ".json":
                spec = json.loads(text)
                found |= {f"{spec['kind']}={device['name']}" for device in spec["devices"]}
            elif path.suffix in (".yaml", ".yml") and (kind := _KIND.search(text)):
                found |= {f"{kind[1]}={name}" for name in _DEVICE.findall(text)}
    log("info", f"Found {len(found)} CDI devices")
    for name in sorted(found):
        print(name)


def configure(options: dict[str, str]) -> None:
    if options.get("runtime", "docker") != "docker":
        fail("the range simulates --runtime=docker alone")
    path = Path(options.get("config", DAEMON_JSON))
    config = json.loads(path.read_text()) if path.exists() else {}
    config.setdefault("runtimes", {})["nvidia"] = {"args": [], "path": "nvidia-container-runtime"}
    if "set-as-default" in options or "nvidia-set-as-default" in options:
        config["default-runtime"] = "nvidia"
    if "cdi.enabled" in options:
        config.setdefault("features", {})["cdi"] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=4))
    log("info", f"Wrote updated config to {path}")
    log("info", "It is recommended that docker daemon be restarted.")


def main(words: list[str]) -> None:
    plain = [word for word in words if not word.startswith("-")]
    options = dict(word.lstrip("-").partition("=")[::2] for word in words if word.startswith("-"))
    if "version" in options or "v" in options:
        print(f"NVIDIA Container Toolkit CLI version {VERSION}\ncommit: simulated")
    elif plain == ["cdi", "generate"]:
        generate(options)
    elif plain == ["cdi", "list"]:
        list_devices()
    elif plain == ["runtime", "configure"]:
        configure(options)
    else:
        fail(f"the range does not simulate nvidia-ctk {' '.join(words)}")


if __name__ == "__main__":
    main(sys.argv[1:])
