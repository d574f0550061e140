# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host classes of inventories/example, as Ansible reads them: what they make of llama-server's command line, and all their choices."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.filter.service_problems import FilterModule
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_case import Request
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_plan import resolve
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_toolkits import parse_host_compiler
from ansible_collections.baremetal.llm.plugins.module_utils._cuda_versions import parse_version
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_help import parse_help
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import (
    arguments,
    launch_problems,
    slots,
)
from ansible_collections.baremetal.llm.plugins.module_utils._problems import Problem
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service
from ansible_collections.baremetal.llm.plugins.module_utils._service import parse as parse_service
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import launch_of
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import KEY_FILE, Account, Places
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import render as render_unit
from ansible_collections.baremetal.llm.tests.example_inventory import INVENTORY, ROOT, rows
from ansible_collections.baremetal.llm.tests.host_classes import A10, HOST_CLASSES, RTX5090, TINY, HostClass, read_flags

HELP = parse_help((ROOT / "tests/unit/plugins/fixtures/llama_server/help.txt").read_text("utf-8"))
KEYS = {host_class.key: "a" * 32 for host_class in HOST_CLASSES}

service_problems = FilterModule().filters()["service_problems"]
by_host = pytest.mark.parametrize("host_class", HOST_CLASSES, ids=lambda host_class: host_class.host)


@pytest.fixture(scope="module")
def variables(example: Callable[..., Any]) -> Callable[..., Any]:
    """Reads a variable of a host as Ansible would, with these extra variables and all keys."""
    return lambda host, name, **extra: example(host, name, **{**KEYS, **extra})


