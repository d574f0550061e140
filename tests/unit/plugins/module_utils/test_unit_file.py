# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._gpu_access import GpuAccess
from ansible_collections.baremetal.llm.plugins.module_utils._service import parse
from ansible_collections.baremetal.llm.plugins.module_utils._service_gpus import Device
from ansible_collections.baremetal.llm.plugins.module_utils._service_launch import Launch
from ansible_collections.baremetal.llm.plugins.module_utils._unit_file import (
    KEY_FILE,
    Account,
    Places,
    command_line,
    digest,
    exec_start,
    quote_argument,
    render,
    stated_digest,
)
from hypothesis import given
from hypothesis import strategies as st

PLACES = Places("/var/lib/inference/chat", "/etc/inference/chat/api-key")
PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))
ANALYZE = shutil.which("systemd-analyze")


def unit(*, systemd: int = 252, locks_memory: bool = False, command: tuple[tuple[str, ...], ...] = (("/bin/true",),), **more: Any) -> str:
    service, problems = parse({"name": "chat", "model": {"file": "/srv/models/chat.gguf"}, "port": 8080, "api_key": "sk-secret", **more})
    assert service is not None and problems == []
    gpus = GpuAccess(tuple(map(device, service.gpus)), smi="/bin/true", modprobe="/bin/true") if service.gpus else None
    launch = Launch(service, "/opt/llama.cpp/releases/0a1b", command, "http://127.0.0.1:8080", locks_memory, "7@1", gpus)
    return render(launch, Account("inference", "inference"), PLACES, systemd=systemd)


def device(wanted: str) -> Device:
    if wanted.startswith("MIG-"):
        return Device(wanted, "GPU-5a1c", "NVIDIA H100, MIG 1g.10gb", None)
    return Device(f"GPU-{wanted}", f"GPU-{wanted}", "NVIDIA A10", int(wanted))


def settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith(("#", "["))]


# -- quoting -----------------------------------------------------------------------------------------------------------


def systemd_words(line: str) -> list[str]:
    """A command as systemd reads it (systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting")."""
    words: list[str] = []
    word: str | None = None
    quoted = False
    rest = iter(line)
    for character in rest:
        if character == '"':
            assert quoted or word is None, "a quote inside a word"
            quoted, word = not quoted, word or ""
        elif character == "\\":
            following = next(rest)
            assert following in '"\\', f"not an escape that is used here: {following}"
            word = (word or "") + following
        elif character in "$%":
            assert next(rest) == character, "a variable or a specifier"
            word = (word or "") + character
        elif character == " " and not quoted:
            words, word = ([*words, word] if word is not None else words), None
        else:
            assert quoted or character != "'", "a quote of the other kind"
            word = (word or "") + character
    assert not quoted
    return words if word is None else [*words, word]


@given(st.lists(PRINTABLE, min_size=1))
def test_systemd_reads_back_what_was_written(arguments: list[str]) -> None:
    line = " ".join(quote_argument(argument) for argument in arguments)
    assert "\n" not in line
    assert systemd_words(line) == arguments
    assert ";" not in line.split(" ") or ";" not in systemd_words(line), "a lone semicolon starts another command"


@given(st.lists(st.lists(PRINTABLE, min_size=1), min_size=1))
def test_so_does_the_module_itself(groups: list[list[str]]) -> None:
    text = f"[Service]\nExecStart={command_line(groups)}\nUser=x\n"
    assert exec_start(text) == [argument for group in groups for argument in group]


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        ("--ctx-size", "--ctx-size"),
        ("mmap+mlock", "mmap+mlock"),
        ("", '""'),
        ("two words", '"two words"'),
        ("$HOME", '"$$HOME"'),
        ("50%", '"50%%"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\", '"back\\\\"'),
        (";", '";"'),
        ("it's", '"it\'s"'),
        (KEY_FILE, '"${CREDENTIALS_DIRECTORY}/api-key"'),
    ],
)
def test_quoting(argument: str, written: str) -> None:
    assert quote_argument(argument) == written


