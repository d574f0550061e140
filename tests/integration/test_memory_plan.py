# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan against what the real llama-server allocates, for models with the layers and heads of real ones."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.baremetal.llm.plugins.modules import memory_plan
from ansible_collections.baremetal.llm.tests import model_blueprints as models

# Small where that does not change what is kept. The queries of Qwen2-VL are as wide as its embedding.
MODELS: dict[str, models.Blueprint] = {
    "llama": models.llama(models.TINY),
    "qwen2vl": models.qwen2vl(models.Sizes(weights=models.IQ1_S, feed_forward=256)),
    "qwen3vlmoe": models.qwen3vlmoe(models.TINY),
    "gemma2": models.gemma2(models.TINY),
    "gemma3": models.gemma3(models.TINY),
    "openelm": models.openelm(models.TINY),
    "deepseek2": models.deepseek2(models.TINY),
    "lfm2": models.lfm2(),
    "mamba2": models.mamba2(models.TINY),
    "nomic-bert": models.nomic_bert(),
}
TYPES = ("f16", "q8_0", "q4_0")
SLOTS = (1, 4, 8)
# No multiple of the slots or of 256; with windows of 1024 tokens, more than a window and one batch.
CONTEXT = {"gemma3": 2100}
USUAL_CONTEXT = 1000

BUFFER = re.compile(r"(?P<what>KV|RS|model|compute) buffer size = +(?P<mib>[\d.]+) MiB")
ENCODER = re.compile(r"memory usage of mmproj is ([\d.]+) MiB")


def options_of(name: str, kind: str, slots: int, unified: bool) -> dict[str, t.Any]:
    return {
        "ctx_size": CONTEXT.get(name, USUAL_CONTEXT),
        "parallel": slots,
        "kv_unified": unified,
        "cache_type_k": kind,
        "cache_type_v": kind,
        "ubatch_size": 256,
    }


def flags(options: t.Mapping[str, t.Any]) -> list[str]:
    words: list[str] = []
    for key, value in options.items():
        word = key.replace("_", "-")
        words += [f"--{word}" if value else f"--no-{word}"] if isinstance(value, bool) else [f"--{word}", str(value)]
    return words


def printed(binary: str, until: str, *arguments: str) -> str:
    """What llama-server prints up to a word, after which it is ended."""
    argv = [binary, "--offline", "--log-verbosity", "4", "--threads", "1", "--host", "127.0.0.1", "--port", "0", *arguments]
    lines = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                if until in line:
                    return "".join(lines)
        finally:
            process.kill()
    raise AssertionError(f"llama-server ended before it said {until!r}:\n{''.join(lines[-20:])}")


def allocated(binary: str, model: Path, options: t.Mapping[str, t.Any]) -> dict[str, float]:
    """MiB of each kind of buffer. Not fitted, or each would be printed twice; nor repacked for the CPU, which copies weights."""
    quick = ("--fit", "off", "--no-repack", "--no-warmup")
    text = printed(binary, "sched_reserve: graph", *quick, "--model", str(model), *flags(options))
    found = dict.fromkeys(("KV", "RS", "model", "compute"), 0.0)
    for match in BUFFER.finditer(text):
        found[match["what"]] += float(match["mib"])
    return found


