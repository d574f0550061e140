# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service that a ``docker run … vllm/vllm-openai …`` of somebody stands for, to be checked like any other.

What is taken over is what the command says, right or wrong: the checks of a service tell what is wrong. Told here is what of the command
has no place in a service, or another one.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import Flags, flags_of, known_of, option, release_of

# The options of `docker run` that have no value.
_DOCKER_SWITCHES = frozenset({"-d", "--detach", "--rm", "-i", "-t", "-it", "--init", "--privileged", "--read-only"})

# What the project of a service does in its own way; the message is the rest of "docker's … ".
_OTHERWISE = {
    "--ipc": "has no place here: a service has its own /dev/shm, of resources.shm_size; with --ipc=host, Docker ignores --shm-size",
    "--restart": "is the manager's: a service that has served is started again, a configuration that never served is not",
    "--runtime": "is not needed: GPUs come through CDI, and stay at a daemon-reload",
    "--network": "has no place here: exactly the service's port is published",
    "--privileged": "has no place here: a service has no privileges",
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bkmg]?)", re.IGNORECASE)
_UNITS = {"k": "KiB", "m": "MiB", "g": "GiB"}


def service_of(words: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """The service as it is written in an inventory, from all words of the command."""
    reader = _Reader()
    rest = list(words[2:] if list(words[:2]) == ["docker", "run"] else words)
    while rest and rest[0].startswith("-"):
        reader.docker(rest)
    if rest:
        reader.service["image"] = rest.pop(0)
    if rest[:2] == ["vllm", "serve"]:
        rest = rest[2:]
    model, options, problems = options_of(rest, release_of(reader.service.get("image")))
    if model is not None:
        reader.service["model"] = {"file": reader.on_the_host(model)} if model.startswith("/") else {"repo_id": model}
    reader.service["options"] = options
    return reader.service, [*reader.problems, *problems]


def options_of(words: Sequence[str], version: str | None = None) -> tuple[str | None, dict[str, Any], list[Problem]]:
    """The model and the options in the words that follow the image's name, and what they would be in an inventory's YAML."""
    flags = flags_of(known_of(version).releases[-1])
    rest = list(words)
    model = rest.pop(0) if rest and not rest[0].startswith("-") else None
    options: dict[str, Any] = {}
    problems: list[Problem] = []
    while rest:
        name, equals, text = rest.pop(0).partition("=")
        if not name.startswith("-"):
            problems.append(error("command_word", f"{name!r} belongs to no option", "Leave it out"))
            continue
        values = [text] if equals else []
        while rest and not equals and not re.match(r"-(?!\d)", rest[0]):
            values.append(rest.pop(0))
        key = _key(name, flags)
        options[key] = _yaml(values)
        problems += _switch_problems(name, key, values, flags)
    return model, options, problems


def _key(name: str, flags: Flags) -> str:
    flag = flags.get(name)
    return flag.option if flag is not None and name in flag.short else option(name)


def _switch_problems(name: str, key: str, values: Sequence[str], flags: Flags) -> Iterator[Problem]:
    flag = flags.get("--" + key.replace("_", "-"))
    if flag is not None and flag.kind == "switch" and values:
        yield error(
            "command_word",
            f"{name} {' '.join(values)}: the flag has no value, and vLLM ends with 'unrecognized arguments: {' '.join(values)}'",
            f"Write it as {key}: {'false' if values[0].lower() in ('false', '0', 'no') else 'true'}",
        )


def _yaml(values: Sequence[str]) -> Any:
    """What YAML would make of the words of one option."""
    if not values:
        return True
    if len(values) > 1:
        return [_scalar(value) for value in values]
    return _scalar(values[0])


def _scalar(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d+\.\d+", text) else text


class _Reader:
    def __init__(self) -> None:
        self.service: dict[str, Any] = {"engine": "vllm", "manager": "compose"}
        self.problems: list[Problem] = []
        self._mounts: list[tuple[str, str]] = []

    def docker(self, rest: list[str]) -> None:
        """One option of Docker's, with its value, off the front of the words."""
        name, equals, value = rest.pop(0).partition("=")
        if not equals and name not in _DOCKER_SWITCHES and rest:
            value = rest.pop(0)
        resources = self.service.setdefault("resources", {})
        if name == "--name":
            self.service["name"] = value
        elif name == "--gpus":
            self._gpus(value)
        elif name == "--shm-size":
            resources["shm_size"] = self._size(name, value)
        elif name in ("-m", "--memory"):
            resources["memory"] = self._size(name, value)
        elif name == "--cpus":
            resources["cpus"] = _scalar(value)
        elif name == "--ulimit":
            limit, _equals, soft = value.partition("=")
            resources.setdefault("ulimits", {})[limit] = _scalar(soft.partition(":")[0])
        elif name in ("-p", "--publish"):
            self._port(value)
        elif name in ("-v", "--volume"):
            host, inside = [*value.split(":"), ""][:2]
            self._mounts.append((inside, host))
        elif name in ("-e", "--env"):
            variable, _equals, text = value.partition("=")
            self.service.setdefault("environment", {})[variable] = text
        elif name in _OTHERWISE:
            self._told(name, value, _OTHERWISE[name])
        elif name not in ("-d", "--detach"):
            self._told(name, value, "is not a setting of a service")

    def on_the_host(self, path: str) -> str:
        """The path of the host that is mounted there."""
        for inside, host in self._mounts:
            if inside and (path == inside or path.startswith(f"{inside}/")):
                return host + path[len(inside) :]
        return path

    def _told(self, name: str, value: str, what: str) -> None:
        self.problems.append(warning("docker_option", f"docker's {name} {value}".rstrip() + f" {what}", "Leave it out"))

    def _gpus(self, value: str) -> None:
        named = re.fullmatch(r'"?device=([\w,-]+)"?', value)
        self.service["gpus"] = named[1].split(",") if named else ["0"]
        if not named:
            self.problems.append(
                warning("docker_option", f"docker's --gpus {value} names no GPU, and 0 is taken", "Name each in gpus, by index or UUID")
            )

    def _size(self, name: str, value: str) -> str:
        match = _SIZE.fullmatch(value)
        if match is None:
            self._told(name, value, "is no size")
            return value
        return f"{match[1]}{_UNITS.get(match[2].lower(), '')}"

    def _port(self, value: str) -> None:
        published, _colon, inside = value.removesuffix("/tcp").rpartition(":")
        address, _colon, outside = published.rpartition(":")
        self.service["host"] = address.strip("[]") or "0.0.0.0"
        self.service["port"] = _scalar(outside or inside)
        if outside != inside:
            self._told("-p", value, f"publishes another port than the server's own; here both are {outside or inside}")
