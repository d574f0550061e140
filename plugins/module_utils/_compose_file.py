# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Compose file of a service, as text: what the container may, what it gets, and the digest that tells one configuration from another.

Every text in it is written as JSON writes it, which YAML reads as it is, so that what was written can be read back without a YAML parser.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.baremetal.llm.plugins.module_utils import _gpu_access as gpu_access
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import Listener
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Container, Launch, ulimits

FILE = "compose.yaml"
SERVICE = "engine"
"""The only one in the project."""
SECRET = "api-key"
KEY_FILE = f"/run/secrets/{SECRET}"
"""Where the process finds its API key."""
ADDRESSES = ("0.0.0.0",)
"""What it listens on: the container has a network of its own, and Compose publishes what the service asks for."""

DIGEST_LABEL = "baremetal.llm.config-digest"
MODEL_LABEL = "baremetal.llm.model-version"
CDI_LABEL = "baremetal.llm.gpu-devices"
PROVEN = "unless-stopped"
"""The restart policy of a container that has been proven."""
ON_TRIAL = "no"

Version = tuple[int, ...]
SHORT_DEVICES_SINCE: Version = (2, 30)
"""The release of Compose that takes a CDI device for an entry of `devices`; before, only a reservation does."""

_DIGEST_LINE = re.compile(rf'^ +{re.escape(DIGEST_LABEL)}: "(\w+)"$', re.MULTILINE)
_ADDRESS = re.compile(r'^ +- "(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>\d+):\d+/tcp"$', re.MULTILINE)

# More than any engine starts; without a limit, one that runs wild takes the host's.
_PROCESSES = 16384
_START_PERIOD = "30m"


@dataclass(frozen=True)
class Identity:
    """As whom the container runs. Its image does not know the account, so it is named by numbers."""

    user: str
    """The account's name on the host."""
    ids: str
    """UID:GID"""
    groups: tuple[int, ...] = ()
    """Those that may open device nodes on this host."""


@dataclass(frozen=True)
class Places:
    """Where things of one service are on the host."""

    state: str
    """The service's home, which has the same path in the container."""
    key_file: str


@dataclass(frozen=True)
class CdiAccess:
    """The GPUs of the service, as the host's CDI specification names them."""

    names: tuple[str, ...]
    """nvidia.com/gpu=GPU-…"""
    digest: str
    """What changes with the files and devices that the specification adds, such as those of another driver."""


# -- text --------------------------------------------------------------------------------------------------------------


def text_of(value: str) -> str:
    """A text as Compose reads it back: it replaces variables, and nothing here is one."""
    return json.dumps(value.replace("$", "$$"), ensure_ascii=False)


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(map(text_of, words)) + "]"


def _unescaped(written: str) -> str:
    value: str = json.loads(written)
    return value.replace("$$", "$")


@dataclass(frozen=True)
class Block:
    """A few lines of the service under a comment that says what they are for."""

    comment: str
    lines: Sequence[str]


def _mapping(key: str, pairs: Mapping[str, str]) -> list[str]:
    return [f"{key}:", *(f"  {name}: {value}" for name, value in pairs.items())]


def _sequence(key: str, items: Iterable[str]) -> list[str]:
    return [f"{key}:", *(f"  - {item}" for item in items)]


# -- the file ----------------------------------------------------------------------------------------------------------


def project_name(name: str) -> str:
    return f"inference-{name}"


def render(launch: Launch, identity: Identity, places: Places, *, compose: Version, cdi: CdiAccess | None) -> str:
    """The text of the file. The same arguments give the same text, so a difference is a change."""
    container = launch.container
    if container is None:
        raise TypeError("an engine that Compose is to run has to say what it needs of its container")
    project = project_name(launch.service.name)
    head = [
        *_comment(_origin(launch, container, places)),
        "",
        f"name: {text_of(project)}",
        f"x-base-url: {text_of(launch.base_url)}",
        "",
        "services:",
        f"  {SERVICE}:",
    ]
    blocks = [
        [f"    {line}" for line in (*_comment(block.comment.splitlines()), *block.lines)]
        for block in _blocks(launch, container, identity, places, compose, cdi)
    ]
    body = [line for number, block in enumerate(blocks) for line in ([""] if number else []) + block]
    secrets = [] if launch.service.api_key is None else ["", "secrets:", f"  {SECRET}:", f"    file: {text_of(places.key_file)}"]
    text = "\n".join([*head, *body, *secrets]) + "\n"
    return text.replace(f'{DIGEST_LABEL}: ""', f'{DIGEST_LABEL}: "{digest(text)}"', 1)


