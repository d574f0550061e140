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

from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, unit_name

DIGEST_VARIABLE = "INFERENCE_CONFIG_DIGEST"
MODEL_VARIABLE = "INFERENCE_MODEL_VERSION"
CREDENTIAL = "api-key"
KEY_FILE = f"${{CREDENTIALS_DIRECTORY}}/{CREDENTIAL}"
"""Where the process finds its API key. The specifier %d would do, but needs systemd 250; Ubuntu 22.04 has 249."""

_DIGEST_LINE = re.compile(rf"^Environment={DIGEST_VARIABLE}=(\w+)$", re.MULTILINE)

# What only systemd itself looks at, and only once the process has ended: a change of these needs a reload, and no restart.
_MANAGER_ONLY = frozenset({"Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec", "TimeoutStopSec"})

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

    release: str
    state: str
    """The service's home, below /var/lib."""
    key_file: str
    """The API key as root keeps it."""


def render(
    service: Service,
    command: Sequence[Sequence[str]],
    account: Account,
    places: Places,
    *,
    systemd: int,
    base_url: str,
    locks_memory: bool,
    model_version: str,
) -> str:
    """The text of the unit. The same arguments give the same text, so a difference is a change."""
    body = [
        _comment(_origin(service, places, base_url)),
        _section("Unit", _unit_blocks(service, places)),
        _section("Service", _service_blocks(service, command, account, places, systemd, locks_memory, model_version)),
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


def _origin(service: Service, places: Places, base_url: str) -> list[str]:
    unit = unit_name(service.name)
    lines = [
        "Written by Ansible (baremetal.llm.inference_service); the next run overwrites what is changed here.",
        f"To change it, edit {service.name!r} in the inventory variable inference_services.",
        "",
        f"Logs:    journalctl -u {unit} -e",
        f"Health:  curl {base_url}/health",
        f"Engine:  {places.release} (manifest.json there says what it was built from)",
        f"Model:   {service.model.file}",
    ]
    if service.api_key is not None:
        lines.append(f"API key: {places.key_file} (for root only)")
    return lines


def _unit_blocks(service: Service, places: Places) -> Iterator[Block]:
    yield Block(
        "",
        [
            ("Description", f"{service.name}: OpenAI-compatible API of llama-server on {', '.join(service.listen)}"),
            ("Documentation", "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"),
        ],
    )
    # An address of its own can only be bound once the network has it.
    network = "network.target" if set(service.addresses) <= {"0.0.0.0", "::"} or service.only_local else "network-online.target"
    after = [network, *(["nvidia-persistenced.service"] if service.gpus else [])]
    files = dict.fromkeys([places.release, *service.model.files.values()])
    yield Block(
        "After the network and the file systems that hold the engine and the model.",
        [
            *([("Wants", network)] if network == "network-online.target" else []),
            ("After", " ".join(after)),
            ("RequiresMountsFor", " ".join(quote(file) for file in files)),
        ],
    )
    yield Block("Never give up: what is missing now may be there in a minute.", [("StartLimitIntervalSec", "0")])


def _service_blocks(
    service: Service,
    command: Sequence[Sequence[str]],
    account: Account,
    places: Places,
    systemd: int,
    locks_memory: bool,
    model_version: str,
) -> Iterator[Block]:
    yield Block("", [("Type", "exec"), ("ExecStart", command_line(command))])
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
    variables = dict(service.environment)
    if service.gpus:
        variables |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(service.gpus)}
    if variables:
        yield Block(
            "The service's own environment.", [("Environment", quote(f"{name}={value}")) for name, value in sorted(variables.items())]
        )
    yield Block(
        "Tell which configuration the process runs with, and which version of the model: bytes and time of modification of its files.",
        [("Environment", f"{DIGEST_VARIABLE}="), ("Environment", quote(f"{MODEL_VARIABLE}={model_version}"))],
    )
    if service.api_key is not None:
        yield Block("Only the process sees the API key.", [("LoadCredential", f"{CREDENTIAL}:{quote(places.key_file)}")])
    yield Block("Start again when it fails, ever more slowly.", _restart_settings(systemd))
    yield Block("Limits.", list(_limits(service, locks_memory)))
    yield from _sandbox(service)


def _restart_settings(systemd: int) -> list[Setting]:
    settings = [("Restart", "on-failure"), ("TimeoutStopSec", "30s")]
    if systemd < _BACK_OFF_SINCE:  # a constant pause is all it has
        return [*settings, ("RestartSec", "10s")]
    return [*settings, ("RestartSec", "2s"), ("RestartSteps", "6"), ("RestartMaxDelaySec", "2min")]


def _limits(service: Service, locks_memory: bool) -> Iterator[Setting]:
    resources = service.resources
    if resources.memory_bytes is not None:
        yield "MemoryMax", str(resources.memory_bytes)
    if resources.cpus is not None:
        yield "CPUQuota", f"{round(resources.cpus * 100)}%"
    # A core dump would hold prompts and the key; a busy server has a socket for each client.
    limits = {"core": 0, "nofile": 65536, **({"memlock": -1} if locks_memory else {}), **resources.ulimits}
    for name, value in sorted(limits.items()):
        yield f"Limit{name.upper()}", "infinity" if value == -1 else str(value)


def _sandbox(service: Service) -> Iterator[Block]:
    privileged_port = service.port in _PRIVILEGED_PORTS
    yield Block(
        "No privileges, and no way to get any.",
        [
            ("NoNewPrivileges", "yes"),
            *(
                [("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"), ("AmbientCapabilities", "CAP_NET_BIND_SERVICE")]
                if privileged_port
                # In a user namespace of its own, it could not use the capability.
                else [("CapabilityBoundingSet", ""), ("PrivateUsers", "no" if service.gpus else "yes")]
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
    if service.gpus:
        yield Block(
            "Devices: NVIDIA's, under whatever names this driver gives them. Its libraries read /proc/driver and write code at run time.",
            [
                ("DevicePolicy", "closed"),
                ("DeviceAllow", "char-nvidia* rw"),
                ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
            ],
        )
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


def _section(name: str, blocks: Iterable[Block]) -> str:
    parts = [
        _comment([block.comment] if block.comment else []) + "".join(f"{key}={value}\n" for key, value in block.settings)
        for block in blocks
    ]
    return f"[{name}]\n" + "\n".join(parts)


def _comment(lines: Iterable[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)
