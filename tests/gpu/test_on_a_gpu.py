# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On a machine that has a GPU: what no simulation can show, with the llama.cpp that is installed there, as site.yml installs it.

LLAMA_SERVER names another llama-server. The models have the layers and heads of real ones, and holes in their files for weights.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import random
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._nvidia_host import NvidiaHost
from ansible_collections.baremetal.llm.tests import gpu_memory
from ansible_collections.baremetal.llm.tests import model_blueprints as models
from ansible_collections.baremetal.llm.tests.integration.test_memory_plan import flags

SERVER = Path(os.environ.get("LLAMA_SERVER", "/opt/llama.cpp/current/bin/llama-server"))
PORT = 18189
UNIT = "baremetal-llm-gpu-test.service"
WIDE = {"ctx_size": 32768, "parallel": 8}
NARROW = {"ctx_size": 8192, "parallel": 1}
Q8 = {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}
CASES: list[tuple[str, dict[str, t.Any]]] = [
    ("qwen2vl", WIDE),
    ("qwen2vl", {**WIDE, **Q8}),
    ("qwen2vl", {**WIDE, "kv_unified": True, "ubatch_size": 1024}),
    ("qwen2vl", {**NARROW, "flash_attn": "off"}),
    ("qwen2vl", {**WIDE, "n_gpu_layers": 14}),
    ("qwen3vl30", {**WIDE, **Q8}),
    ("qwen3vl30", {**NARROW, "n_cpu_moe": 24}),
    ("gemma3", WIDE),
    ("gemma3", {**NARROW, "flash_attn": "off"}),
    ("deepseek2", WIDE),
    ("llama8b", {**NARROW, "batch_size": 256}),
    ("lfm2", WIDE),
    ("mamba2", WIDE),
    ("openelm", {"ctx_size": 8192, "parallel": 4}),
]


def module(name: str, **args: t.Any) -> dict[str, t.Any]:
    """A module as Ansible runs it: a process of its own, its arguments on standard input."""
    done = subprocess.run(
        [sys.executable, "-m", f"ansible_collections.baremetal.llm.plugins.modules.{name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": args}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    result: dict[str, t.Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="session")
def host() -> dict[str, t.Any]:
    found = module("gpu_info")
    assert found["gpus"] and found["gpus"][0]["uuid"], f"no GPU with a driver is in this machine: {found['problems']}"
    return found


@pytest.fixture(scope="session")
def gpu(host: dict[str, t.Any]) -> dict[str, t.Any]:
    first: dict[str, t.Any] = host["gpus"][0]
    return first


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[str], Path]:
    directory = tmp_path_factory.mktemp("models")
    for parent in (directory, *directory.parents):
        parent.chmod(parent.stat().st_mode | 0o011)  # a unit's user has to get there

    def file(name: str) -> Path:
        path = directory / f"{name}.gguf"
        return path if path.exists() else models.to_load()[name].write(path)

    return file