def digest(text: str) -> str:
    """What tells whether a container was made of what the file says: over everything but its comments."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    kept = [line for line in lines if not line.lstrip().startswith(f"{DIGEST_LABEL}:")]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def _origin(launch: Launch, container: Container, places: Places) -> list[str]:
    service, gpus = launch.service, launch.gpus
    project = project_name(service.name)
    lines = [
        "Written by Ansible (baremetal.llm.inference_service); the next run overwrites what is changed here.",
        f"To change it, edit {service.name!r} in the inventory variable inference_services.",
        "",
        f"State:   docker compose --project-name {project} ps",
        f"Logs:    docker logs --tail 100 {project}",
        f"Health:  curl {launch.base_url}/health",
        f"Engine:  {launch.release}",
        f"Model:   {service.model.file}",
        *([f"GPUs:    {gpu_access.names(gpus.devices)}"] if gpus else []),
    ]
    if service.api_key is not None:
        lines.append(f"API key: {places.key_file} (for root and the service's account only)")
    return lines


def _blocks(
    launch: Launch, container: Container, identity: Identity, places: Places, compose: Version, cdi: CdiAccess | None
) -> Iterator[Block]:
    service = launch.service
    yield Block("", [f"container_name: {text_of(project_name(service.name))}", f"image: {text_of(container.image)}"])
    yield Block(
        "",
        [
            f"entrypoint: {_list(container.entrypoint)}",
            "command: [",
            *(f"  {', '.join(map(text_of, line))}," for line in launch.command[1:]),
            "]",
        ],
    )
    yield Block(
        "Tell which configuration the container was made of, and which version of the model: bytes and time of modification of its files.",
        _mapping(
            "labels",
            {
                DIGEST_LABEL: '""',
                MODEL_LABEL: text_of(launch.model_version),
                **({CDI_LABEL: text_of(cdi.digest)} if cdi else {}),
            },
        ),
    )
    yield Block(
        "What the service listens on. Docker lets it through the host's packet filter by itself.",
        _sequence("ports", (text_of(f"{endpoint}:{service.port}/tcp") for endpoint in service.listen)),
    )
    if cdi:
        yield Block(
            "Its GPUs and no others. The devices come by CDI, which no reload of systemd takes away; what changes with the driver is in\n"
            "the label above, so a new driver means a new container.",
            _devices(cdi, compose),
        )
    yield Block(
        "Who it runs as: the host's account, by numbers, since the image does not know it.",
        [f"user: {text_of(identity.ids)}", *([f"group_add: {_list(map(str, identity.groups))}"] if identity.groups else [])],
    )
    yield Block(
        "No privileges, and no way to get any. It can write to its home and to /tmp.",
        [
            'cap_drop: ["ALL"]',
            'security_opt: ["no-new-privileges:true"]',
            "read_only: true",
            'tmpfs: ["/tmp"]',
        ],
    )
    yield Block(
        "The host's files that it finds at the same place, to read; and its home.",
        [
            "volumes:",
            *(line for path in container.reads for line in _mount(path, read_only=True)),
            *_mount(places.state, read_only=False),
            f"working_dir: {text_of(places.state)}",
        ],
    )
    if service.api_key is not None:
        yield Block("Only the process sees the API key; docker inspect does not.", [f"secrets: [{SECRET}]"])
    yield Block(
        "Its home and caches, and nothing from the network. NVIDIA_VISIBLE_DEVICES keeps an NVIDIA runtime from adding GPUs to those above."
        if cdi
        else "Its home and caches, and nothing from the network.",
        _mapping("environment", _environment(service, container, identity, places)),
    )
    yield Block("Limits. /dev/shm counts against the memory.", list(_limits(launch, container)))
    yield Block(
        "Healthy once the model is loaded, which may take long. For whoever looks: nothing restarts it for being unhealthy.",
        _health(launch),
    )
    yield Block(
        "Start it again whenever it ends, and with the host. Until it has been proven, its container has the policy `no` (docker update),\n"
        "so that a mistake does not start again and again.",
        [f"restart: {text_of(PROVEN)}", f"stop_grace_period: {container.stop_seconds}s"],
    )
    yield Block(
        "Its log cannot fill the disk.",
        _mapping("logging", {"driver": '"local"', "options": '{max-size: "20m", max-file: "5"}'}),
    )


def _devices(cdi: CdiAccess, compose: Version) -> list[str]:
    if compose >= SHORT_DEVICES_SINCE:
        return _sequence("devices", map(text_of, cdi.names))
    reservation = f'{{driver: "cdi", device_ids: {_list(cdi.names)}, capabilities: ["gpu"]}}'
    return ["deploy:", "  resources:", "    reservations:", "      devices:", f"        - {reservation}"]


def _mount(path: str, *, read_only: bool) -> list[str]:
    # Without create_host_path, Docker would make a directory for root of what is missing.
    options = f"{', read_only: true' if read_only else ''}, bind: {{create_host_path: false}}"
    return [f'  - {{type: "bind", source: {text_of(path)}, target: {text_of(path)}{options}}}']


def _environment(service: Service, container: Container, identity: Identity, places: Places) -> dict[str, str]:
    fixed = {
        "HOME": places.state,
        "USER": identity.user,
        "LOGNAME": identity.user,
        "XDG_CACHE_HOME": f"{places.state}/cache",
        "HF_HUB_OFFLINE": "1",
        **({"NVIDIA_VISIBLE_DEVICES": "void"} if service.gpus else {}),
        **{name: value.format(state=places.state) for name, value in container.environment.items()},
    }
    return {name: text_of(value) for name, value in {**fixed, **dict(sorted(service.environment.items()))}.items()}


def _limits(launch: Launch, container: Container) -> Iterator[str]:
    resources = launch.service.resources
    if resources.cpus is not None:
        yield f"cpus: {resources.cpus:g}"
    if resources.memory_bytes is not None:
        yield f"mem_limit: {resources.memory_bytes}"
    shm = resources.shm_bytes or container.shm_bytes
    if shm is not None:
        yield f"shm_size: {shm}"
    yield f"pids_limit: {_PROCESSES}"
    yield from _mapping("ulimits", {name: str(value) for name, value in ulimits(launch).items()})


def _health(launch: Launch) -> list[str]:
    return _mapping(
        "healthcheck",
        {
            "test": f'["CMD", "/bin/sh", "-c", {text_of(health_script(launch.base_url, launch.service.port))}]',
            "start_period": _START_PERIOD,
            "interval": "10s",
            "timeout": "10s",
            "retries": "3",
        },
    )


def health_script(base_url: str, port: int) -> str:
    """Ask the server with what the image has: curl, python3 or bash. One of them is in each image that is known to serve."""
    scheme, rest = base_url.split("://", 1)
    path = f"/{rest.partition('/')[2]}".rstrip("/") + "/health"
    url = f"{scheme}://127.0.0.1:{port}{path}"
    python = (
        "import ssl, urllib.request as u; "
        "u.build_opener(u.ProxyHandler({}), u.HTTPSHandler(context=ssl._create_unverified_context()))"
        f".open('{url}', timeout=8)"
    )
    # A certificate is checked by clients; that the port is open is all that bash can tell of HTTPS.
    asked = f' && printf "GET {path} HTTP/1.0\\r\\n\\r\\n" >&3 && read -rt 8 line <&3 && [[ $line == *" 200 "* ]]'
    bash = f"exec 3<>/dev/tcp/127.0.0.1/{port}{asked if scheme == 'http' else ''}"
    return (
        f"if command -v curl >/dev/null; then exec curl -fsSk --noproxy '*' -m 8 -o /dev/null '{url}'; fi; "
        f'if command -v python3 >/dev/null; then exec python3 -c "{python}"; fi; '
        f"exec bash -c '{bash}'"
    )


def _comment(lines: Iterable[str]) -> list[str]:
    return [f"# {line}".rstrip() for line in lines]


# -- reading it back ---------------------------------------------------------------------------------------------------


def stated_digest(text: str) -> str | None:
    """The digest that the container is labelled with; None where a person has edited the file since, and it no longer fits."""
    match = _DIGEST_LINE.search(text)
    return match[1] if match and match[1] == digest(text) else None


def command_of(text: str) -> list[str]:
    """The command of a file that :func:`render` has written, as the process gets it; empty where there is none."""
    found = re.search(r"^    entrypoint: (\[.*\])\n    command: \[\n((?:      .*,\n)*)    \]$", text, re.MULTILINE)
    if not found:
        return []
    lines = [f"[{line.strip().rstrip(',')}]" for line in found[2].splitlines()]
    try:
        return [word.replace("$$", "$") for part in (found[1], *lines) for word in json.loads(part)]
    except ValueError:  # a person has edited it
        return []


def base_url_of(text: str) -> str:
    return _told(r"x-base-url", text)


def image_of(text: str) -> str:
    return _told(r"    image", text)


def _told(key: str, text: str) -> str:
    found = re.search(rf'^{key}: ("(?:[^"\\]|\\.)*")$', text, re.MULTILINE)
    return _unescaped(found[1]) if found else ""


def published(text: str) -> list[Listener]:
    """Where on the host it is to listen."""
    return [Listener(found["six"] or found["four"], int(found["port"]), 0) for found in _ADDRESS.finditer(text)]
