# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a host, from what it says of itself and what the headers of its models say; and what is never asked of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.llm.plugins.filter.service_problems import service_problems
from ansible_collections.baremetal.llm.plugins.module_utils._header_cache import HeaderCache
from ansible_collections.baremetal.llm.plugins.module_utils._models_there import look
from ansible_collections.baremetal.llm.plugins.modules.inference_plan import ARGUMENT_SPEC
from ansible_collections.baremetal.llm.plugins.plugin_utils._host_plan import HostPlan, uploads_of
from ansible_collections.baremetal.llm.plugins.plugin_utils._model_headers import HubHeaders
from ansible_collections.baremetal.llm.plugins.plugin_utils._services import planned_service
from ansible_collections.baremetal.llm.tests import model_blueprints as models
from ansible_collections.baremetal.llm.tests.example_hub import MISTRAL_AWQ, example_hub, whole_repositories
from ansible_collections.baremetal.llm.tests.hub.hublib.repository import Content
from ansible_collections.baremetal.llm.tests.hub.hublib.server import Hub

A10 = {"index": 0, "name": "NVIDIA A10", "memory_mib": 23028, "uuid": "GPU-1", "compute_capability": "8.6"}


def service(name: str = "chat", **changes: Any) -> dict[str, Any]:
    return {"name": name, "model": {"file": "/nowhere/m.gguf"}, "port": 8080, "options": {"ctx_size": 4096, "parallel": 2}, **changes}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.llama(models.TINY).write(tmp_path / "m.gguf")


class Planner:
    """Plans with a host that is this machine."""

    def __init__(self, tmp_path: Path, *services: dict[str, Any], endpoint: str = "", **params: Any) -> None:
        defaults = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
        self.params = {**defaults, "cache_dir": str(tmp_path / "hub"), "offline": True, **params, "services": list(services)}
        bundle = params.get("bundle")
        headers = HubHeaders(endpoint or "http://127.0.0.1:9", None, not endpoint, 10, HeaderCache(tmp_path / "headers"), bundle)
        self.plan = HostPlan(self.params, uploads_of(self.params["local_files"], self.params["directory"]), headers)
        self.scratch = str(tmp_path)

    def seen(self) -> dict[str, Any]:
        return look({**self.plan.params, "uploads": self.plan.uploads}, self.scratch)

    def findings(self, seen: dict[str, Any] | None) -> tuple[list[str], list[str]]:
        return self.plan.findings(self.plan.entry("h", ["a10"], seen, "" if seen else "No route to host"))


def test_a_model_that_is_there(tmp_path: Path, model: Path) -> None:
    planner = Planner(tmp_path, service(model={"file": str(model)}, gpus=[0]), gpus=[A10])
    seen = planner.seen()
    entry = planner.plan.entry("h", ["a10"], seen)
    (planned,) = entry["services"]
    assert planned["fits"] and planned["plan"]["tokens_per_slot"] == 2048
    assert entry["models"][0]["files"] == [{"path": str(model), "size": model.stat().st_size, "present": True}]
    assert entry["memory_mib"] > 0 and entry["models"][0]["free_bytes"] > 0
    assert planner.findings(seen) == ([], []) and not planner.plan.models_due(seen)


def test_what_a_service_holds_of_its_gpus_for_certain(tmp_path: Path, model: Path) -> None:
    served = {"model": {"file": str(model)}, "gpus": [0]}
    asleep = {"ctx_size": 4096, "parallel": 2, "sleep_idle_seconds": 60}
    services = [
        service("here", **served),
        service("cpu", model={"file": str(model)}, port=8081),
        service("asleep", **served, port=8082, options=asleep),
        service("lost", gpus=[0], port=8083),
    ]
    planner = Planner(tmp_path, *services, gpus=[A10])
    entry = planner.plan.entry("h", ["a10"], planner.seen())
    gpu = entry["services"][0]["plan"]["gpus"][0]
    assert planner.plan.gpu_memory_mib(entry) == {"here": gpu["weights_mib"] + gpu["kv_cache_mib"]}
    assert gpu["kv_cache_mib"] == 512


