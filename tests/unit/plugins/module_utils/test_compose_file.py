# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Compose makes of the files, and what of them is read back. The recorded files show all of one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._compose_file import (
    ADDRESSES,
    KEY_FILE,
    CdiAccess,
    Identity,
    Places,
    base_url_of,
    command_of,
    digest,
    health_script,
    image_of,
    published,
    render,
    stated_digest,
)
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._llama_server_options import arguments
from ansible_collections.baremetal.llm.plugins.module_utils._service import Service, parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import Device
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Container, Launch, launch_of
from ansible_collections.baremetal.llm.tests.unit.plugins.compose_programs import RESERVATIONS, SHORT_DEVICES, VERSIONS, config

RECORDED = Path(__file__).parents[1] / "fixtures" / "compose"
UUID = "GPU-5f0c0cc5-8f4c-4b6c-a2f5-7d3a8c1e9b11"
A10 = Device(UUID, UUID, "NVIDIA A10", 0)
CDI = CdiAccess((f"nvidia.com/gpu={UUID}",), "0d" * 32)
BINARY = "/opt/llama.cpp/releases/0a1b/bin/llama-server"
FULL = {
    "gpus": [0],
    "host": "0.0.0.0,::1",
    "port": 8008,
    "api_key": "sk-of-this-test",
    "options": {"ctx_size": 32768, "load_mode": "mlock"},
    "environment": {"OMP_NUM_THREADS": "2"},
    "resources": {"cpus": 7.5, "memory": "32GiB", "shm_size": "8GiB", "ulimits": {"stack": 67108864}},
}


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def service(**more: Any) -> Service:
    parsed, problems = parse({"name": "chat", "manager": "compose", "model": {"file": "/srv/models/m.gguf"}, "port": 8080, **more})
    assert parsed is not None and problems == []
    return parsed


def launch(**more: Any) -> Launch:
    chat = service(**more)
    lines, problems = arguments(replace(chat, addresses=ADDRESSES), None, KEY_FILE)
    assert problems == []
    gpus = GpuAccess((A10,)) if chat.gpus else None
    container = Container(
        image="debian:trixie-slim",
        entrypoint=(BINARY,),
        reads=("/opt/llama.cpp/releases/0a1b", "/srv/models"),
        environment={"XDG_CONFIG_HOME": "/dev/null", "CACHE_ROOT": "{state}/cache/engine"},
    )
    return replace(launch_of(chat, BINARY, lines, gpus, model_version="4096@1795762250"), container=container)


def rendered(compose: str = RESERVATIONS, cdi: CdiAccess = CDI, groups: tuple[int, ...] = (44,), **more: Any) -> str:
    wanted = launch(**more)
    places = Places("/var/lib/inference/chat", "/etc/inference/chat/api-key")
    identity = Identity("inference", "998:997", groups if wanted.gpus else ())
    return render(wanted, identity, places, compose=version(compose), cdi=cdi if wanted.gpus else None)


def understood(tmp_path: Path, compose: str, text: str) -> dict[str, Any]:
    """The service as Compose has it."""
    file = tmp_path / "compose.yaml"
    file.write_text(text, "utf-8")
    answer = config(compose, file, "--format=json")
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    project: dict[str, Any] = json.loads(answer.stdout)
    assert list(project["services"]) == ["engine"] and project["name"] == "inference-chat"
    engine: dict[str, Any] = project["services"]["engine"]
    return engine