def test_one_option_a_line() -> None:
    text = unit(command=(("/bin/llama-server",), ("--model", "/m.gguf"), ("--metrics",)))
    assert "ExecStart=/bin/llama-server \\\n    --model /m.gguf \\\n    --metrics\n" in text
    assert exec_start(text) == ["/bin/llama-server", "--model", "/m.gguf", "--metrics"]


def test_no_command_in_no_unit() -> None:
    assert exec_start("") == []


# -- the text ----------------------------------------------------------------------------------------------------------


def test_the_head_says_what_one_asks_at_night() -> None:
    head = unit().partition("[Unit]")[0]
    for told in (
        "inference_services",
        "'chat'",
        "journalctl -u inference-chat.service",
        "curl http://127.0.0.1:8080/health",
        "/opt/llama.cpp/releases/0a1b",
        "/srv/models/chat.gguf",
        "/etc/inference/chat/api-key",
    ):
        assert told in head
    assert "API key" not in unit(api_key=None).partition("[Unit]")[0]


def test_the_key_is_a_credential_and_never_in_the_text() -> None:
    text = unit()
    assert "LoadCredential=api-key:/etc/inference/chat/api-key" in settings(text)
    assert "sk-secret" not in text
    assert "LoadCredential" not in unit(api_key=None)


