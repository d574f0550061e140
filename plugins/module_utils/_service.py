# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One entry of ``inference_services``: from the operator's dict to a typed value, and what is wrong with it.

Everything here is true of every engine and every manager. The dict is read tolerantly, so that one look tells all that is wrong.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._hub_choice import is_glob
from ansible_collections.baremetal.llm.plugins.module_utils._hub_names import DEFAULT_REVISION, is_path, is_repo_id, is_revision
from ansible_collections.baremetal.llm.plugins.module_utils._image import parse_image
from ansible_collections.baremetal.llm.plugins.module_utils._listeners import Listener, clashing, endpoint
from ansible_collections.baremetal.llm.plugins.module_utils._near_names import suggestion
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning

ENGINES = ("llama_server", "vllm")
MANAGERS = ("systemd", "compose")
ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice",
    "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip

KEYS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "engine": {"type": "str", "choices": list(ENGINES), "default": "llama_server"},
    "manager": {"type": "str", "choices": list(MANAGERS), "default": "systemd"},
    "model": {
        "type": "dict",
        "options": {
            "repo_id": {"type": "str"},
            "revision": {"type": "str"},
            "file": {"type": "str"},
            "mmproj": {"type": "str"},
        },
    },
    "gpus": {"type": "list", "elements": "str", "default": []},
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int"},
    "api_key": {"type": "str", "no_log": True},
    "options": {"type": "dict", "default": {}},
    "environment": {"type": "dict", "default": {}},
    "resources": {
        "type": "dict",
        "default": {},
        "options": {
            "cpus": {"type": "float"},
            "memory": {"type": "str"},
            "shm_size": {"type": "str"},
            "ulimits": {"type": "dict", "default": {}},
        },
    },
    "image": {"type": "str"},
}
"""What can be written of a service, as an argument spec of Ansible's."""

# Compose accepts only lower-case project names, and none with '.'; a unit's name must not hold "@" (a template) or "/" (a path).
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_GPU = re.compile(r"\d+|(?:GPU|MIG)-[0-9A-Za-z/-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KiB|MiB|GiB|TiB)")
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

# What the unit sets itself; the operator's value would break it, or be overridden without a word.
_OWNED_VARIABLES = {
    "HOME": "the service's home is its state directory",
    "XDG_CONFIG_HOME": "it keeps stray configuration files out",
    "CREDENTIALS_DIRECTORY": "systemd sets it",
    "INFERENCE_CONFIG_DIGEST": "it tells which configuration the process runs with",
    "CUDA_VISIBLE_DEVICES": "use the service's key gpus",
    "CUDA_DEVICE_ORDER": "use the service's key gpus",
}
_SECRET_VARIABLE = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_KEY)$", re.IGNORECASE)


@dataclass(frozen=True)
class Model:
    """The files are absolute paths on the host or, with ``repo_id``, paths in that repository of the hub."""

    file: str
    """Empty where the whole repository is the model; without one, vLLM takes a directory."""
    mmproj: str | None
    repo_id: str | None = None
    revision: str = DEFAULT_REVISION

    @property
    def files(self) -> dict[str, str]:
        """The files that the engine opens, by the key that names them."""
        named = {"model.file": self.file} if self.file else {}
        return named if self.mmproj is None else {**named, "model.mmproj": self.mmproj}


@dataclass(frozen=True)
class Resources:
    cpus: float | None
    memory_bytes: int | None
    shm_bytes: int | None
    """Of /dev/shm, in a container."""
    ulimits: Mapping[str, int]
    """By their names in Docker, which are the kernel's; -1 is no limit."""


@dataclass(frozen=True)
class Service:
    name: str
    engine: str
    manager: str
    model: Model
    gpus: tuple[str, ...]
    addresses: tuple[str, ...]
    port: int
    api_key: str | None
    options: Mapping[str, Any]
    environment: Mapping[str, str]
    resources: Resources
    image: str | None = None

    @property
    def listen(self) -> list[str]:
        return [endpoint(address, self.port) for address in self.addresses]

    @property
    def only_local(self) -> bool:
        return all(ipaddress.ip_address(address).is_loopback for address in self.addresses)