def test_a_model_that_is_still_to_be_copied(tmp_path: Path, model: Path) -> None:
    wanted = service(model={"file": f"{tmp_path}/there/m.gguf"})
    planner = Planner(tmp_path, wanted, local_files=[str(model)], directory=f"{tmp_path}/there")
    seen = planner.seen()
    entry = planner.plan.entry("h", [], seen)
    assert entry["services"][0]["plan"]["host"]["kv_cache_mib"] == 512
    assert entry["models"][0]["files"][0]["present"] is False
    assert planner.findings(seen) == ([], []) and planner.plan.models_due(seen)
    (tmp_path / "there").mkdir()
    there = tmp_path / "there" / "m.gguf"
    there.symlink_to(model)
    assert not planner.plan.models_due(planner.seen())


@pytest.mark.parametrize(
    ("changes", "params", "words"),
    [
        ({}, {}, "chat: model: /nowhere/m.gguf is not on the host, and models_local_files does not bring it. Put the file there"),
        ({}, {"local_files": ["/nowhere/else.gguf"]}, "models_local_files: '/nowhere/else.gguf' is not a file on the controller"),
        ({"gpus": [0]}, {"problems": [{"code": "x", "severity": "error", "message": "m", "remedy": "r"}]}, "m. r."),
    ],
)
def test_errors(tmp_path: Path, changes: dict[str, Any], params: dict[str, Any], words: str) -> None:
    planner = Planner(tmp_path, service(**changes), **params)
    errors, _warnings = planner.findings(planner.seen())
    assert any(error.startswith(words) for error in errors)


def test_services_that_fit_alone_and_not_together(tmp_path: Path, model: Path) -> None:
    large = {"ctx_size": 131072, "parallel": 2}
    both = [service(name, port=port, model={"file": str(model)}, gpus=[0], options=large) for name, port in (("a", 1), ("b", 2))]
    planner = Planner(tmp_path, *both, gpus=[A10])
    errors, _warnings = planner.findings(planner.seen())
    assert [error for error in errors if "a and b together" in error] == errors != []
    alone = Planner(tmp_path, both[0], gpus=[A10])
    assert alone.findings(alone.seen())[0] == []


def test_a_host_that_has_too_little_memory(tmp_path: Path, model: Path) -> None:
    planner = Planner(tmp_path, service(model={"file": str(model)}))
    errors, _warnings = planner.findings({**planner.seen(), "memory_mib": 400})
    assert len(errors) == 1 and errors[0].startswith("The host has 400 MiB of memory")


def test_what_is_unknown_is_a_warning(tmp_path: Path, model: Path) -> None:
    hub = service(model={"repo_id": "acme/tiny", "file": "m.gguf"})
    planner = Planner(tmp_path, hub)
    errors, warnings = planner.findings(None)
    assert errors == [] and planner.plan.models_due(None)
    assert "inference_offline is true" in warnings[1] and "No route to host" in warnings[0]
    strange = Planner(tmp_path, service(model={"file": str(model)}, gpus=["GPU-2"]), gpus=[A10])
    errors, warnings = strange.findings(strange.seen())
    assert errors == [] and "GPU-2 is none of the GPUs" in warnings[0]


def test_a_file_that_is_no_model_is_a_warning_here(tmp_path: Path) -> None:
    """What inference_service says of it, it says better."""
    (tmp_path / "m.gguf").write_bytes(b"text")
    planner = Planner(tmp_path, service(model={"file": str(tmp_path / "m.gguf")}))
    errors, warnings = planner.findings(planner.seen())
    assert errors == [] and "can't be read as a GGUF file" in warnings[0]