@pytest.mark.parametrize(
    ("more", "present", "absent"),
    [
        (
            {},
            ["PrivateDevices=yes", "MemoryDenyWriteExecute=yes", "PrivateUsers=yes", "CapabilityBoundingSet="],
            ["DeviceAllow", "CUDA_", "Ambient"],
        ),
        (
            {"gpus": [0, 1]},
            [
                "DeviceAllow=char-nvidia* rwm",
                "DevicePolicy=closed",
                "SupplementaryGroups=video",
                "Environment=CUDA_VISIBLE_DEVICES=GPU-0,GPU-1",
                "Wants=modprobe@nvidia_uvm.service nvidia-persistenced.service",
                "After=modprobe@nvidia_uvm.service nvidia-persistenced.service",
                "TimeoutStartSec=2min",
            ],
            ["PrivateDevices", "PrivateUsers", "MemoryDenyWriteExecute", "ProcSubset"],
        ),
        ({"port": 443}, ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"], ["PrivateUsers"]),
        ({"resources": {"cpus": 1.5, "memory": "2GiB"}}, ["CPUQuota=150%", "MemoryMax=2147483648"], []),
        ({"resources": {"ulimits": {"core": -1, "nofile": 1024}}}, ["LimitCORE=infinity", "LimitNOFILE=1024"], ["LimitCORE=0"]),
        ({}, ["LimitCORE=0", "LimitNOFILE=65536"], ["MemoryMax", "CPUQuota", "LimitMEMLOCK"]),
        ({"locks_memory": True}, ["LimitMEMLOCK=infinity"], []),
        ({"locks_memory": True, "resources": {"ulimits": {"memlock": 8192}}}, ["LimitMEMLOCK=8192"], ["infinity"]),
        ({"systemd": 249}, ["RestartSec=10s"], ["RestartSteps"]),
        ({"systemd": 254}, ["RestartSec=2s", "RestartSteps=6", "RestartMaxDelaySec=2min"], []),
        ({"host": "127.0.0.1"}, ["After=network.target"], ["network-online"]),
        ({"host": "0.0.0.0"}, ["After=network.target"], ["network-online"]),
        ({"host": "10.0.0.7"}, ["Wants=network-online.target", "After=network-online.target"], []),
        ({"environment": {"B": "two words", "A": "$x"}}, ['Environment="A=$x"', 'Environment="B=two words"'], []),
        ({"model": {"file": "/srv/my model.gguf"}}, ['RequiresMountsFor=/opt/llama.cpp/releases/0a1b "/srv/my model.gguf"'], []),
    ],
)
def test_what_follows_from_the_service(more: dict[str, Any], present: list[str], absent: list[str]) -> None:
    text = unit(**more)
    for line in present:
        assert line in settings(text)
    for word in absent:
        assert not any(word in line for line in settings(text))


def test_a_gpu_is_waited_for() -> None:
    commands = [line.partition("=")[2] for line in settings(unit(gpus=[0, 1])) if line.startswith("ExecStartPre=")]
    assert commands == [
        "+-/bin/true -u",
        "+/bin/true --id=GPU-0 --query-gpu=name,uuid --format=csv,noheader",
        "+/bin/true --id=GPU-1 --query-gpu=name,uuid --format=csv,noheader",
        "/usr/bin/test -w /dev/nvidiactl",
        "/usr/bin/test -w /dev/nvidia-uvm",
    ]


def test_a_mig_device_is_looked_for_on_its_gpu() -> None:
    text = unit(gpus=["MIG-7c"])
    assert "Environment=CUDA_VISIBLE_DEVICES=MIG-7c" in settings(text)
    assert "ExecStartPre=+/bin/true --id=GPU-5a1c --query-gpu=name,uuid --format=csv,noheader" in settings(text)
    assert 'ExecStartPre=+/bin/sh -c "/bin/true -L | grep -F MIG-7c"' in settings(text)


VARIANTS = [
    {},
    {"gpus": [0]},
    {"gpus": ["MIG-7c"], "port": 443},
    {"port": 443},
    {"host": "10.0.0.7", "environment": {"A": 'x "y" \\ $z'}},
    {"resources": {"cpus": 2, "memory": "1GiB"}},
]


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("more", VARIANTS)
def test_systemd_has_nothing_to_say_against_it(tmp_path: Path, more: dict[str, Any]) -> None:
    path = tmp_path / "inference-chat.service"
    path.write_text(unit(**more, command=(("/bin/true",), ("$a", 'b"c', "d\\", ";", "${CREDENTIALS_DIRECTORY}/x"))), encoding="utf-8")
    checked = subprocess.run([str(ANALYZE), "verify", "--man=no", str(path)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("more", VARIANTS)
def test_its_exposure_is_at_most_two(tmp_path: Path, more: dict[str, Any]) -> None:
    path = tmp_path / "inference-chat.service"
    path.write_text(unit(**more), encoding="utf-8")
    rated = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--threshold=20", "--no-pager", str(path)], capture_output=True, text=True, check=False
    )
    assert rated.returncode == 0, rated.stdout


# -- the digest --------------------------------------------------------------------------------------------------------


def test_the_unit_states_its_own_digest() -> None:
    text = unit()
    assert f"Environment=INFERENCE_CONFIG_DIGEST={digest(text)}" in settings(text)
    assert stated_digest(text) == digest(text)
    assert unit() == text


@pytest.mark.parametrize(
    "edit",
    [
        ("User=inference", "User=root"),
        ("PrivateTmp=yes\n", ""),
        ("    --metrics", "    --no-metrics"),
        ("LimitCORE=0", "LimitCORE=infinity"),
        ("Type=exec", "Type=exec\nNice=5"),
    ],
)
def test_what_the_process_can_notice_changes_it(edit: tuple[str, str]) -> None:
    text = unit(command=(("/bin/llama-server",), ("--metrics",)))
    edited = text.replace(*edit)
    assert edited != text
    assert digest(edited) != digest(text)
    assert stated_digest(edited) is None, "an edited unit no longer says what a process was started with"


@pytest.mark.parametrize(
    "edit",
    [
        ("# Limits.", "# The limits."),
        ("Description=", "Description=The "),
        ("WantedBy=multi-user.target", "WantedBy=default.target"),
        ("RestartSec=10s", "RestartSec=20s"),
        ("Type=exec", "Type=exec\nExecStartPre=/bin/true\nTimeoutStartSec=2min"),
        (" \\\n    --metrics", " --metrics"),
        ("\n\n# Limits.", "\n# Limits."),
    ],
)
def test_what_it_cannot_notice_does_not(edit: tuple[str, str]) -> None:
    text = unit(command=(("/bin/llama-server",), ("--metrics",)))
    edited = text.replace(*edit)
    assert edited != text
    assert digest(edited) == digest(text)


def test_a_unit_without_a_digest_states_none() -> None:
    assert stated_digest("[Service]\nExecStart=/bin/true\n") is None