def unit_name(name: str) -> str:
    return f"inference-{name}.service"


def name_problem(name: object, manager: str = "systemd") -> Problem | None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return error(
            "name_invalid",
            f"name: {name!r} cannot name a service",
            "Use 1 to 63 lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends",
        )
    if manager == "compose" and "." in name:
        return error("name_invalid", f"name: {name!r} cannot name a project of Compose, which takes no '.'", "Use '-' or '_' in its place")
    return None


def text_problem(where: str, text: str, manager: str = "systemd") -> Problem | None:
    """A text that goes into a unit file must be one line, and must not be read by systemd as more than itself."""
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        return error(
            "unsafe_text",
            f"{where} holds a line break or another control character, which would add lines of its own to what the manager reads",
            "Write it on one line; a longer text goes into a file on the host that the option's *_file form names",
        )
    if manager == "systemd" and "%" in text:
        return error(
            "unsafe_text",
            f"{where} holds '%', which systemd would replace in the unit file",
            "Leave it out; a text that needs it goes into a file on the host that the option's *_file form names",
        )
    return None


def parse(raw: object) -> tuple[Service | None, list[Problem]]:
    """The service that the dict describes, and what is wrong or doubtful in it. With errors, the service is for further looks only."""
    reader = _Reader()
    return reader.service(raw), reader.problems


def list_problems(raw: Sequence[object], engine_problems: Callable[[Service], Iterable[Problem]]) -> list[Problem]:
    """What is wrong with the services of one host, each on its own and with each other; every message names its service."""
    found: list[Problem] = []
    services: list[Service] = []
    for index, entry in enumerate(raw):
        service, problems = parse(entry)
        label = f"inference_services[{index}]"
        if service is not None:
            label = service.name if name_problem(service.name) is None else label
            problems += [*engine_problems(service), *_clash_problems(service, services)]
            services.append(service)
        found += [replace(problem, message=f"{label}: {problem.message}") for problem in problems]
    return found


def _clash_problems(service: Service, earlier: Iterable[Service]) -> Iterator[Problem]:
    for other in earlier:
        held = [Listener(address, other.port, 0) for address in other.addresses]
        if service.name == other.name:
            yield error("duplicate_name", f"name: {service.name!r} is the name of two services of this host", "Give each its own")
        elif service.port and any(clashing(held, address, service.port) for address in service.addresses):
            remedy = "Give one of them another port, or addresses (host) that do not overlap"
            yield error("duplicate_port", f"port: {service.port} is also the port of {other.name}", remedy)


