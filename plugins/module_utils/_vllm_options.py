# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the options of a service become the arguments of ``vllm serve``, and which of them its release does not take.

An option is the engine's own long flag with underscores for dashes. Which flags there are in the release that the image holds, and which
values they take, is in the table of _vllm_table.py; what vLLM says only later, or not at all, are the rules of _vllm_rules.py.

Note: this module_util is private and not part of the collection's public interface.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.baremetal.llm.plugins.module_utils._near_names import suggestion
from ansible_collections.baremetal.llm.plugins.module_utils._option_problems import BadValueError, alternatives, bad_value
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem, Severity, error, warning
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_flags import RELEASES
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_rules import (
    environment_problems,
    is_owned,
    owned_problems,
    removed_option,
    rule_problems,
)
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_settings import Settings
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_table import (
    KINDS,
    NEWEST,
    Flag,
    Known,
    flags_of,
    known_of,
    option,
    release_of,
)
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_values import reader

_JSON_KINDS = ("json", "json_or_str", "config", "lora")
_TAKES_JSON = ("json", "json_or_str", "config")

# vLLM's own default gives up the requests that are running (--shutdown-timeout 0). It ends at once where there are none.
_SHUTDOWN_TIMEOUT_S = 30

# The table lists the values that vLLM knows for these, and the parser takes any: elsewhere a plugin may bring more, here nothing does.
_REALLY_CLOSED = frozenset({"kv_cache_dtype"})


# The least and the most of numbers that the parser takes as they are, and vLLM's configuration does not (config/cache.py and others).
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("max_model_len", "max_num_seqs", "max_num_batched_tokens", "api_server_count"), (1, math.inf)),
    **dict.fromkeys(("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"), (1, math.inf)),
    "kv_offloading_size": (0, math.inf),
    "gpu_memory_utilization": (0.01, 1),
}


# -- options to arguments --------------------------------------------------------------------------------------------


def render(options: Mapping[str, Any], version: str | None) -> tuple[list[list[str]], list[Problem]]:
    """The options as arguments, one list for each option in the order of their names, and what is wrong with them.

    ``version`` is the release of vLLM that will read them; where it is not known, the newest that was looked at is meant.
    """
    known = known_of(version)
    lines: list[list[str]] = []
    problems: list[Problem] = []
    used: dict[str, str] = {}
    for key in sorted(options):
        found = _Lookup(key, version, known)
        problems += found.problems
        if not found.flags:
            if not found.refused:
                lines.append(_predicted(key, options[key]))
            continue
        name = found.flags[-1].option
        if name in used and "." not in key:
            problems.append(bad_value(key, f"sets the same as options.{used[name]}", "Keep one of the two"))
            continue
        used[name] = key
        words, value_problems = _value(key, options[key], found, version, known)
        problems += value_problems
        if words:
            lines.append(words)
    return lines, problems


class _Lookup:
    """What the releases to ask know of an option."""

    def __init__(self, key: str, version: str | None, known: Known) -> None:
        self.problems: list[Problem] = []
        self.name = "--" + key.partition(".")[0].replace("_", "-")
        self.flags: list[Flag] = []
        self.refused = False
        if key.startswith("-"):
            self._refuse(error("option_unknown", f"options: {key} is written as a flag", f"Write it as {option(key)}"))
            return
        having = [release for release in known.releases if self.name in flags_of(release)]
        self.flags = [flags_of(release)[self.name] for release in having]
        if not having:
            self._refuse(_unknown(key, self.name, version, known))
        elif len(having) < len(known.releases):
            lacking = [release for release in known.releases if release not in having]
            message = f"options.{key} is in vLLM {', '.join(having)} and not in {', '.join(lacking)}; the image has {version}"
            self.problems.append(warning("option_release", message, f"Take an image of vLLM {having[-1]}, or leave it out"))
        elif self.flags[-1].deprecated:
            self.problems.append(warning("option_deprecated", f"options.{key} is deprecated in vLLM {having[-1]}", "Leave it out"))

    def _refuse(self, problem: Problem) -> None:
        self.problems.append(problem)
        self.refused = problem.severity is Severity.ERROR


def _unknown(key: str, name: str, version: str | None, known: Known) -> Problem:
    """Why no release to ask has the flag."""
    newest = flags_of(known.releases[-1])
    if problem := removed_option(key, version):
        return problem
    having = [release for release in RELEASES if name in flags_of(release)]
    shown = _shown(version)
    if having and RELEASES.index(having[0]) > RELEASES.index(known.releases[-1]):
        remedy = f"Take an image of vLLM {having[0]} or newer, or leave it out"
        return error("option_release", f"options.{key} came after vLLM {version}, which the image has", remedy)
    if having and RELEASES.index(having[-1]) < RELEASES.index(known.releases[0]):
        return error("option_removed", f"options.{key}: {shown} no longer has {name}", f"Leave it out; {having[-1]} still had it")
    short = newest.get(name[1:])
    if short is not None and len(name) <= 5:
        return error("option_unknown", f"options.{key} is the short form of a flag", f"Use {short.option}")
    word = option(name)
    remedy = suggestion(word, {option(other) for other in newest if other.startswith("--")}) or "`vllm serve --help=all` lists those it has"
    if known.certain:
        return error("option_unknown", f"options.{key}: {shown} has no {name}", remedy)
    message = f"options.{key}: vLLM {known.releases[-1]} has no {name}, and of {version} it is not known here"
    return warning("option_unknown", message, remedy)


