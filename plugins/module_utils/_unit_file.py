# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The systemd unit of a service, as text: quoting, sections, sandbox, and the digest that tells one configuration from another.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils import _gpu_access as gpu_access
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, unit_name
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Launch, ulimits

DIGEST_VARIABLE = "INFERENCE_CONFIG_DIGEST"
MODEL_VARIABLE = "INFERENCE_MODEL_VERSION"
CREDENTIAL = "api-key"
KEY_FILE = f"${{CREDENTIALS_DIRECTORY}}/{CREDENTIAL}"
"""Where the process finds its API key. The specifier %d would do, but needs systemd 250; Ubuntu 22.04 has 249."""

_DIGEST_LINE = re.compile(rf"^Environment={DIGEST_VARIABLE}=(\w+)$", re.MULTILINE)

# What only systemd itself looks at, before the process is there or once it has ended: a change of these needs a reload, and no restart.
_MANAGER_ONLY = frozenset({
    "ExecStartPre", "Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec", "TimeoutStartSec", "TimeoutStopSec",
})  # fmt: skip

_PRIVILEGED_PORTS = range(1, 1024)
_BACK_OFF_SINCE = 254  # the systemd release that has RestartSteps= and RestartMaxDelaySec=

Setting = tuple[str, str]


@dataclass(frozen=True)
class Account:
    user: str
    group: str


@dataclass(frozen=True)
class Block:
    """A few settings of one section under a comment that says what they are for."""

    comment: str
    settings: Sequence[Setting]


# -- quoting -----------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9_@:,./+=\[\]{}()~^*?!&|<>#-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%"}


def quote(word: str) -> str:
    """One word of a setting that takes words; systemd reads it back as it was."""
    text = "".join(_ESCAPES.get(character, character) for character in word)
    return text if _PLAIN.fullmatch(text) else f'"{text}"'


def quote_argument(word: str) -> str:
    """One argument of a command line, where systemd also replaces variables; KEY_FILE's is meant to be."""
    return quote(word) if word == KEY_FILE else quote(word.replace("$", "$$"))


def command_line(words: Sequence[Sequence[str]]) -> str:
    """A command with each group of words on a line of its own."""
    return " \\\n    ".join(" ".join(quote_argument(word) for word in group) for group in words)


def exec_start(unit: str) -> list[str]:
    """The command of a unit that :func:`render` has written, as the process gets it; empty where there is none."""
    _before, found, rest = unit.replace("\\\n", " ").partition("\nExecStart=")
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', rest.partition("\n")[0])
    return [_unescape(quoted or plain) for quoted, plain in words] if found else []


def _unescape(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word).replace("%%", "%").replace("$$", "$")


# -- the unit ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Places:
    """Where things of one service are on the host."""

    state: str
    """The service's home, below /var/lib."""
    key_file: str
    """The API key as root keeps it."""


def render(launch: Launch, account: Account, places: Places, *, systemd: int) -> str:
    """The text of the unit. The same arguments give the same text, so a difference is a change."""
    body = [
        _comment(_origin(launch, places)),
        _section("Unit", _unit_blocks(launch)),
        _section("Service", _service_blocks(launch, account, places, systemd)),
        _section("Install", [Block("", [("WantedBy", "multi-user.target")])]),
    ]
    text = "\n".join(body)
    environment = f"Environment={DIGEST_VARIABLE}="
    return text.replace(environment, environment + digest(text), 1)


def digest(text: str) -> str:
    """What tells whether a process still runs as the unit says: over every setting of [Service] that it can notice, without comments."""
    section = text.partition("[Service]\n")[2].partition("\n[")[0].replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in section.splitlines() if line and not line.startswith("#")]
    kept = [
        line for line in lines if line.partition("=")[0] not in _MANAGER_ONLY and not line.startswith(f"Environment={DIGEST_VARIABLE}=")
    ]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def stated_digest(text: str) -> str | None:
    """The digest that a unit passes to its process; None where a person has edited it since, and it no longer fits."""
    match = _DIGEST_LINE.search(text)
    return match[1] if match and match[1] == digest(text) else None