def test_a_problem_is_told_once(tmp_path: Path, model: Path) -> None:
    wrong = service(model={"file": str(model)}, options={"ctx_size": 4096, "parallel": 2, "cache_type_v": "q8_0", "flash_attn": "off"})
    told = service_problems([wrong])
    assert [problem["code"] for problem in told] == ["quantised_v_needs_flash_attention"]
    for problems in ([], told):
        planner = Planner(tmp_path, wrong, problems=problems)
        errors, warnings = planner.findings(planner.seen())
        assert [error.partition(". ")[0] for error in errors] == [told[0]["message"]] and warnings == []


def test_gpus_of_a_host_without_a_driver_are_counted(tmp_path: Path, model: Path) -> None:
    blank = {**A10, "index": None, "uuid": None, "memory_mib": None}
    planner = Planner(tmp_path, service(model={"file": str(model)}, gpus=[1]), gpus=[blank, blank])
    entry = planner.plan.entry("h", [], planner.seen())
    assert [gpu["index"] for gpu in entry["gpus"]] == [0, 1]
    assert entry["services"][0]["plan"]["gpus"][0]["memory_mib"] == 23028


def test_the_commit_of_a_lock_counts(tmp_path: Path, model: Path) -> None:
    commit = "0123456789" * 4
    content = {"path": "m.gguf", "size": model.stat().st_size, "sha256": "0" * 64}
    snapshot = tmp_path / "hub" / "models--acme--tiny" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "m.gguf").symlink_to(model)
    hub = service(model={"repo_id": "acme/tiny", "file": "m.gguf"})
    planner = Planner(tmp_path, hub, locked={"chat": {"expected": {"commit": commit, "files": [content]}}})
    seen = planner.seen()
    entry = planner.plan.entry("h", [], seen)
    assert entry["models"][0]["revision"] == commit and entry["services"][0]["fits"]
    assert entry["models"][0]["files"] == [{"path": "m.gguf", "size": content["size"], "present": True}]
    assert planner.plan.models_due(seen), "nobody has read it yet"
    unlocked = Planner(tmp_path, hub)
    assert unlocked.plan.entry("h", [], unlocked.seen())["services"][0]["fits"] is None


def test_a_path_on_a_host_that_cannot_be_reached_is_no_error(tmp_path: Path, model: Path) -> None:
    errors, warnings = Planner(tmp_path, service()).findings(None)
    assert errors == [] and "/nowhere/m.gguf is on the host or nowhere" in warnings[1]
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    broken = Planner(tmp_path, service(model={"file": "/srv/broken.gguf"}), local_files=[str(tmp_path / "broken.gguf")], directory="/srv")
    errors, warnings = broken.findings(broken.seen())
    assert errors == [] and "models_local_files: " in warnings[0]


def test_what_the_host_is_asked_to_measure(tmp_path: Path, model: Path) -> None:
    (tmp_path / "llama-fit-params").touch(0o755)
    both = [service(model={"file": str(model)}, gpus=[0], api_key="k"), service("b", port=2, model={"file": str(model)}, gpus=[7])]
    planner = Planner(tmp_path, *both, gpus=[A10], binary=str(tmp_path / "llama-server"))
    ((name, request),) = planner.plan.measuring(planner.seen())
    assert (name, request["model"], request["gpus"], request["mmproj"]) == ("chat", str(model), [A10], None)
    assert list(planner.plan.measuring(None)) == []


