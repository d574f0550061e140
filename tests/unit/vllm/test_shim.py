# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program `vllm` of the test image, as far as it goes without an engine: what it refuses, and what it says then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.module_utils._vllm_failures import telling
from ansible_collections.baremetal.llm.tests.vllm.imagelib.model import write_model

SHIM = Path(__file__).resolve().parents[2] / "vllm" / "shim" / "vllm"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("mistral")))


def serve(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], "HOME": str(home), "USER": "inference", "SHIM_GPU": "none", "SHIM_HOME": str(home), **environment}
    known = {name: value for name, value in known.items() if value}
    return subprocess.run([sys.executable, SHIM, "serve", *words], env=known, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--calculate-kv-scales", "true"), "unrecognized arguments: --calculate-kv-scales true"),
        (("--enable-prefix-caching=true",), "ignored explicit argument 'true'"),
        (("--max-num-seqs", "many"), "argument --max-num-seqs: invalid"),
        (("--swap-space", "4"), "unrecognized arguments: --swap-space 4"),
    ],
)
def test_what_the_parser_refuses(tmp_path: Path, model: str, words: tuple[str, ...], said: str) -> None:
    done = serve(tmp_path, model, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("vllm serve: error: ") and said in done.stderr
    assert telling(done.stderr.splitlines())


def test_another_release_accepts_others(tmp_path: Path, model: str) -> None:
    assert "unrecognized arguments" in serve(tmp_path, model, "--swap-space", "4").stderr
    assert "unrecognized arguments" not in serve(tmp_path, model, "--swap-space", "4", SHIM_VLLM_VERSION="0.15.0").stderr


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("--max-model-len", "40000"), {}, "User-specified max_model_len (40000) is greater than"),
        (("--gpu-memory-utilization", "0.2"), {}, "No available memory for the cache blocks"),
        (("--gpu-memory-utilization", "0.35"), {}, "the estimated maximum model length is "),
        (
            (),
            {"SHIM_GPU_FREE_MIB": "9000"},
            "Free memory on device cuda:0 (8.79/22.20 GiB) on startup is less than desired GPU memory utilization",
        ),
        (("--quantization", "gptq"), {}, "(awq) does not match the quantization method specified in the `quantization` argument (gptq)"),
        (("--tokenizer-mode", "mistral"), {}, "No tokenizer file found"),
        (("--kv-offloading-size", "100000"), {}, "No space left on device"),
        ((), {"SHIM_GPU": "", "PATH": "/"}, "Failed to infer device type"),
        ((), {"VLLM_CACHE_ROOT": "/proc/cache"}, "/proc/cache"),
    ],
)
def test_what_keeps_it_from_starting(tmp_path: Path, model: str, words: tuple[str, ...], environment: dict[str, str], said: str) -> None:
    if environment.get("SHIM_GPU") == "" and list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    done = serve(tmp_path, model, *words, **environment)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize(("missing", "said"), [("config.json", "Invalid repository"), ("model.safetensors", "any model weights")])
def test_a_model_that_is_not_whole(tmp_path: Path, missing: str, said: str) -> None:
    directory = write_model(tmp_path / "model", weights_mib=1)
    (directory / missing).unlink()
    done = serve(tmp_path, str(directory))
    assert (done.returncode, said in done.stderr) == (1, True)


def test_a_model_in_the_hubs_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--acme--mistral"
    write_model(repository / "snapshots" / "abc", weights_mib=1)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc", encoding="utf-8")
    found = serve(tmp_path, "acme/mistral", "--max-model-len", "40000", HF_HOME=str(tmp_path))
    assert "User-specified max_model_len" in found.stderr
    assert "Invalid repository" in serve(tmp_path, "acme/other", HF_HOME=str(tmp_path)).stderr


def test_the_key_is_not_in_its_log(tmp_path: Path, model: str) -> None:
    done = serve(tmp_path, model, "--api-key", "sk-secret", "--max-model-len", "40000", VLLM_API_KEY="sk-hidden")
    assert "non-default args" in done.stdout
    assert "sk-" not in done.stdout + done.stderr