class _Reader:
    """Reads one dict and notes what is wrong on the way. A value that cannot be read is replaced by a harmless one."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.manager = str(KEYS["manager"]["default"])

    def service(self, raw: object) -> Service | None:
        if not isinstance(raw, Mapping):
            self.wrong_type("service", raw, "a dict")
            return None
        self.known_keys("", raw, KEYS)
        name = raw.get("name")
        engine = self.choice(raw, "engine")
        self.manager = manager = self.choice(raw, "manager")
        self.note(name_problem(name, manager))
        if engine == "vllm" and manager == "systemd":
            message = "engine: vllm runs from its container image, which systemd does not run"
            self.note(error("engine_needs_compose", message, "Set manager: compose"))
        service = Service(
            name=str(name),
            engine=engine,
            manager=manager,
            model=self.model(raw.get("model"), engine),
            gpus=self.gpus(raw.get("gpus")),
            addresses=self.addresses(raw.get("host")),
            port=self.port(raw.get("port")),
            api_key=self.api_key(raw.get("api_key")),
            options=self.options(self.mapping("options", raw.get("options"))),
            environment=self.environment(self.mapping("environment", raw.get("environment"))),
            resources=self.resources(self.mapping("resources", raw.get("resources"))),
            image=self.image(raw.get("image"), engine),
        )
        if service.api_key is None and "api_key" not in self.codes() and not service.only_local:
            self.note(
                warning(
                    "no_api_key",
                    f"the service listens on {', '.join(service.listen)} without an api_key: whoever reaches it can use it",
                    "Set api_key, or host: 127.0.0.1",
                )
            )
        return service

    def image(self, raw: object, engine: str) -> str | None:
        if self.manager == "systemd":
            if raw is not None:
                self.ignored("image", "nothing is pulled for a service that systemd runs")
            return None
        if raw is None:
            if engine == "vllm":
                self.note(error("missing_key", "image is missing", "Give the image that has vLLM, such as vllm/vllm-openai:v0.33.0"))
            return None
        text = self.text("image", raw)
        if text and parse_image(text) is None:
            remedy = "Write it as NAME:TAG or NAME:TAG@sha256:…, such as vllm/vllm-openai:v0.33.0, in lower-case letters"
            self.note(error("image_invalid", f"image: {text!r} cannot name an image", remedy))
        return text or None

    def model(self, given: object, engine: str) -> Model:
        raw = self.mapping("model", given)
        if given is not None and raw is not given:  # no dict, which has been told
            return Model(file="/", mmproj=None)
        self.known_keys("model.", raw, KEYS["model"]["options"])
        if raw.get("repo_id") is None and raw.get("revision") is not None:
            self.ignored("model.revision", "it belongs to a model.repo_id")
        if engine == "vllm":
            # It reads a directory with configuration, tokenizer and weights.
            whole = raw.get("repo_id") is not None
            if whole and raw.get("file") is not None:
                self.ignored("model.file", "vLLM takes the repository as a whole")
            if raw.get("mmproj") is not None:
                self.ignored("model.mmproj", "for vLLM, the repository or directory of the model has all its parts")
            file, mmproj = "" if whole else self.directory(raw.get("file")), None
        else:
            file, mmproj = self.path("model.file", raw.get("file"), raw) or "/", self.path("model.mmproj", raw.get("mmproj"), raw)
        return Model(
            file=file,
            mmproj=mmproj,
            repo_id=self.repo_id(raw.get("repo_id")),
            revision=self.revision(raw.get("revision")),
        )

    def repo_id(self, raw: object) -> str | None:
        if raw is None:
            return None
        text = self.text("model.repo_id", raw)
        if not is_repo_id(text):
            self.note(
                error(
                    "repo_id_invalid",
                    f"model.repo_id: {text!r} is not the name of a repository",
                    "Write it as the hub does, ORGANISATION/NAME, or leave it out for a file on the host",
                )
            )
            return None
        return text

    def revision(self, raw: object) -> str:
        text = DEFAULT_REVISION if raw is None else self.text("model.revision", raw)
        if not is_revision(text):
            self.note(
                error("revision_invalid", f"model.revision: {text!r} can't be a revision", "Give a commit (40 digits), a branch or a tag")
            )
            return DEFAULT_REVISION
        return text

    def directory(self, value: object) -> str:
        if value is None:
            remedy = "Give model.repo_id, or as model.file the absolute path of a directory on the host that holds the model"
            self.note(error("missing_key", "model.repo_id is missing", remedy))
            return "/"
        text = self.text("model.file", value)
        if not text.startswith("/"):
            remedy = "Give the absolute path of a directory on the host, or model.repo_id"
            self.note(error("path_relative", f"model.file: {text!r} is not an absolute path", remedy))
        return text

    def path(self, where: str, value: object, model: Mapping[str, Any]) -> str | None:
        in_repository = model.get("repo_id") is not None
        if value is None:
            if where == "model.file":
                remedy = (
                    "Give the path of the GGUF file in the repository"
                    if in_repository
                    else "Give the absolute path of the GGUF file on the host"
                )
                self.note(error("missing_key", "model.file is missing", remedy))
            return None
        text = self.text(where, value)
        if in_repository and (not is_path(text) or is_glob(text)):
            remedy = "Give its path there, such as model-q4_k_m.gguf, or leave model.repo_id out for a file on the host"
            self.note(error("path_not_in_repository", f"{where}: {text!r} is not the path of one file in the repository", remedy))
        elif not in_repository and not text.startswith("/"):
            self.note(error("path_relative", f"{where}: {text!r} is not an absolute path", "Give the file's absolute path on the host"))
        return text

    def gpus(self, raw: object) -> tuple[str, ...]:
        if raw is None:
            return ()
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            self.wrong_type("gpus", raw, "a list of indices or UUIDs, [] for none")
            return ()
        for gpu in raw:
            if isinstance(gpu, bool) or not _GPU.fullmatch(str(gpu)):
                self.note(error("gpu_invalid", f"gpus: {gpu!r} names no GPU", "Use the index or the UUID that `nvidia-smi -L` prints"))
        return tuple(str(gpu) for gpu in raw)

    def addresses(self, raw: object) -> tuple[str, ...]:
        addresses = []
        for item in self.text("host", KEYS["host"]["default"] if raw is None else raw).split(","):
            # What "localhost" stands for depends on the resolver; an address does not.
            word = "127.0.0.1" if item.strip() == "localhost" else item.strip()
            try:
                addresses.append(str(ipaddress.ip_address(word)))
            except ValueError:
                self.note(
                    error(
                        "host_invalid",
                        f"host: {item.strip()!r} is not an IP address",
                        "Use an address of the host, 0.0.0.0 for all of them, or several separated by commas",
                    )
                )
        return tuple(addresses) or ("127.0.0.1",)

    def port(self, raw: object) -> int:
        if raw is None:
            self.note(error("missing_key", "port is missing", "Give the TCP port that the service listens on"))
            return 0
        if isinstance(raw, bool) or not re.fullmatch(r"\d+", str(raw)) or not 1 <= int(str(raw)) <= 65535:
            self.note(error("port_invalid", f"port: {raw!r} is not a TCP port", "Use a number from 1 to 65535"))
            return 0
        return int(str(raw))

    def api_key(self, raw: object) -> str | None:
        """Never tells the key, not even a wrong one."""
        if raw is None:
            return None
        reason = _api_key_reason(raw)
        if reason:
            self.note(
                error("api_key_invalid", f"api_key {reason}", "Use one line of printable ASCII, such as `openssl rand -hex 32` prints")
            )
            return None
        return str(raw)

    def options(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        for key, value in raw.items():
            where = "the name of an option" if text_problem("", str(key)) else f"options.{key!s}"
            for text in (key, *_texts(value)):
                self.note(text_problem(where, str(text), self.manager))
        return {str(key): value for key, value in raw.items()}

    def environment(self, raw: Mapping[str, Any]) -> Mapping[str, str]:
        variables = {}
        for key, value in raw.items():
            where = f"environment.{key}"
            if not _VARIABLE.fullmatch(str(key)):
                self.note(error("environment_invalid", f"environment: {key!r} cannot name a variable", "Use letters, digits and '_'"))
            elif key in _OWNED_VARIABLES:
                self.note(error("environment_owned", f"{where} is set by the unit: {_OWNED_VARIABLES[key]}", "Leave it out"))
            elif _SECRET_VARIABLE.search(key):
                self.note(
                    error(
                        "environment_secret",
                        f"{where} looks like a secret, and every user of the host can read a unit's environment",
                        "Leave it out; the service's own key goes into api_key, which is passed as a credential",
                    )
                )
            elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
                self.wrong_type(where, value, "a text; put it in quotes")
            else:
                variables[key] = self.text(where, value)
        return variables

    def resources(self, raw: Mapping[str, Any]) -> Resources:
        self.known_keys("resources.", raw, KEYS["resources"]["options"])
        if raw.get("shm_size") is not None and self.manager == "systemd":
            self.ignored("resources.shm_size", "a service that systemd runs shares the host's /dev/shm")
        return Resources(
            cpus=self.cpus(raw.get("cpus")),
            memory_bytes=self.size("resources.memory", raw.get("memory")),
            shm_bytes=self.size("resources.shm_size", raw.get("shm_size")),
            ulimits=self.ulimits(self.mapping("resources.ulimits", raw.get("ulimits"))),
        )

    def cpus(self, raw: object) -> float | None:
        if raw is None:
            return None
        try:
            cpus = float("nan") if isinstance(raw, bool) else float(str(raw))
        except ValueError:
            cpus = float("nan")
        if not 0.01 <= cpus <= 65536:  # systemd counts in whole percent of one CPU; also false for nan
            self.note(error("size_invalid", f"resources.cpus: {raw!r} is not a number of CPUs", "Use a number such as 8 or 1.5"))
            return None
        return cpus

    def size(self, where: str, raw: object) -> int | None:
        if raw is None:
            return None
        match = _SIZE.fullmatch(str(raw))
        if match:
            return int(float(match[1]) * _UNITS[match[2]])
        if not isinstance(raw, bool) and re.fullmatch(r"[1-9]\d*", str(raw)):
            return int(str(raw))
        self.note(error("size_invalid", f"{where}: {raw!r} is not a size", "Use a number and its unit, such as 128GiB or 512MiB"))
        return None

    def ulimits(self, raw: Mapping[str, Any]) -> Mapping[str, int]:
        limits = {}
        for key, value in raw.items():
            if key not in ULIMITS:
                self.note(
                    error(
                        "unknown_key",
                        f"resources.ulimits.{key} is not a limit",
                        suggestion(str(key), ULIMITS) or f"Use {', '.join(ULIMITS)}",
                    )
                )
            elif isinstance(value, bool) or not re.fullmatch(r"-1|\d+", str(value)):
                self.wrong_type(f"resources.ulimits.{key}", value, "a whole number, or -1 for no limit")
            else:
                limits[key] = int(str(value))
        return limits

    # -- the small parts ---------------------------------------------------------------------------------------------

    def note(self, problem: Problem | None) -> None:
        if problem is not None:
            self.problems.append(problem)

    def codes(self) -> set[str]:
        return {problem.code for problem in self.problems}

    def wrong_type(self, where: str, value: object, wanted: str) -> None:
        self.note(error("wrong_type", f"{where}: {value!r} is {_kind(value)}", f"Give {wanted}"))

    def ignored(self, where: str, why: str) -> None:
        self.note(warning("setting_ignored", f"{where} has no effect: {why}", "Leave it out"))

    def known_keys(self, prefix: str, raw: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        for key in raw:
            if key not in known:
                remedy = suggestion(str(key), known) or f"Known are {', '.join(known)}"
                self.note(error("unknown_key", f"{prefix}{key} is not a key of a service", remedy))

    def mapping(self, where: str, value: object) -> Mapping[str, Any]:
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return value
        self.wrong_type(where, value, "a dict")
        return {}

    def choice(self, raw: Mapping[str, Any], key: str) -> str:
        choices, default = KEYS[key]["choices"], str(KEYS[key]["default"])
        value = default if raw.get(key) is None else raw[key]
        if value not in choices:
            self.note(error("wrong_type", f"{key}: {value!r} is not known", f"Use {' or '.join(choices)}"))
            return default
        return str(value)

    def text(self, where: str, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.wrong_type(where, value, "a text")
            return ""
        self.note(text_problem(where, str(value), self.manager))
        return str(value)


def _api_key_reason(raw: object) -> str:
    if not isinstance(raw, str):
        return "is not a text"
    if not raw:
        return "is empty, which would leave the service open"
    if not all("!" <= character <= "~" for character in raw):
        return "holds a space, a line break or another character that HTTP clients do not send unchanged"
    if raw.startswith("#"):
        return "starts with '#', which the engine's key file takes for a comment"
    return ""


def _texts(value: object) -> list[str]:
    """Every text inside an option's value."""
    if isinstance(value, Mapping):
        return [text for key, inner in value.items() for text in (str(key), *_texts(inner))]
    if isinstance(value, (list, tuple)):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    names = {bool: "true/false", int: "a number", float: "a number", str: "a text"}
    for kind, name in names.items():
        if isinstance(value, kind):
            return name
    return "a dict" if isinstance(value, Mapping) else "a list"