def plan(**args: t.Any) -> dict[str, t.Any]:
    """The module as Ansible runs it: a process of its own, its arguments on standard input."""
    done = subprocess.run(
        [sys.executable, "-m", memory_plan.__name__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": args}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    result: dict[str, t.Any] = json.loads(done.stdout)
    return result


def close(planned: float, real: float) -> bool:
    """Planned sizes are rounded up to whole MiB."""
    return abs(planned - real) <= max(1, real / 100)


@pytest.mark.parametrize("name", MODELS)
def test_weights_and_cache_are_those_of_llama_server(llama_server: str, name: str, tmp_path: Path) -> None:
    blueprint = MODELS[name]
    model = blueprint.write(tmp_path / f"{name}.gguf")
    cases = [options_of(name, *case) for case in itertools.product(TYPES, SLOTS, (False, True))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        buffers = list(pool.map(lambda options: allocated(llama_server, model, options), cases))
    for options, real in zip(cases, buffers, strict=True):
        host = memory_plan.plan_for(blueprint.info(), options={**options, "fit": "off"}).as_dict()["host"]
        assert close(host["kv_cache_mib"], real["KV"] + real["RS"]), (options, real, host)
        assert close(host["weights_mib"], real["model"]), (options, real, host)


@pytest.mark.parametrize(
    "options",
    [
        {"ctx_size": 4096, "parallel": 4},
        {"ctx_size": 4096, "parallel": 4, "kv_unified": True},
        {"ctx_size": 4096, "parallel": 1, "flash_attn": "off"},
        {"ctx_size": 4096, "parallel": 1, "batch_size": 128},
        {"ctx_size": 1000, "parallel": 3},
        {"ctx_size": 4096},
        {"ctx_size": 2048, "parallel": 2, "swa_full": True},
    ],
)
@pytest.mark.parametrize("name", ["qwen2vl", "gemma3", "openelm"])
def test_further_options(llama_server: str, name: str, options: dict[str, t.Any], tmp_path: Path) -> None:
    blueprint = MODELS[name]
    real = allocated(llama_server, blueprint.write(tmp_path / "model.gguf"), options)
    found = plan(model=blueprint.info(), options={**options, "fit": "off"})
    assert close(found["host"]["kv_cache_mib"], real["KV"]), (real, found)
    (estimate,) = [estimate for estimate in found["estimates"] if estimate["figure"] == "host.compute_mib"]
    assert estimate["low_mib"] - 1 <= real["compute"] <= estimate["high_mib"], (real, estimate)


def test_a_projector(llama_server: str, tmp_path: Path) -> None:
    model = MODELS["qwen2vl"].write(tmp_path / "model.gguf")
    blueprint = models.qwen2vl_projector(layers=4)
    projector = blueprint.write(tmp_path / "mmproj.gguf")
    arguments = ("--model", str(model), "--mmproj", str(projector), *flags({"ctx_size": 1024, "parallel": 1}))
    text = printed(llama_server, "memory usage of mmproj", *arguments)
    match = ENCODER.search(text)
    assert match is not None
    # llama-server looks at an image of 46x46 tokens, whatever the largest may be.
    options = {"ctx_size": 1024, "parallel": 1, "image_max_tokens": 256}
    found = plan(model=MODELS["qwen2vl"].info(), mmproj=blueprint.info(), options=options)
    (estimate,) = [estimate for estimate in found["estimates"] if estimate["figure"] == "host.mmproj_mib"]
    assert estimate["low_mib"] <= float(match[1]) <= estimate["high_mib"], (match[0], estimate)


def test_the_installed_program_tells_the_same(llama_server: str, tmp_path: Path) -> None:
    """Calibrated, the plan of a known model stays as it is, and that of an unknown one becomes whole."""
    blueprint = MODELS["qwen2vl"]
    model = {**blueprint.info(), "files": [{"path": str(blueprint.write(tmp_path / "model.gguf")), "size": 1}]}
    options = {"ctx_size": 4096, "parallel": 4, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}
    calculated, calibrated = plan(model=model, options=options), plan(model=model, options=options, binary=llama_server)
    assert calibrated["calibrated"] and not calibrated["problems"]
    for figure in ("kv_cache_mib", "weights_mib"):
        assert close(calibrated["host"][figure], calculated["host"][figure]), figure
    assert calibrated["host"]["compute_mib"] >= calculated["host"]["compute_mib"]
    unknown = plan(model={**model, "architecture": "frontier"}, options=options, binary=llama_server)
    assert unknown["fits"] is True and close(unknown["host"]["kv_cache_mib"], calculated["host"]["kv_cache_mib"])