def _origin(launch: Launch, places: Places) -> list[str]:
    service, gpus = launch.service, launch.gpus
    unit = unit_name(service.name)
    lines = [
        "Written by Ansible (baremetal.llm.inference_service); the next run overwrites what is changed here.",
        f"To change it, edit {service.name!r} in the inventory variable inference_services.",
        "",
        f"Logs:    journalctl -u {unit} -e",
        f"Health:  curl {launch.base_url}/health",
        f"Engine:  {launch.release} (manifest.json there says what it was built from)",
        f"Model:   {service.model.file}",
        *([f"GPUs:    {gpu_access.names(gpus.devices)}"] if gpus else []),
    ]
    if service.api_key is not None:
        lines.append(f"API key: {places.key_file} (for root only)")
    return lines


def _unit_blocks(launch: Launch) -> Iterator[Block]:
    service = launch.service
    yield Block(
        "",
        [
            ("Description", f"{service.name}: OpenAI-compatible API of llama-server on {', '.join(service.listen)}"),
            ("Documentation", "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"),
        ],
    )
    # An address of its own can only be bound once the network has it.
    network = "network.target" if set(service.addresses) <= {"0.0.0.0", "::"} or service.only_local else "network-online.target"
    files = dict.fromkeys([launch.release, *service.model.files.values()])
    yield Block(
        "After the network and the file systems that hold the engine and the model.",
        [
            *([("Wants", network)] if network == "network-online.target" else []),
            ("After", network),
            ("RequiresMountsFor", " ".join(quote(file) for file in files)),
        ],
    )
    if launch.gpus:
        before = f"{gpu_access.MODULE_UNIT} {gpu_access.PERSISTENCED}"
        yield Block(
            "After the module that CUDA needs beside the driver's own, and the daemon that keeps the GPUs awake, where there is one. "
            "The module\nhas to be there when systemd works out which devices DeviceAllow= stands for, which is before it starts anything.",
            [("Wants", before), ("After", before)],
        )
    yield Block("Never give up: what is missing now may be there in a minute.", [("StartLimitIntervalSec", "0")])


def _service_blocks(launch: Launch, account: Account, places: Places, systemd: int) -> Iterator[Block]:
    service, gpus = launch.service, launch.gpus
    yield Block("", [("Type", "exec"), ("ExecStart", command_line(launch.command))])
    if gpus:
        yield Block(
            "Wait for the driver: started before the GPUs answer, it would compute on the CPU. The first commands make the device\n"
            "nodes that are missing, as root (+); the last ones see that the process may open them. Where one fails, systemd tries\n"
            "again later.",
            [
                *(("ExecStartPre", prefix + " ".join(map(quote_argument, words))) for prefix, words in gpu_access.waiting(gpus)),
                ("TimeoutStartSec", "2min"),
            ],
        )
    yield Block(
        "Who it runs as, and its home: the only place where it can write.",
        [
            ("User", account.user),
            ("Group", account.group),
            ("StateDirectory", places.state.removeprefix("/var/lib/")),
            ("StateDirectoryMode", "0700"),
            ("WorkingDirectory", places.state),
            ("UMask", "0077"),
        ],
    )
    yield Block(
        "No configuration but this one: llama-server would also read config.ini below XDG_CONFIG_HOME and /etc/llama.cpp.",
        [
            ("Environment", quote(f"HOME={places.state}")),
            ("Environment", "XDG_CONFIG_HOME=/dev/null"),
            ("InaccessiblePaths", "-/etc/llama.cpp"),
        ],
    )
    if gpus:
        yield Block("Its GPUs and no others, whatever index they have today.", [("Environment", f"CUDA_VISIBLE_DEVICES={gpus.visible}")])
    if service.environment:
        yield Block(
            "The service's own environment.",
            [("Environment", quote(f"{name}={value}")) for name, value in sorted(service.environment.items())],
        )
    yield Block(
        "Tell which configuration the process runs with, and which version of the model: bytes and time of modification of its files.",
        [("Environment", f"{DIGEST_VARIABLE}="), ("Environment", quote(f"{MODEL_VARIABLE}={launch.model_version}"))],
    )
    if service.api_key is not None:
        yield Block("Only the process sees the API key.", [("LoadCredential", f"{CREDENTIAL}:{quote(places.key_file)}")])
    yield Block("Start again when it fails, ever more slowly.", _restart_settings(systemd))
    yield Block("Limits.", list(_limits(launch)))
    yield from _sandbox(service, gpus)


