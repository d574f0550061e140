# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.llm.plugins.module_utils import (
    _memory_plan,
    _memory_problems,
    _memory_request,
    _memory_suggestions,
    _memory_vllm,
)
from ansible_collections.baremetal.llm.plugins.modules import gguf_info, memory_plan
from ansible_collections.baremetal.llm.tests import model_blueprints as models
from ansible_collections.baremetal.llm.tests.unit.plugins import gguf_models

MISTRAL = models.mistral().info()
GPUS = [{"index": 0, "name": "NVIDIA A10", "uuid": "GPU-8b89b58e", "memory_mib": 23028}]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(check_mode: bool = False, **args: Any) -> dict[str, Any]:
        with patch_module_args({**args, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            memory_plan.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_plan_changes_nothing_and_is_the_same_in_check_mode(ask: Any, check_mode: bool) -> None:
    result = ask(check_mode, model=MISTRAL, gpus=GPUS, options={"ctx_size": 32768, "parallel": 8})
    assert result["changed"] is False and result["fits"] is True
    assert result["gpus"][0]["gpu"] == "GPU 0 (NVIDIA A10)"
    assert result["gpus"][0]["kv_cache_mib"] == 4096
    assert {"weights_mib", "mmproj_mib", "kv_cache_mib", "compute_mib", "overhead_mib", "free_mib"} < set(result["gpus"][0])
    assert (result["kv_bytes_per_token"], result["tokens_per_slot"], result["problems"], result["suggestions"]) == (131072, 4096, [], [])
    assert "msg" not in result


def test_what_does_not_fit_is_an_answer_and_no_failure(ask: Any) -> None:
    result = ask(model=MISTRAL, gpus=GPUS, options={"ctx_size": 262144, "n_gpu_layers": "all"})
    assert not result.get("failed") and result["fits"] is False
    assert result["msg"].startswith("2 problems:\n- ") or result["msg"].startswith("GPU 0 (NVIDIA A10) lacks ")
    assert result["suggestions"][0]["options"] == {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}


def test_llama_server_reads_the_headers_of_files(ask: Any, tmp_path: Path) -> None:
    (model,) = gguf_models.write(tmp_path / "model.gguf", gguf_models.MODELS["llama"])
    (mmproj,) = gguf_models.write(tmp_path / "mmproj.gguf", gguf_models.MODELS["mmproj"])
    told = {option: gguf_info.info({"path": str(path)}) for option, path in (("model", model), ("mmproj", mmproj))}
    by_path, by_header = (
        ask(**given, gpus=GPUS, options={"ctx_size": 512}) for given in ({"model": str(model), "mmproj": str(mmproj)}, told)
    )
    assert by_path | {"invocation": None} == by_header | {"invocation": None} and by_path["fits"]


def test_a_file_that_is_none_is_told_with_its_option(ask: Any, tmp_path: Path) -> None:
    gguf_models.write(tmp_path / "model.gguf", gguf_models.MODELS["llama"])
    (tmp_path / "mmproj.gguf").write_bytes(b"PNG")
    failed = ask(model=str(tmp_path / "model.gguf"), mmproj=str(tmp_path / "mmproj.gguf"))
    assert failed["failed"] and failed["msg"].startswith(f"mmproj: {tmp_path}/mmproj.gguf")
    assert ask(model=str(tmp_path / "other.gguf"))["msg"].startswith(f"model: {tmp_path}/other.gguf is not there")


def test_vllm_reads_a_directory(ask: Any, tmp_path: Path) -> None:
    config = {
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096,
        "intermediate_size": 14336, "max_position_embeddings": 32768, "vocab_size": 32768, "torch_dtype": "float16",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 2**20)
    result = ask(engine="vllm", model=str(tmp_path), gpus=GPUS)
    assert result["kv_bytes_per_token"] == 131072 and result["gpus"][0]["weights_mib"] == 1 and result["capacity"]["kv_cache_tokens"]


PRINTED = """\
CUDA0 2600 1024 311
Host 15 0 20
"""


@pytest.fixture
def fit_params(tmp_path: Path) -> Any:
    """A llama-fit-params that answers as it is told, and the llama-server beside it."""

    def install(stdout: str, rc: int = 0) -> str:
        program = tmp_path / "llama-fit-params"
        script = f"""#!/bin/sh
echo "$CUDA_VISIBLE_DEVICES $XDG_CONFIG_HOME $*" >{tmp_path}/asked
cat <<'END'
{stdout}END
echo "it says why" >&2
exit {rc}
"""
        program.write_text(script, "utf-8")
        program.chmod(0o755)
        return str(tmp_path / "llama-server")

    return install


def test_the_installed_program_is_asked(ask: Any, fit_params: Any, tmp_path: Path) -> None:
    model = {**MISTRAL, "files": [{"path": "/srv/m.gguf", "size": 5}]}
    options = {"ctx_size": 8192, "parallel": 4, "cache_type_k": "f16", "n_gpu_layers": "all", "threads": 8, "flash_attn": True}
    result = ask(model=model, gpus=GPUS, options=options, binary=fit_params(PRINTED))
    assert result["calibrated"] is True and result["problems"] == []
    assert result["gpus"][0]["compute_mib"] == 311 and result["host"]["compute_mib"] == 20
    assert result["gpus"][0]["kv_cache_mib"] == 1024
    assert (tmp_path / "asked").read_text("utf-8").split() == [
        "GPU-8b89b58e", "/nonexistent", "--model", "/srv/m.gguf", "--fit-print", "on", "--ctx-size", "8192", "--parallel", "4",
        "--cache-type-k", "f16", "--flash-attn", "on", "--n-gpu-layers", "all",
    ]  # fmt: skip


def test_a_unified_cache_is_asked_for_as_one_slot(ask: Any, fit_params: Any, tmp_path: Path) -> None:
    model = {**MISTRAL, "files": [{"path": "/srv/m.gguf", "size": 5}]}
    ask(model=model, gpus=GPUS, options={"ctx_size": 8192, "parallel": 4, "kv_unified": True}, binary=fit_params(PRINTED))
    assert "--ctx-size 8192 --parallel 1" in (tmp_path / "asked").read_text("utf-8")


def test_what_is_unknown_becomes_known(ask: Any, fit_params: Any) -> None:
    model = {**MISTRAL, "architecture": "frontier", "files": [{"path": "/srv/m.gguf", "size": 5}]}
    result = ask(model=model, gpus=GPUS, options={"ctx_size": 8192, "parallel": 4}, binary=fit_params(PRINTED))
    assert result["gpus"][0]["kv_cache_mib"] == 1025 and result["gpus"][0]["compute_mib"] == 311
    assert result["fits"] is True


@pytest.mark.parametrize(
    ("stdout", "rc", "told"),
    [("", 0, "llama-fit-params printed no memory"), ("", 1, "llama-fit-params failed (rc 1): it says why")],
)
def test_a_program_that_cannot_tell_is_a_warning(ask: Any, fit_params: Any, stdout: str, rc: int, told: str) -> None:
    model = {**MISTRAL, "files": [{"path": "/srv/m.gguf", "size": 5}]}
    result = ask(model=model, gpus=GPUS, options={"ctx_size": 8192}, binary=fit_params(stdout, rc))
    assert [problem["code"] for problem in result["problems"]] == ["calibration_failed"] and told in result["problems"][0]["message"]
    assert result["calibrated"] is False and result["gpus"][0]["compute_mib"] > 0


def test_a_program_that_is_not_there_is_a_warning(ask: Any, tmp_path: Path) -> None:
    model = {**MISTRAL, "files": [{"path": "/srv/m.gguf", "size": 5}]}
    result = ask(model=model, gpus=GPUS, binary=str(tmp_path / "llama-server"))
    assert "llama-fit-params failed (rc 127)" in result["problems"][0]["message"]
    result = ask(model=MISTRAL, gpus=GPUS, binary=str(tmp_path / "llama-server"))
    assert "names no file on this host" in result["problems"][0]["message"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "missing required arguments: model"),
        ({"model": MISTRAL, "engine": "ollama"}, "value of engine must be one of: llama_server, vllm"),
        ({"model": MISTRAL, "gpus": [{"name": "Z9"}]}, "gpus[0] (Z9) has no memory_mib"),
        ({"model": {"architecture": "llama"}}, "model names no tensors"),
        ({"model": "/no/such/directory", "engine": "vllm", "gpus": GPUS}, "config.json can't be read: No such file or directory"),
    ],
)
def test_what_cannot_be_understood_fails(ask: Any, args: dict[str, Any], message: str) -> None:
    result = ask(**args)
    assert result["failed"] and message in result["msg"]


def test_every_code_is_documented() -> None:
    sources = "".join(
        Path(str(module.__file__)).read_text("utf-8") for module in (_memory_plan, _memory_problems, _memory_request, _memory_vllm)
    )
    codes = set(re.findall(r'(?:error|warning)\(\s*"([a-z_]+)"', sources))
    problems, suggestions = memory_plan.RETURN.split("\nproblems:")[1].split("\nsuggestions:")
    assert codes == set(re.findall(r"V\(([a-z_]+)\)", problems.split("    severity:")[0]))
    sources = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (_memory_suggestions, _memory_vllm))
    codes = set(re.findall(r'(?:Suggestion|suggest)\(\s*"([a-z_]+)"', sources))
    assert codes == set(re.findall(r"V\(([a-z_]+)\)", suggestions.split("    message:")[0]))