def _shown(version: str | None) -> str:
    return f"vLLM {version or NEWEST}"


def _predicted(key: str, value: Any) -> list[str]:
    """The flag as it would be spelt by a release that has it."""
    word = key.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{word}" if value else f"--no-{word}"]
    if isinstance(value, (list, tuple)):
        return [f"--{word}", *(str(item) for item in value)]
    return [f"--{word}", _json(value) if isinstance(value, Mapping) else str(value)]


def _value(key: str, value: Any, found: _Lookup, version: str | None, known: Known) -> tuple[list[str], list[Problem]]:
    """The words of one option. Where the releases to ask differ, what only some of them refuse is a warning."""
    words: list[str] = []
    refused: list[Problem] = []
    doubts: list[Problem] = []
    for flag in dict.fromkeys(found.flags):
        try:
            words = _render_one(key, value, flag)
            doubts += _doubtful(key, words, flag)
        except BadValueError as bad:
            refused.append(bad.problem)
    if not refused or not words:
        certain = known.certain or not refused
        return words, [*(refused[-1:] if certain else (replace(refused[-1], severity=Severity.WARNING),)), *doubts[-1:]]
    message = f"options.{key}: {json.dumps(value)} is taken by some releases around {version}, which the image has, and not by others"
    return words, [warning("option_release", message, f"Take an image of vLLM {known.releases[-1]}, if it does not start")]


def _doubtful(key: str, words: Sequence[str], flag: Flag) -> Iterator[Problem]:
    value = words[-1].rpartition("=")[2]
    if flag.choices and not flag.closed and value not in flag.choices and "." not in value:
        remedy = f"Use {alternatives(flag.choices)}"
        yield warning("option_value", f"options.{key} is {value!r}, which vLLM itself does not know", remedy)


def _render_one(key: str, value: Any, flag: Flag) -> list[str]:
    if "." in key:
        return _nested(key, value, flag)
    name = "--" + key.replace("_", "-")
    if value is None:
        raise BadValueError(bad_value(key, "has no value", "Write true to switch it on" if flag.kind == "switch" else "Give it one"))
    if flag.kind == "switch":
        return [_switch(key, name, value, flag)]
    if isinstance(value, bool):
        raise BadValueError(
            bad_value(key, f"is {str(value).lower()}, but the flag takes {_wanted(flag)}", "Give it one, in quotes if it is a word")
        )
    if isinstance(value, Mapping):
        return _checked(key, name, [_mapping(key, value, flag)], flag)
    if isinstance(value, (list, tuple)):
        return _list(key, name, value, flag)
    return _checked(key, name, [str(value)], flag)


def _nested(key: str, value: Any, flag: Flag) -> list[str]:
    """One key of a JSON value: compilation_config.mode."""
    head, _dot, tail = key.partition(".")
    if flag.kind not in _TAKES_JSON:
        raise BadValueError(bad_value(key, f"has a key, but {head} takes {_wanted(flag)}", f"Use {head}"))
    if value is None:
        raise BadValueError(bad_value(key, "has no value", "Give it one, or leave it out"))
    return [f"--{head.replace('_', '-')}.{tail}", value if isinstance(value, str) else _json(value)]


def _switch(key: str, name: str, value: Any, flag: Flag) -> str:
    if not isinstance(value, bool):
        raise BadValueError(bad_value(key, f"is {value!r}, but the flag is a switch", f"Use {key}: true or {key}: false, without quotes"))
    if value:
        return name
    opposite = flag.names if name in flag.negatives else flag.negatives
    if not opposite:
        raise BadValueError(bad_value(key, f"is false, but vLLM has no flag that turns {name} off", "Leave it out, it is off"))
    return opposite[0]


def _mapping(key: str, value: Mapping[Any, Any], flag: Flag) -> str:
    if flag.kind not in _JSON_KINDS:
        raise BadValueError(bad_value(key, f"is a dict, but the flag takes {_wanted(flag)}", "Write it as such"))
    return _json(value)


def _list(key: str, name: str, values: Sequence[Any], flag: Flag) -> list[str]:
    if flag.kind in _TAKES_JSON and not flag.nargs:
        return _checked(key, name, [_json(values)], flag)
    items = [_mapping(key, item, flag) if isinstance(item, Mapping) else str(item) for item in values]
    if not items:
        raise BadValueError(bad_value(key, "is an empty list", "Give it a value, or leave it out"))
    if flag.repeated:
        return [word for item in items for word in _checked(key, name, [item], flag)]
    if flag.nargs != "+":
        raise BadValueError(bad_value(key, f"is a list, but the flag takes {_wanted(flag)}", "Give one value"))
    return _checked(key, name, items, flag)