def _restart_settings(systemd: int) -> list[Setting]:
    settings = [("Restart", "on-failure"), ("TimeoutStopSec", "30s")]
    if systemd < _BACK_OFF_SINCE:  # a constant pause is all it has
        return [*settings, ("RestartSec", "10s")]
    return [*settings, ("RestartSec", "2s"), ("RestartSteps", "6"), ("RestartMaxDelaySec", "2min")]


def _limits(launch: Launch) -> Iterator[Setting]:
    resources = launch.service.resources
    if resources.memory_bytes is not None:
        yield "MemoryMax", str(resources.memory_bytes)
    if resources.cpus is not None:
        yield "CPUQuota", f"{round(resources.cpus * 100)}%"
    for name, value in ulimits(launch).items():
        yield f"Limit{name.upper()}", "infinity" if value == -1 else str(value)


def _sandbox(service: Service, gpus: GpuAccess | None) -> Iterator[Block]:
    privileged_port = service.port in _PRIVILEGED_PORTS
    yield Block(
        "No privileges, and no way to get any.",
        [
            ("NoNewPrivileges", "yes"),
            *(
                [("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"), ("AmbientCapabilities", "CAP_NET_BIND_SERVICE")]
                if privileged_port
                # In a user namespace of its own, it could not use the capability.
                else [("CapabilityBoundingSet", ""), *([] if gpus else [("PrivateUsers", "yes")])]
            ),
            ("RestrictSUIDSGID", "yes"),
            ("RestrictNamespaces", "yes"),
            ("RestrictRealtime", "yes"),
            ("LockPersonality", "yes"),
            ("KeyringMode", "private"),
        ],
    )
    yield Block(
        "Files: the system is read-only, other users' files are not there.",
        [
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("PrivateMounts", "yes"),
            ("PrivateIPC", "yes"),
            ("RemoveIPC", "yes"),
        ],
    )
    yield Block(
        "The kernel, other processes and the host's own settings are out of reach.",
        [
            ("ProtectKernelTunables", "yes"),
            ("ProtectKernelModules", "yes"),
            ("ProtectKernelLogs", "yes"),
            ("ProtectControlGroups", "yes"),
            ("ProtectClock", "yes"),
            ("ProtectHostname", "yes"),
            ("ProtectProc", "invisible"),
        ],
    )
    if gpus:
        yield from _gpu_sandbox()
    else:
        yield Block(
            "No devices, and no code but what was loaded: the CPU needs neither.",
            [
                ("PrivateDevices", "yes"),
                ("DevicePolicy", "closed"),
                ("ProcSubset", "pid"),
                ("MemoryDenyWriteExecute", "yes"),
                ("RestrictAddressFamilies", "AF_INET AF_INET6"),
            ],
        )
    yield Block(
        "System calls of an ordinary service, and those that place threads and memory on CPUs and NUMA nodes.",
        [
            ("SystemCallArchitectures", "native"),
            ("SystemCallFilter", "@system-service"),
            ("SystemCallFilter", "~@privileged @resources"),
            ("SystemCallFilter", "sched_setaffinity mbind set_mempolicy"),
            ("SystemCallErrorNumber", "EPERM"),
        ],
    )


def _gpu_sandbox() -> Iterator[Block]:
    """In place of what hides a GPU: PrivateDevices=, PrivateUsers=, ProcSubset=pid and MemoryDenyWriteExecute= are left out."""
    yield Block(
        "Devices: NVIDIA's alone, by the drivers' names, since all numbers but one differ from host to host. They include nvidia-uvm, and\n"
        "nvidia-caps for MIG. Commands with + need m to make nodes; the process has no capability to make any.",
        [("DevicePolicy", "closed"), ("DeviceAllow", "char-nvidia* rwm")],
    )
    yield Block(
        "Debian's driver packages give the nodes to a group. A user namespace (PrivateUsers=) would take it away.",
        [("SupplementaryGroups", gpu_access.GROUP)],
    )
    yield Block(
        "CUDA reads /proc/driver and /proc/devices, so there is no ProcSubset=pid, and writes code at run time, so there is no\n"
        "MemoryDenyWriteExecute=. It talks to nvidia-persistenced over a UNIX socket, and to the kernel about devices over netlink.",
        [("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK")],
    )


def _section(name: str, blocks: Iterable[Block]) -> str:
    parts = [_comment(block.comment.splitlines()) + "".join(f"{key}={value}\n" for key, value in block.settings) for block in blocks]
    return f"[{name}]\n" + "\n".join(parts)


def _comment(lines: Iterable[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)