@pytest.fixture(scope="module")
def services(variables: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    return lambda host_class, **extra: variables(host_class.host, "inference_services", **extra)


def only(entries: list[dict[str, Any]]) -> Service:
    assert len(entries) == 1
    service, problems = parse_service(entries[0])
    assert service is not None
    assert problems == []
    return service


def command(service: Service) -> dict[str, str | None]:
    groups, problems = arguments(service, HELP, KEY_FILE)
    assert problems == []
    return read_flags([word for group in groups for word in group])


def problems_with_flags(service: Service, trained_context: int) -> list[Problem]:
    """All that is said of a service once there is a binary to ask."""
    _groups, problems = arguments(service, HELP, KEY_FILE)
    return [*problems, *launch_problems(service, HELP, trained_context)]


# -- what is served ----------------------------------------------------------------------------------------------------


@by_host
def test_each_setting_is_as_promised(services: Callable[..., Any], host_class: HostClass) -> None:
    service = only(services(host_class))
    flags = command(service)
    assert (service.model.repo_id, service.model.revision) == (host_class.repository, "main")
    assert {flag: flags.pop(flag) for flag in ("--model", "--mmproj")} == {"--model": host_class.model, "--mmproj": host_class.projector}
    assert flags.pop("--alias") == service.name == host_class.service
    assert flags.pop("--api-key-file") == KEY_FILE
    assert flags == host_class.flags
    assert service.gpus == ("0",)
    assert service.port == host_class.port


@by_host
def test_the_slots_are_as_promised(services: Callable[..., Any], host_class: HostClass) -> None:
    found = slots(only(services(host_class)), HELP, host_class.trained_tokens)
    assert (found.count, found.tokens) == (host_class.slots, host_class.tokens)


@by_host
def test_the_unit_is_as_promised(services: Callable[..., Any], host_class: HostClass) -> None:
    service = only(services(host_class))
    lines, _problems = arguments(service, HELP, KEY_FILE)
    launch = launch_of(service, "/opt/llama.cpp/releases/key/bin/llama-server", lines, None, model_version="1")
    places = Places(f"/var/lib/inference/{service.name}", f"/etc/inference/{service.name}/api-key")
    unit = render_unit(launch, Account("inference", "inference"), places, systemd=252)
    lines = unit.splitlines()
    assert [f"{name}={value}" for name, value in host_class.unit.items() if f"{name}={value}" not in lines] == []
    limits = {"CPUQuota", "MemoryMax", "LimitMEMLOCK"}
    assert {line.partition("=")[0] for line in lines} & limits == set(host_class.unit) & limits


@by_host
def test_the_key_comes_from_the_vault(services: Callable[..., Any], host_class: HostClass) -> None:
    assert only(services(host_class, **{host_class.key: "b" * 32})).api_key == "b" * 32


@by_host
def test_a_missing_key_is_named(host_class: HostClass) -> None:
    result = subprocess.run(
        [
            Path(sys.executable).parent / "ansible",
            host_class.host,
            "-i",
            INVENTORY,
            "-m",
            "ansible.builtin.debug",
            "-a",
            "var=inference_services",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"'{host_class.key}' is undefined" in result.stdout + result.stderr


# -- every choice ------------------------------------------------------------------------------------------------------

MINIMAL = {"minimal"}
A10_CHOICES = list(
    product(
        ["minimal", "basic", "recommended", "low_latency", "high_throughput"],
        ["Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"],
    )
)


def test_the_choices_are_all_there(variables: Callable[..., Any]) -> None:
    offered = product(variables(A10.host, "a10_contexts"), variables(A10.host, "a10_quantisations"))
    assert list(offered) == A10_CHOICES
    assert list(variables(RTX5090.host, "rtx5090_contexts")) == ["standard", "large", "low_vram"]


@pytest.mark.parametrize(("context", "quantisation"), A10_CHOICES)
def test_a10_profiles(services: Callable[..., Any], context: str, quantisation: str) -> None:
    entries = services(A10, a10_context=context, a10_quantisation=quantisation)
    service = only(entries)
    problems = [*service_problems(entries), *problems_with_flags(service, A10.trained_tokens)]
    if context not in MINIMAL:
        assert problems == []
    assert service.model.file.endswith(f"-{quantisation}.gguf")
    expected = {
        "minimal": (8, 1024),
        "basic": (8, 2048),
        "recommended": (8, 4096),
        "low_latency": (4, 4096),
        "high_throughput": (16, 2048),
    }
    found = slots(service, HELP, A10.trained_tokens)
    assert (found.count, found.tokens) == expected[context]


@by_host
def test_the_largest_image_leaves_room_for_text(services: Callable[..., Any], variables: Callable[..., Any], host_class: HostClass) -> None:
    prefix = host_class.host.removesuffix("-1")
    for context in variables(host_class.host, f"{prefix}_contexts"):
        service = only(services(host_class, **{f"{prefix}_context": context}))
        tokens = slots(service, HELP, host_class.trained_tokens).tokens
        assert tokens is not None
        room = tokens - int(service.options["image_max_tokens"])
        assert (room < 1024) == (context in MINIMAL), context


@pytest.mark.parametrize(
    ("extra", "flags"),
    [
        ({"a10_kv_cache_type": "q8_0"}, {"--cache-type-k": "q8_0", "--cache-type-v": "q8_0"}),
        ({"a10_kv_cache_type": "q4_0"}, {"--cache-type-k": "q4_0", "--cache-type-v": "q4_0"}),
        ({"a10_batch_size": 512}, {"--batch-size": "512"}),
        ({"a10_batch_size": 4096}, {"--batch-size": "4096"}),
        ({"a10_threads": 8}, {"--threads": "8"}),
        ({"a10_threads": 48, "a10_resources": {"cpus": 48, "memory": "128GiB"}}, {"--threads": "48"}),
        ({"a10_gpu_layers": 20}, {"--n-gpu-layers": "20"}),
        ({"a10_gpu_layers": 0, "a10_gpus": []}, {"--n-gpu-layers": "0"}),
        ({"a10_context": "high_throughput", "a10_gpus": [0, 1]}, {"--parallel": "16", "--image-max-tokens": "1024"}),
    ],
    ids=lambda value: " ".join(f"{name}={entry}" for name, entry in value.items()),
)
def test_a10_choices(services: Callable[..., Any], extra: dict[str, Any], flags: dict[str, str]) -> None:
    entries = services(A10, **extra)
    service = only(entries)
    assert [*service_problems(entries), *problems_with_flags(service, A10.trained_tokens)] == []
    changed = {flag: value for flag, value in command(service).items() if A10.flags.get(flag, value) != value}
    assert changed == flags


@pytest.mark.parametrize(
    ("context", "flags"),
    [
        ("standard", {}),
        ("large", {"--ctx-size": "32768"}),
        ("low_vram", {"--ctx-size": "4096", "--n-gpu-layers": "40", "--image-max-tokens": "3072"}),
    ],
)
def test_rtx5090_profiles(services: Callable[..., Any], context: str, flags: dict[str, str]) -> None:
    entries = services(RTX5090, rtx5090_context=context)
    service = only(entries)
    assert [*service_problems(entries), *problems_with_flags(service, RTX5090.trained_tokens)] == []
    assert {flag: value for flag, value in command(service).items() if RTX5090.flags.get(flag, value) != value} == flags


@by_host
def test_without_a_gpu_nothing_else_changes(services: Callable[..., Any], host_class: HostClass) -> None:
    written, overridden = services(host_class)[0], services(host_class, **host_class.without_gpu)[0]
    assert {key for key in written if written[key] != overridden[key]} == {"gpus", "model"}
    assert overridden["gpus"] == []
    assert overridden["model"] == {"file": TINY}


# -- the build ---------------------------------------------------------------------------------------------------------


@by_host
@pytest.mark.parametrize("compiler", ["gcc 12", "gcc 14"])  # of Debian 12 and 13
def test_toolkit_and_driver_fit_the_gpu(variables: Callable[..., Any], host_class: HostClass, compiler: str) -> None:
    request = Request(
        toolkit=parse_version(variables(host_class.host, "cuda_toolkit_version"), "", ""),
        driver=parse_version(variables(host_class.host, "nvidia_driver_version"), "", ""),
        kernel_module="open",
        compiler=parse_host_compiler(compiler),
    )
    plan = resolve([{"name": host_class.gpu}], request)
    assert plan.problems == []
    assert [str(architecture) for architecture in plan.architectures] == [host_class.architecture]
    assert variables(host_class.host, "llama_cpp_backend") == "cuda"


# -- the pages ---------------------------------------------------------------------------------------------------------


def test_the_page_of_the_a10_shows_the_choices_as_they_are(variables: Callable[..., Any]) -> None:
    page = (ROOT / "docs/host-classes/a10.md").read_text("utf-8")
    contexts = variables(A10.host, "a10_contexts")
    assert rows(page, "`a10_context`") == [
        [
            name,
            str(choice["ctx_size"]),
            str(choice["parallel"]),
            str(choice["ctx_size"] // choice["parallel"]),
            str(choice["image_max_tokens"]),
            choice["verdict"],
        ]
        for name, choice in contexts.items()
    ]
    quantisations = variables(A10.host, "a10_quantisations")
    columns = ("size", "vram", "quality", "speed")
    assert rows(page, "`a10_quantisation`") == [[name, *(choice[column] for column in columns)] for name, choice in quantisations.items()]


def test_the_page_of_the_rtx5090_shows_the_choices_as_they_are(variables: Callable[..., Any]) -> None:
    page = (ROOT / "docs/host-classes/rtx5090.md").read_text("utf-8")
    assert rows(page, "`rtx5090_context`") == [
        [name, *(str(choice[column]) for column in ("ctx_size", "n_gpu_layers", "image_max_tokens", "verdict"))]
        for name, choice in variables(RTX5090.host, "rtx5090_contexts").items()
    ]


@by_host
def test_a_page_names_every_flag_and_file(services: Callable[..., Any], host_class: HostClass) -> None:
    page = (ROOT / "docs/host-classes" / f"{host_class.host.removesuffix('-1')}.md").read_text("utf-8")
    service = only(services(host_class))
    options = [f"{flag[2:].replace('-', '_')}: {'true' if value is None else value}" for flag, value in host_class.flags.items()]
    assert [option for option in options if f"`{option}`" not in page] == []
    assert [path for path in service.model.files.values() if Path(path).name not in page] == []