def ask(path: str, body: object = None) -> t.Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def healthy(alive: t.Callable[[], bool], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while alive() and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            ask("/health")
            return True
        time.sleep(0.1)
    return False


def complete(tokens: int) -> None:
    words = random.Random(tokens)
    prompt = [words.randrange(300, 30000) for _ in range(tokens)]
    ask("/completion", {"prompt": prompt, "n_predict": 32, "cache_prompt": False, "ignore_eos": True})


def command(model: Path, options: t.Mapping[str, t.Any]) -> list[str]:
    fixed = ["--offline", "--fit", "off", "--host", "127.0.0.1", "--port", str(PORT), "--model", str(model)]
    return [str(SERVER), *fixed, *flags(options)]


def test_the_gpu_is_told_as_it_is(host: dict[str, t.Any], gpu: dict[str, t.Any]) -> None:
    assert [problem for problem in host["problems"] if problem["severity"] == "error"] == []
    assert all(gpu[key] for key in ("name", "pci_bus_id", "pci_id", "compute_capability", "memory_mib")), gpu
    assert f"GPU {gpu['index']}: {gpu['name']} (UUID: {gpu['uuid']})" in NvidiaHost().listing()
    assert host["driver"]["loaded_version"] == host["driver"]["installed_version"]


def test_the_release_is_for_it_and_sees_it(host: dict[str, t.Any], gpu: dict[str, t.Any]) -> None:
    manifest = json.loads((SERVER.resolve().parent.parent / "manifest.json").read_text(encoding="utf-8"))
    plan = module("cuda_plan", gpus=host["gpus"], driver_version=host["driver"]["installed_version"])
    assert set(plan["cuda_architectures"]) <= set(manifest["inputs"]["cuda_architectures"]) and not plan["problems"]
    listed = subprocess.run([SERVER, "--list-devices"], capture_output=True, text=True, timeout=60, check=True)
    assert f"CUDA0: {gpu['name']} (" in listed.stdout + listed.stderr


@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values()))
)
def test_it_holds_what_was_planned(
    gpu: dict[str, t.Any], model_files: t.Callable[[str], Path], name: str, options: dict[str, t.Any], tmp_path: Path
) -> None:
    asked = {"flash_attn": "on", "n_gpu_layers": "all", **options}
    log = tmp_path / "log"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu["uuid"], "XDG_CONFIG_HOME": "/nonexistent"}
    argv = [*command(model_files(name), asked), "--log-verbosity", "4"]
    with log.open("wb") as file, subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT, env=environment) as process:
        try:
            assert healthy(lambda: process.poll() is None), log.read_text(errors="replace")[-2000:]
            slots = options["parallel"]
            complete(min(3000, options["ctx_size"] // slots - 64))
            with concurrent.futures.ThreadPoolExecutor(slots) as pool:
                list(pool.map(complete, range(500, 500 + slots)))
            held = sum(app.memory_mib or 0 for app in NvidiaHost().apps().found if app.pid == process.pid)
        finally:
            process.terminate()
    real = gpu_memory.buffers(log.read_text(errors="replace"))
    plan = module("memory_plan", model=models.to_load()[name].info(), options={**asked, "fit": "off"}, gpus=[gpu])
    print(json.dumps({"model": name, "options": asked, "buffers": real, "worked": held, "planned": plan["gpus"][0]}))
    gpu_memory.compare(plan, real, held)


@pytest.mark.skipif(not Path("/run/systemd/system").is_dir(), reason="systemd does not run this machine")
@pytest.mark.parametrize(
    ("layers", "visible", "fault"),
    [
        ("all", True, ""),
        ("all", False, "holds no memory on"),
        ("0", True, "but the weights and the cache that were planned for there take"),
        ("14", True, "but the weights and the cache that were planned for there take"),
    ],
)
def test_the_proof_that_a_service_uses_it(
    gpu: dict[str, t.Any], model_files: t.Callable[[str], Path], layers: str, visible: bool, fault: str
) -> None:
    planned = module("memory_plan", model=models.to_load()["qwen2vl"].info(), options={**WIDE, "fit": "off"}, gpus=[gpu])["gpus"][0]
    argv = command(model_files("qwen2vl"), {**WIDE, "n_gpu_layers": layers})
    subprocess.run(["systemctl", "stop", UNIT], capture_output=True, check=False)  # what a run that was killed left
    environment = f"--setenv=CUDA_VISIBLE_DEVICES={gpu['uuid'] if visible else ''}"
    subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", environment, "--", *argv], check=True, timeout=60)
    try:
        expect = {"gpus": [gpu["uuid"]], "gpu_layers": "all", "gpu_memory_mib": planned["weights_mib"] + planned["kv_cache_mib"]}
        result = module("inference_probe", base_url=f"http://127.0.0.1:{PORT}", unit=UNIT, expect=expect, timeout=100)
        check = next(check for check in result["checks"] if check["name"] == "gpu")
    finally:
        subprocess.run(["systemctl", "stop", UNIT], check=True, timeout=60)
    print(json.dumps(check))
    assert (check["ok"], result.get("failed", False)) == (not fault, bool(fault)), result
    assert fault in check["detail"], check