def test_what_is_not_looked_at() -> None:
    class Vault(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            assert key not in ("api_key", "environment")
            return super().__getitem__(key)

    planned = planned_service(Vault(service(api_key="secret", environment={"A": "b"}, host="0.0.0.0")))
    assert set(planned) == {"name", "model", "port", "options", "host"}
    assert planned_service("text") == "text"


# -- vLLM, whose model is a directory ------------------------------------------------------------------------------------

READ = ["config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer.model"]
READ.append("tokenizer_config.json")


def mistral(name: str = "mistral", port: int = 8000, resources: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    options = {"max_model_len": 32768, "gpu_memory_utilization": 0.9, "max_num_seqs": 3, **changes.pop("options", {})}
    image = {"engine": "vllm", "manager": "compose", "image": "vllm/vllm-openai:v0.33.0"}
    model = {"model": {"repo_id": MISTRAL_AWQ}, "resources": resources or {}}
    return {"name": name, **image, "gpus": [0], "port": port, "options": options, **model, **changes}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The model as somebody has put it on a host."""
    directory = tmp_path / "srv" / "mistral"
    directory.mkdir(parents=True)
    (files,) = whole_repositories(directory).values()
    for name, content in files.items():
        if isinstance(content.source, bytes):
            (directory / name).write_bytes(content.source)
    return directory


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "models").mkdir()
    with example_hub(tmp_path / "models") as hub:
        yield hub


def test_a_directory_that_is_there(tmp_path: Path, directory: Path) -> None:
    planner = Planner(tmp_path, mistral(model={"file": str(directory)}), gpus=[A10], binary=str(tmp_path / "llama-server"))
    (tmp_path / "llama-fit-params").touch(0o755)
    seen = planner.seen()
    entry = planner.plan.entry("h", [], seen)
    (planned,) = entry["services"]
    assert planned["fits"] and planned["plan"]["kv_bytes_per_token"] == 131072
    assert [file["path"] for file in entry["models"][0]["files"]] == [str(directory / name) for name in READ]
    assert all(file["present"] and file["size"] for file in entry["models"][0]["files"])
    assert planner.findings(seen) == ([], []) and not planner.plan.models_due(seen)
    assert list(planner.plan.measuring(seen)) == [], "llama.cpp knows nothing of it"

    capacity = planned["plan"]["capacity"]
    low, high = capacity["kv_cache_tokens_low"], capacity["kv_cache_tokens_high"]
    assert 3 * 32768 < low < high < 4.2 * 32768
    assert planner.plan.kv_cache_tokens(entry) == {"mistral": {"low": low, "high": high}}
    held = planner.plan.gpu_memory_mib(entry)["mistral"]
    assert held == planned["plan"]["gpus"][0]["weights_mib"] + low * 131072 // 2**20 < 23028 * 0.9


def test_a_repository_that_is_still_to_be_fetched(tmp_path: Path, hub: Hub) -> None:
    planner = Planner(tmp_path, mistral(), gpus=[A10], endpoint=hub.endpoint)
    planner.plan.params["offline"] = False
    seen = planner.seen()
    entry = planner.plan.entry("h", [], seen)
    (model,) = entry["models"]
    assert [file["path"] for file in model["files"]] == READ and model["revision"] == hub.by_name[MISTRAL_AWQ].refs["main"]
    assert 4.16e9 < sum(file["size"] for file in model["files"]) < 4.17e9 and not any(file["present"] for file in model["files"])
    assert entry["services"][0]["fits"] and planner.findings(seen) == ([], []) and planner.plan.models_due(seen)
    # Of a branch one byte tells the commit, of which all is known now.
    before = len(hub.requests)
    again = Planner(tmp_path, mistral(), gpus=[A10], endpoint=hub.endpoint).plan.entry("h", [], None)
    assert again["services"] == entry["services"] and [request.body_bytes for request in hub.requests[before:]] == [1]
    asked = len(hub.requests)
    pinned = mistral(model={"repo_id": MISTRAL_AWQ, "revision": model["revision"]})
    assert Planner(tmp_path, pinned, gpus=[A10], endpoint=hub.endpoint).plan.entry("h", [], None)["services"] == entry["services"]
    assert len(hub.requests) == asked


def test_a_repository_that_is_locked_and_there(tmp_path: Path, directory: Path) -> None:
    commit = "0123456789" * 4
    snapshot = tmp_path / "hub" / "models--solidrust--Mistral-7B-Instruct-v0.3-AWQ" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    (directory / "README.md").unlink()
    (directory / ".gitattributes").unlink()
    directory.rename(snapshot)
    # The lock has a file of another service as well.
    locked = [{"path": path.name, "size": path.stat().st_size, "sha256": "0" * 64} for path in sorted(snapshot.iterdir())]
    locked.append({"path": "model-q4_k_m.gguf", "size": 1, "sha256": "0" * 64})
    planner = Planner(tmp_path, mistral(), gpus=[A10], locked={"mistral": {"expected": {"commit": commit, "files": locked}}})
    entry = planner.plan.entry("h", [], planner.seen())
    assert entry["services"][0]["fits"] and entry["models"][0]["revision"] == commit
    assert [(file["path"], file["present"]) for file in entry["models"][0]["files"]] == [(name, True) for name in READ]


def test_a_repository_in_the_format_of_mistral(tmp_path: Path, hub: Hub) -> None:
    # What mistralai/Mistral-7B-Instruct-v0.3 says of itself in params.json.
    params = {"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 32768}
    weights = tmp_path / "consolidated.safetensors"
    weights.touch()
    os.truncate(weights, 14_496_078_512)
    content = Content(weights, hashlib.sha256(b"claimed").hexdigest())
    hub.by_name[MISTRAL_AWQ].commit({"params.json": json.dumps(params).encode(), weights.name: content, "tekken.json": b"{}"})
    for options in ({}, {"config_format": "mistral", "load_format": "mistral"}):
        planner = Planner(tmp_path, mistral(options=options), gpus=[A10], endpoint=hub.endpoint)
        planned = planner.plan.entry("h", [], None)["services"][0]["plan"]
        assert planned["kv_bytes_per_token"] == 131072 and planned["gpus"][0]["weights_mib"] == 13825


def test_a_repository_without_what_vllm_reads(tmp_path: Path, hub: Hub) -> None:
    hub.by_name[MISTRAL_AWQ].commit({"config.json": b"{}", "model.gguf": b"GGUF"})
    planner = Planner(tmp_path, mistral(), gpus=[A10], endpoint=hub.endpoint)
    errors, _warnings = planner.findings(None)
    (said,) = errors
    assert "mistral: the hub does not give the model: files: " in said and "has no weights as safetensors, only .gguf" in said
    hub.by_name[MISTRAL_AWQ].commit({"config.json": b"{", "model.safetensors": b"w"})
    errors, _warnings = planner.findings(None)
    assert "config.json of solidrust/Mistral-7B-Instruct-v0.3-AWQ" in errors[0] and "is not JSON" in errors[0]


def test_a_repository_in_the_bundle(tmp_path: Path, directory: Path) -> None:
    commit = "0123456789" * 4
    place = tmp_path / "bundle" / "models" / MISTRAL_AWQ / commit
    place.parent.mkdir(parents=True)
    pinned = mistral(model={"repo_id": MISTRAL_AWQ, "revision": commit})
    params: dict[str, Any] = {"gpus": [A10], "bundle": str(tmp_path / "bundle")}
    errors, _warnings = Planner(tmp_path, pinned, **params).findings(None)
    assert len(errors) == 1 and "does not hold all of solidrust/Mistral-7B-Instruct-v0.3-AWQ, which this host lacks" in errors[0]
    directory.rename(place)
    entry = Planner(tmp_path, pinned, **params).plan.entry("h", [], None)
    assert entry["services"][0]["fits"] and [file["path"] for file in entry["models"][0]["files"]] == READ


def test_a_directory_that_cannot_be_served(tmp_path: Path, directory: Path) -> None:
    planner = Planner(tmp_path, mistral(model={"file": str(directory)}), gpus=[A10])
    (directory / "config.json").write_text("{", encoding="utf-8")
    errors, warnings = planner.findings(planner.seen())
    assert errors == [] and "config.json can't be read" in warnings[0], "inference_service says it better"
    (directory / "config.json").unlink()
    errors, _warnings = planner.findings(planner.seen())
    assert [error.partition(". ")[0] for error in errors] == [
        f"mistral: model.file: {directory} has no config.json, without which vLLM knows nothing of the model"
    ]
    assert planner.plan.entry("h", [], planner.seen())["services"][0]["plan"] is None
    directory.rename(tmp_path / "elsewhere")
    errors, _warnings = planner.findings(planner.seen())
    assert len(errors) == 1 and f"mistral: model: {directory} is not on the host" in errors[0]
    directory.write_text("", encoding="utf-8")
    errors, _warnings = planner.findings(planner.seen())
    assert len(errors) == 1 and f"{directory} is no directory, and vLLM reads a whole one" in errors[0]


SHARE = "b: options.gpu_memory_utilization: 0.9 of GPU 0 is more than a leaves of it, 0.1. Set gpu_memory_utilization"
CLAIM = "b: GPU 0 has "


@pytest.mark.parametrize(
    ("shares", "gpu", "said"),
    [
        ((0.45, 0.45), 0, ""),
        ((0.9, 0.9), 0, SHARE),
        ((0.9, 0.9), "GPU-1", CLAIM),  # that it is the same one is seen on the host
        ((0.5, 0.49), 0, CLAIM),  # there is its CUDA context as well
    ],
)
def test_two_services_of_vllm_on_one_gpu(tmp_path: Path, directory: Path, shares: tuple[float, float], gpu: int | str, said: str) -> None:
    small = {"max_model_len": 4096, "max_num_seqs": 2}
    a, b = (
        mistral(name, port, model={"file": str(directory)}, gpus=[on], options={**small, "gpu_memory_utilization": share}, host="127.0.0.1")
        for name, port, share, on in zip("ab", (8000, 8001), shares, (0, gpu), strict=True)
    )
    planner = Planner(tmp_path, a, b, gpus=[A10], problems=service_problems([a, b], gpus=[A10]))
    entry = planner.plan.entry("h", [], planner.seen())
    assert [service["fits"] for service in entry["services"]] == [True, True], "each alone"
    errors, _warnings = planner.findings(planner.seen())
    assert len(errors) == bool(said) and "".join(errors).startswith(said)
    # Who only plans has the other error, if not this one.
    alone = Planner(tmp_path, a, b, gpus=[A10])
    errors, _warnings = alone.findings(alone.seen())
    assert len(errors) == bool(said) and "".join(errors).startswith(CLAIM if said else "")
    if said:
        assert "left beside a, and b does not start with less than" in errors[0] and "gpu_memory_utilization" in errors[0]


def test_what_is_told_of_one_gpu_hides_nothing_of_another(tmp_path: Path, directory: Path) -> None:
    served = [
        mistral(name, port, model={"file": str(directory)}, gpus=[gpu], options={"gpu_memory_utilization": share}, host="127.0.0.1")
        for name, port, gpu, share in (("a", 1, 0, 0.9), ("b", 2, 0, 0.9), ("c", 3, 1, 0.5), ("d", 4, 1, 0.49))
    ]
    gpus = [A10, {**A10, "index": 1, "uuid": "GPU-2"}]
    planner = Planner(tmp_path, *served, gpus=gpus, problems=service_problems(served, gpus=gpus))
    errors, _warnings = planner.findings(planner.seen())
    assert [error.partition(" has ")[0] for error in errors if "GPU 1" in error] == ["d: GPU 1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_model_len": "long"}, "options.max_model_len is 'long', but the flag takes a whole number"),
        ({"gpu_memory_utilization": "95%"}, "options.gpu_memory_utilization is '95%', but the flag takes a number"),
        ({"gpu_memory_utilization": 1.5}, "options.gpu_memory_utilization is 1.5. Use a number from 0.01 to 1"),
        ({"max_num_seqs": "16k"}, "options.max_num_seqs is '16k', but the flag takes a whole number"),
        ({"max_num_seqs": 0}, "options.max_num_seqs is 0. Use a number of at least 1"),
        ({"kv_cache_dtype": "q8_0"}, "options.kv_cache_dtype is 'q8_0', which vLLM does not know. Use auto"),
        ({"kv_offloading_size": "16GiB"}, "options.kv_offloading_size is '16GiB', but the flag takes a number. Use 16"),
        ({"kv_offloading_size": 4}, "options.kv_offloading_size takes 4.00 GiB of /dev/shm at the start, but without resources.shm_size"),
        ({"block_size": 8}, "options.block_size is 8 tokens"),
        ({"enforce_eager": "true"}, "options.enforce_eager is 'true', but the flag is a switch"),
        ({"dtype": "fp16"}, "options.dtype is 'fp16', which the flag does not take"),
        ({"calculate_kv_scales": True}, "options.calculate_kv_scales: vLLM 0.33.0 no longer has --calculate-kv-scales"),
        ({"max_seqs": 5}, "options.max_seqs: vLLM 0.33.0 has no --max-seqs. Did you mean max_num_seqs"),
        ({"disable_log_stats": True}, "options.disable_log_stats takes all of vLLM's metrics away"),
        ({"tensor_parallel_size": 2}, "options.tensor_parallel_size, pipeline_parallel_size and data_parallel_size need 2 GPUs"),
    ],
)
def test_a_wrong_option_of_vllm_is_one_error(tmp_path: Path, directory: Path, options: dict[str, Any], said: str) -> None:
    wrong = mistral(model={"file": str(directory)}, options=options, host="127.0.0.1")
    planner = Planner(tmp_path, wrong, gpus=[A10], problems=service_problems([wrong], gpus=[A10]))
    errors, _warnings = planner.findings(planner.seen())
    assert len(errors) == 1 and errors[0].startswith(f"mistral: {said}"), errors


def test_a_limit_below_what_the_plan_needs(tmp_path: Path, directory: Path) -> None:
    limited = mistral(model={"file": str(directory)}, options={"kv_offloading_size": 16}, resources={"memory": "16GiB"})
    errors, _warnings = Planner(tmp_path, limited, gpus=[A10]).findings(Planner(tmp_path, limited, gpus=[A10]).seen())
    assert len(errors) == 1 and "resources.memory is 16384 MiB" in errors[0] and "kv_offloading_size" in errors[0]


@pytest.mark.parametrize(
    ("changes", "params", "words"),
    [
        ({"options": {"tokenizer_mode": "mistral"}}, {}, "options.tokenizer_mode: mistral needs tekken.json"),
        ({}, {"driver": {"installed_version": "570.211.01"}}, "which needs the driver 580 or newer; the host's is 570.211.01"),
        ({}, {"driver": {"installed_version": None, "wanted_version": "570.211.01"}}, "the host's is 570.211.01"),
        ({}, {"gpus": [{**A10, "name": "Tesla V100", "compute_capability": "7.0"}]}, "no kernels for Tesla V100"),
        ({"resources": {"cpus": 65536}}, {}, "resources.cpus: 65536 is more than the "),
        # Warnings are told by the task that writes the service.
        ({"options": {"kv_cache_dtype": "fp8"}}, {"driver": {"installed_version": "580.126.09", "wanted_version": "570.211.01"}}, ""),
    ],
)
def test_what_stands_between_vllm_and_its_host(
    tmp_path: Path, hub: Hub, directory: Path, changes: dict[str, Any], params: dict[str, Any], words: str
) -> None:
    there, to_come = mistral(model={"file": str(directory)}, **changes), mistral(**changes)
    for served, endpoint in ((there, ""), (to_come, hub.endpoint)):
        planner = Planner(tmp_path, served, endpoint=endpoint, **{"gpus": [A10], **params})
        planner.plan.params["offline"] = not endpoint
        errors, warnings = planner.findings(planner.seen())
        assert warnings == []
        assert len(errors) == (1 if words else 0)
        assert words in "".join(errors)