# -- the whole ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "compose", "more"), [("cpu", RESERVATIONS, {}), ("gpu-2.26", RESERVATIONS, FULL), ("gpu-2.31", SHORT_DEVICES, FULL)]
)
def test_the_file_is_as_recorded(name: str, compose: str, more: dict[str, Any]) -> None:
    assert rendered(compose, **more) == (RECORDED / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("compose", VERSIONS)
def test_compose_understands_all_of_it(tmp_path: Path, compose: str) -> None:
    engine = understood(tmp_path, compose, rendered(compose, **FULL))
    assert engine["container_name"] == "inference-chat" and engine["image"] == "debian:trixie-slim"
    assert engine["entrypoint"] == [BINARY]
    assert engine["command"][:8] == ["--model", "/srv/models/m.gguf", "--alias", "chat", "--host", "0.0.0.0", "--port", "8008"]
    assert engine["command"][8:10] == ["--api-key-file", "/run/secrets/api-key"]
    assert [(port["host_ip"], port["published"], port["target"]) for port in engine["ports"]] == [
        ("0.0.0.0", "8008", 8008),
        ("::1", "8008", 8008),
    ]
    assert (engine["user"], engine["group_add"]) == ("998:997", ["44"])
    assert (engine["read_only"], engine["cap_drop"], engine["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert (engine["cpus"], engine["mem_limit"], engine["shm_size"], engine["pids_limit"]) == (7.5, str(32 << 30), str(8 << 30), 16384)
    assert engine["ulimits"]["memlock"] == -1 and engine["ulimits"]["stack"] == 67108864
    assert (engine["restart"], engine["stop_grace_period"]) == ("unless-stopped", "30s")
    assert engine["logging"] == {"driver": "local", "options": {"max-size": "20m", "max-file": "5"}}
    assert [(volume["source"], volume["target"], volume.get("read_only", False)) for volume in engine["volumes"]] == [
        ("/opt/llama.cpp/releases/0a1b", "/opt/llama.cpp/releases/0a1b", True),
        ("/srv/models", "/srv/models", True),
        ("/var/lib/inference/chat", "/var/lib/inference/chat", False),
    ]
    assert engine["environment"]["CACHE_ROOT"] == "/var/lib/inference/chat/cache/engine"
    assert engine["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert [secret["source"] for secret in engine["secrets"]] == ["api-key"]


def test_gpus_are_given_in_the_form_that_this_compose_takes(tmp_path: Path) -> None:
    name = f"nvidia.com/gpu={UUID}"
    (reservation,) = understood(tmp_path, RESERVATIONS, rendered(RESERVATIONS, **FULL))["deploy"]["resources"]["reservations"]["devices"]
    assert reservation == {"driver": "cdi", "device_ids": [name], "capabilities": ["gpu"]}
    (device,) = understood(tmp_path, SHORT_DEVICES, rendered(SHORT_DEVICES, **FULL))["devices"]
    assert device["source"] == name
    without = rendered(RESERVATIONS)
    assert "nvidia.com" not in without and "NVIDIA" not in without and "group_add" not in without


@pytest.mark.parametrize("compose", VERSIONS)
@pytest.mark.parametrize("text", ["$HOME ${A:-b} $$", 'it\'s "quoted" \\ and #commented', "- a: b", "grüß 🎉", "100%", "null", "{x}"])
def test_no_text_is_read_as_more_than_itself(tmp_path: Path, compose: str, text: str) -> None:
    written = rendered(compose, options={"alias": text}, environment={"TEXT": text})
    engine = understood(tmp_path, compose, written)
    # `config` shows its result as a file again, in which $$ stands for $.
    assert engine["command"][-1].replace("$$", "$") == text and engine["environment"]["TEXT"].replace("$$", "$") == text
    assert command_of(written)[-1] == text


def test_without_a_key_there_is_no_secret() -> None:
    assert "api-key" not in rendered() and "secrets" not in rendered()
    assert "sk-of-this-test" not in rendered(**FULL)


def test_compose_refuses_what_is_no_file_of_its_own(tmp_path: Path) -> None:
    """A checker that takes anything would prove nothing."""
    file = tmp_path / "compose.yaml"
    file.write_text(rendered().replace("pids_limit", "pid_limits"), "utf-8")
    assert "pid_limits" in config(RESERVATIONS, file, "--quiet").stderr


# -- the digest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "same"),
    [
        ({}, True),
        ({"api_key": "sk-another"}, True),  # the process is asked for it
        ({"options": {"ctx_size": 1024}}, False),
        ({"resources": {"cpus": 2}}, False),
        ({"cdi": CdiAccess(CDI.names, "0e" * 32)}, False),  # another driver
        ({"groups": ()}, False),
    ],
)
def test_what_the_container_would_notice_is_in_the_digest(more: dict[str, Any], same: bool) -> None:
    assert (stated_digest(rendered(**{**FULL, **more})) == stated_digest(rendered(**FULL))) is same


def test_comments_are_not() -> None:
    text = rendered(**FULL)
    commented = text.replace("    # Limits.", "    # My limits.").replace("services:\n", "# mine\nservices:\n\n")
    assert commented != text and stated_digest(commented) == stated_digest(text) == digest(text)


@pytest.mark.parametrize("edit", [("8008", "8009"), ("0d0d", "0e0e"), ("    read_only: true\n", ""), ("restart:", "# restart:")])
def test_a_file_that_was_edited_says_nothing(edit: tuple[str, str]) -> None:
    assert stated_digest(rendered(**FULL).replace(*edit)) is None


# -- reading it back ---------------------------------------------------------------------------------------------------


def test_what_is_read_back() -> None:
    text = rendered(**FULL)
    assert command_of(text)[:3] == [BINARY, "--model", "/srv/models/m.gguf"]
    assert (base_url_of(text), image_of(text)) == ("http://127.0.0.1:8008", "debian:trixie-slim")
    assert [(listener.address, listener.port) for listener in published(text)] == [("0.0.0.0", 8008), ("::1", 8008)]


@pytest.mark.parametrize("text", ["", "services: {}\n", "services:\n  engine:\n    command: [\n"])
def test_a_file_of_somebody_else_says_nothing(text: str) -> None:
    assert (command_of(text), base_url_of(text), image_of(text), published(text), stated_digest(text)) == ([], "", "", [], None)


# -- the health check --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://192.0.2.1:8080", "http://127.0.0.1:8080/health"),
        ("https://[::1]:8080/api", "https://127.0.0.1:8080/api/health"),
    ],
)
def test_the_server_is_asked_inside_the_container(base_url: str, url: str) -> None:
    assert f"'{url}'" in health_script(base_url, 8080)


class Server(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Nothing of it is for the screen."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    handler = type("Handler", (Server,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        yield serving
        serving.shutdown()


@pytest.mark.parametrize("tool", ["curl", "python3", "bash"])
def test_it_is_asked_with_what_there_is(tmp_path: Path, server: ThreadingHTTPServer, tool: str) -> None:
    found = shutil.which(tool, path="/usr/bin:/bin")
    if found is None:
        pytest.skip(f"this machine has no {tool}")
    (tmp_path / tool).symlink_to(os.path.realpath(found))
    port = server.server_address[1]

    def healthy(prefix: str = "/api") -> bool:
        script = health_script(f"http://192.0.2.1:{port}{prefix}", port)
        environment = {"PATH": str(tmp_path), "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        return subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, check=False).returncode == 0

    assert healthy()
    assert not healthy("/other")
    server.RequestHandlerClass.status = 503
    assert not healthy()