def _checked(key: str, name: str, items: list[str], flag: Flag) -> list[str]:
    """The flag and its values, after the parser's own look at each."""
    for item in items:
        try:
            value = reader(flag)(item)
        except (ValueError, argparse.ArgumentTypeError):
            raise BadValueError(bad_value(key, f"is {item!r}, but the flag takes {_wanted(flag)}", _near_value(item, flag))) from None
        if flag.closed and str(value) not in flag.choices and not (flag.optional and value is None):
            raise BadValueError(bad_value(key, f"is {item!r}, which the flag does not take", f"Use {alternatives(flag.choices)}"))
        if flag.option in _REALLY_CLOSED and item not in flag.choices:
            raise BadValueError(bad_value(key, f"is {item!r}, which vLLM does not know", f"Use {alternatives(flag.choices)}"))
        low, high = _BOUNDS.get(flag.option, (-math.inf, math.inf))
        if isinstance(value, (int, float)) and not low <= value <= high and not _is_auto(value, flag):
            remedy = f"Use a number of at least {low:g}" if math.isinf(high) else f"Use a number from {low:g} to {high:g}"
            raise BadValueError(bad_value(key, f"is {item}", remedy))
    if len(items) == 1 and items[0].startswith("-") and not _is_number(items[0]):
        return [f"{name}={items[0]}"]  # it would be read as a flag
    if any(item.startswith("-") and not _is_number(item) for item in items):
        raise BadValueError(bad_value(key, "has a value that begins with '-', which vLLM would read as a flag", "Write it in another way"))
    return [name, *items]


def _is_auto(value: float, flag: Flag) -> bool:
    return flag.kind == "human_readable_int_or_auto" and value == -1


def _near_value(item: str, flag: Flag) -> str:
    """What to write instead of a number with a unit or a point."""
    if flag.kind == "int" and _is_number(item) and float(item) == int(float(item)):
        return f"Use {int(float(item))}"
    if flag.kind == "float" and item.lower().endswith(("gib", "gb", "g")):
        return f"Use {item.rstrip('GgIiBb ')}, a number of GiB"
    if flag.kind.startswith("human_readable_int"):
        return "Write it as 32768, 32k (32000) or 32K (32768)"
    return "Use a plain number" if flag.kind in ("int", "float") else "Write it as such"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _wanted(flag: Flag) -> str:
    return alternatives(flag.choices) if flag.closed else KINDS[flag.kind]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


# -- a service ---------------------------------------------------------------------------------------------------------


def static_problems(service: Service) -> Iterator[Problem]:
    """What can be told of a service without its host, apart from what :func:`arguments` tells as well."""
    version = release_of(service.image)
    if service.image is not None and version is None:
        yield warning(
            "image_release_unknown",
            f"image: {service.image} does not tell the release of vLLM: options are taken for those of {NEWEST}",
            f"Take a tag that tells it, such as vllm-openai:v{NEWEST}, and its digest behind it",
        )
    yield from owned_problems(service.options)
    yield from render(_engines_own(service), version)[1]
    yield from environment_problems(service, version)
    yield from rule_problems(service)


def arguments(service: Service, model_path: str, address: str) -> tuple[list[list[str]], list[Problem]]:
    """All words after ``vllm serve``, those of the service's own keys first; paths and the address are those inside the container."""
    version = release_of(service.image)
    lines = [[model_path]]
    if Settings(service.options).get("served_model_name") is None:
        lines.append(["--served-model-name", service.name])
    lines += [["--host", address], ["--port", str(service.port)]]
    if Settings(service.options).get("shutdown_timeout") is None and _has("--shutdown-timeout", version):
        lines.append(["--shutdown-timeout", str(_SHUTDOWN_TIMEOUT_S)])
    chosen, problems = render(_engines_own(service), version)
    return lines + chosen, problems


def _engines_own(service: Service) -> Mapping[str, Any]:
    """The options without those that the service itself sets, which :func:`owned_problems` tells."""
    return {key: value for key, value in service.options.items() if not is_owned(key)}


def _has(name: str, version: str | None) -> bool:
    return all(name in flags_of(release) for release in known_of(version).releases)


def alias(service: Service) -> str:
    """The model's name in the API; of several, vLLM presents the first."""
    value = Settings(service.options).get("served_model_name")
    if isinstance(value, (list, tuple)) and value:
        return str(value[0])
    return service.name if value is None or isinstance(value, (list, tuple)) else str(value)


def max_model_len(service: Service) -> int | None:
    """Tokens of one request, if the options say a number."""
    return Settings(service.options).whole("max_model_len")


def shutdown_timeout(service: Service) -> int:
    """Seconds that vLLM gives running requests when it is to end; the manager has to wait longer than that."""
    given = Settings(service.options).whole("shutdown_timeout")
    if given is not None:
        return max(0, given)
    return _SHUTDOWN_TIMEOUT_S if _has("--shutdown-timeout", release_of(service.image)) else 0
